"""Segmentation: a small U-Net in Keras, quantized by TensorFlow's converter and by Intact, judged by mIoU in LiteRT.

python examples/segmentation/recipe.py [--budget test|small|full] [--out FOLDER]
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from sklearn.metrics import confusion_matrix

import intact
from data import CLASSES, SIZE, scenes
from intact.measure.bootstrap import paired

FLOOR = 75.0  # the mIoU in per cent that the float network has to reach
BUDGETS = {"test": (128, 1, 64, 32), "small": (4000, 6, 5000, 500), "full": (20000, 30, 10000, 500)}


def block(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
    for _ in range(2):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)))
    return x


def unet() -> keras.Model:
    x = given = keras.Input((SIZE, SIZE, 3))
    skips = [x := block(layers.MaxPooling2D()(x) if i else x, channels) for i, channels in enumerate((8, 16, 32, 64))]
    for skip in skips[-2::-1]:
        x = block(layers.Concatenate()([layers.UpSampling2D(interpolation="bilinear")(x), skip]), skip.shape[-1])
    return keras.Model(given, layers.Conv2D(len(CLASSES), 1)(x))


def converted(model: keras.Model, calibration: np.ndarray) -> bytes:
    """TensorFlow's own full-integer quantization, as its guide has it."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([x[None]] for x in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def confusions(file: bytes, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """What LiteRT makes of each scene, as counts [n, classes, classes] of its pixels: true class by found class."""
    interpreter = Interpreter(model_content=file)
    interpreter.allocate_tensors()
    (port,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero), found = port["quantization"], []
    for image, mask in zip(images, masks, strict=True):
        stored = np.clip(np.round(image / scale) + zero, -128, 127).astype(np.int8) if scale else image
        interpreter.set_tensor(port["index"], stored[None])
        interpreter.invoke()
        made = interpreter.get_tensor(out["index"]).argmax(-1)
        found.append(confusion_matrix(mask.ravel(), made.ravel(), labels=range(len(CLASSES))))
    return np.array(found)


def miou(counts: np.ndarray) -> float:
    """The mean over classes of intersection over union, in per cent, of the pixels of all scenes."""
    total = counts.sum(0)
    return 100 * float(np.mean(total.diagonal() / (total.sum(0) + total.sum(1) - total.diagonal())))


def main(budget: str, out: Path) -> None:
    count, epochs, tests, samples = BUDGETS[budget]
    keras.utils.set_random_seed(0)
    (images, masks), (x, y) = scenes(count, seed=0), scenes(tests, seed=1)
    model = unet()
    rate = keras.optimizers.schedules.CosineDecay(4e-3, epochs * -(-count // 32))
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, masks, batch_size=32, epochs=epochs, verbose=2)
    files = {"float": tf.lite.TFLiteConverter.from_keras_model(model).convert()}
    files["TensorFlow's converter, int8"] = converted(model, images[:samples])
    files["Intact, int8"] = intact.quantize(model, images[:samples], evaluation=x, measure=False).model
    found = {name: confusions(file, x, y) for name, file in files.items()}
    exact = found["float"]
    lines = ["| network | mIoU % | drop from float, points | KB |", "|---|---|---|---|"]
    for name, counts in found.items():
        drop = paired(lambda pick, counts=counts: miou(exact[pick]) - miou(counts[pick]), tests)
        lost = "" if name == "float" else f"{miou(exact) - miou(counts):z.2f} [{drop.low:z.2f}, {drop.high:z.2f}]"
        lines.append(f"| {name} | {miou(counts):.2f} | {lost} | {len(files[name]) / 1000:.0f} |")
    reached = "reached" if miou(exact) >= FLOOR else "not reproduced: missed"
    lines += ["", f"{tests:,} test scenes of {SIZE} px, {samples} to calibrate. Floor of float, {FLOOR:g} % mIoU: {reached}."]
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.tflite").write_bytes(files["Intact, int8"])
    (out / "table.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--out", type=Path, default=Path("segmentation"))
    main(**vars(parser.parse_args()))

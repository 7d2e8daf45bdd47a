"""What the reports did and said, their photos, and photos of something else, which one of them blames."""

from pathlib import Path

import keras
import numpy as np
import sklearn.datasets
import tensorflow as tf
from PIL import Image

SAID = {
    "100 photos": "76.50, lost 4.50; 73.30, lost 5.90",
    "200 photos": "77.20, lost 3.80",
    "1000 photos": "76.50, lost 4.50",
}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def cifar10(out: Path, part: str) -> Path:
    """Folders of CIFAR-10's photos by class, written once from what Keras downloads."""
    folder = out / "cifar10" / part
    if not folder.is_dir():
        train, test = keras.datasets.cifar10.load_data()
        for number, (pixels, label) in enumerate(zip(*{"train": train, "test": test}[part], strict=True)):
            path = folder / CLASSES[int(label)] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


def int8(model: keras.Model, samples: np.ndarray) -> bytes:
    """Post-training quantization as reported: TensorFlow Lite's converter, all in int8, with representative ``samples``."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def others(side: int) -> dict[str, np.ndarray]:
    """200 photos in [-1, 1] of what no network here was trained on: pieces of scikit-learn's flower and temple."""
    draw, scenes = np.random.default_rng(0), sklearn.datasets.load_sample_images().images
    places = [(scenes[n % 2], *draw.integers(0, (427 - 64, 640 - 64))) for n in range(200)]
    pieces = np.stack([scene[top : top + 64, left : left + 64] for scene, top, left in places])
    return {"200 photos of something else": tf.image.resize(pieces / 127.5 - 1, (side, side)).numpy().astype(np.float32)}

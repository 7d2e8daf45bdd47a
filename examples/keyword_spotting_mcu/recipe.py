"""Keywords from audio to firmware: a DS-CNN on MFCCs, in int8, as C that an emulated Cortex-M4 runs and compares."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import data
import intact

FLOOR = 90.0  # per cent right of the float network: what MLPerf Tiny asks of its own, on recordings
BUDGETS = {"test": (600, 120, 9), "small": (9600, 6000, 10), "full": (48000, 24000, 40)}  # sounds, sounds to test on, epochs
HAS_TOOLS = bool(shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm"))
NAMES = ("float", "int8, TFLite converter", "int8, Intact")
UNKNOWN = "not measured: no compiler"


def ds_cnn() -> keras.Model:
    """The network of MLPerf Tiny's keyword spotting (Zhang et al. 2017, Hello Edge)."""
    convolutions = [keras.layers.Conv2D(64, (10, 4), strides=2, padding="same")]
    for _ in range(4):
        convolutions += [keras.layers.DepthwiseConv2D(3, padding="same"), keras.layers.Conv2D(64, 1)]
    x = inputs = keras.Input((data.FRAMES, data.COEFFICIENTS, 1))
    for convolution in convolutions:
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9)(convolution(x)))
    x = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, keras.layers.Dense(len(data.CLASSES), activation="softmax")(x))


def converted(model: keras.Model, samples: np.ndarray | None = None) -> bytes:
    """What TensorFlow Lite's converter makes of it: float32, or all in int8 with the ranges of ``samples``."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if samples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def row(name: str, file: Path, compared: intact.Evaluation, fitted: dict) -> str:
    """What is right and lost, the file, and in C its activations, flash, and instructions on a Cortex-M3 and a Cortex-M4."""
    found = {(r.of, r.measurement.name): r.measurement for r in compared.readings}
    right, drop = found[file.name, "top-1 accuracy"], found.get((f"{file.name} against float.tflite", "accuracy drop"))
    lost = f"{drop.value:z.2f} [{drop.low:z.2f}, {drop.high:z.2f}]" if drop else ""
    costs = [fitted["activations"] if drop else UNKNOWN, *[UNKNOWN] * 3]
    if HAS_TOOLS:
        m3, m4 = (core["integer" if drop else "float"] for core in fitted["float"]["cores"])
        costs = [m4["ram"], m4["code"] + m4["constants"], m3["instructions"], m4["instructions"]]
    numbers = (f"{cost:,}" if isinstance(cost, int) else cost or "not measured" for cost in (file.stat().st_size, *costs))
    return " | ".join((f"| {name}", f"{right.value:.2f} [{right.low:.2f}, {right.high:.2f}]", lost, *numbers)) + " |"


def told(firmware: dict, boards: list[dict]) -> str:
    """What is known of Intact's file as firmware, in C and for TensorFlow Lite Micro, and how many boards hold it."""
    ran, micro = firmware["emulated"], firmware["tflm"]
    exact = f"{ran['exact']} of {ran['samples']} sounds exact on an emulated Cortex-M4" if ran else UNKNOWN
    held = f"{sum(board['said'].startswith('fits') for board in boards)} of {len(boards)}" if HAS_TOOLS else UNKNOWN
    arena = f"{micro['arena']:,} bytes, by {micro['found']}"
    return f"Intact's file as firmware: {exact}. Arena in TensorFlow Lite Micro: {arena}. Boards that hold it in C: {held}."


def main(budget: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    sounds, tested, epochs = BUDGETS[budget]
    keras.utils.set_random_seed(0)
    (x, y), (test, label) = data.keywords(sounds, seed=0), data.keywords(tested, seed=1)
    model, rate = ds_cnn(), keras.optimizers.schedules.CosineDecay(3e-3, epochs * sounds // 64)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=2)
    files = [out / name for name in ("float.tflite", "converter.tflite", "model.tflite")]
    files[0].write_bytes(converted(model))
    files[1].write_bytes(converted(model, x[:500]))
    intact.quantize(model, x[:500], target="mcu", measure=False).save(files[2])
    np.savez(out / "test.npz", x=test, y=label)
    command = [sys.executable, "-m", "intact", "deploy", files[2], "--data", out / "test.npz", "--out", out / "firmware"]
    subprocess.run([*command, "--overwrite", "--runtime", "both", *["--verify"] * HAS_TOOLS], check=True)
    against = [intact.evaluate(file, (test, label), against=files[0], target="mcu") for file in files[1:]]
    fits = [intact.fit(file, instructions=HAS_TOOLS).document for file in files[1:]]
    rows = ["| network | right, % | lost, points | file | activations | flash | instructions, M3 | M4 |", "|---" * 8 + "|"]
    rows += map(row, NAMES, files, (against[1], *against), (fits[1], *fits))
    right = next(r.measurement.value for r in against[1].readings if r.of == "float.tflite")
    reached = "reached" if right >= FLOOR else "not reproduced: missed"
    rows += ["", f"Floor of the float network, {FLOOR:g} % right: {reached}. {tested:,} test sounds, 500 to calibrate."]
    rows.append(told(json.loads((out / "firmware" / "deploy.json").read_text()), fits[1]["boards"]))
    (out / "table.md").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--out", type=Path, default=Path("keyword_spotting_mcu"))
    main(**vars(parser.parse_args()))

"""An autoencoder that hears a machine fail, in int8 for a microcontroller: how much AUC does that cost?"""

import argparse
from pathlib import Path

import keras
import numpy as np
import scipy.stats
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from sklearn.metrics import roc_auc_score

import data
import intact

FLOOR = 0.85  # AUC of the float network: what MLPerf Tiny asks of its own, on recordings
BUDGETS = {"test": (300, 400, 6), "small": (4000, 5000, 40), "full": (20000, 20000, 100)}  # clips, clips to test on, epochs
MODELS = {"float": "float.tflite", "int8, TFLite converter": "converter.tflite", "int8, Intact": "model.tflite"}


def autoencoder() -> keras.Model:
    """640 numbers through 8 and back, as in MLPerf Tiny."""
    x = inputs = keras.Input((640,))
    for width in (128, 128, 128, 128, 8, 128, 128, 128, 128):
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Dense(width)(x)))
    return keras.Model(inputs, keras.layers.Dense(640)(x))


def converted(model: keras.Model, samples: np.ndarray | None = None) -> bytes:
    """What TensorFlow Lite's converter makes of it: float32, or all in int8 with the ranges of ``samples``."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if samples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([row[None]] for row in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def oddness(path: Path, clips: np.ndarray) -> np.ndarray:
    """How badly each clip is rebuilt, as mean squared error, in LiteRT's reference kernels, which compute as a board does."""
    runtime = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    taken, given = runtime.get_input_details()[0], runtime.get_output_details()[0]
    (scale, zero), (step, middle), rows = taken["quantization"], given["quantization"], clips.reshape(-1, 640)
    runtime.resize_tensor_input(taken["index"], rows.shape)
    runtime.allocate_tensors()
    runtime.set_tensor(taken["index"], np.clip(np.round(rows / scale) + zero, -128, 127).astype(np.int8) if scale else rows)
    runtime.invoke()
    rebuilt = (runtime.get_tensor(given["index"]).astype(np.float32) - middle) * (step or 1)
    return np.mean((rebuilt - rows).reshape(len(clips), -1) ** 2, axis=1)


def auc_lost(faulty: np.ndarray, exact: np.ndarray, integer: np.ndarray) -> float:
    return roc_auc_score(faulty, exact) - roc_auc_score(faulty, integer)


def row(name: str, fault: np.ndarray, odd: dict[str, np.ndarray], compared: intact.Evaluation | None) -> str:
    """AUC with all faults; what is lost of it on the same clips, with a paired interval; SQNR; AUC with each fault alone."""
    aucs = [roc_auc_score(fault[k] > 0, odd[name][k]) for k in (np.isin(fault, (0, n + 1)) for n in range(len(data.FAULTS)))]
    cells, pair = [f"{roc_auc_score(fault > 0, odd[name]):.4f}", "", ""], (fault > 0, odd["float"], odd[name])
    if compared is not None:
        sqnr = next(r.measurement.value for r in compared.readings if r.measurement.name == "SQNR")
        found = scipy.stats.bootstrap(pair, auc_lost, paired=True, n_resamples=1000, method="percentile", rng=0)
        low, high = found.confidence_interval
        cells[1:] = f"{auc_lost(*pair):.4f} [{low:.4f}, {high:.4f}]", f"{sqnr:.1f}"
    return " | ".join((f"| {name}", *cells, *(f"{auc:.3f}" for auc in aucs)))


def main(budget: str, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    clips, tested, epochs = BUDGETS[budget]
    keras.utils.set_random_seed(0)
    train, (test, fault) = data.normal(clips, seed=0).reshape(-1, 640), data.mixed(tested, seed=1)
    model = autoencoder()
    model.compile("adam", "mse")
    model.fit(train, train, batch_size=128, epochs=epochs, verbose=2)
    calibration = train[:: len(train) // 500]
    (out / "float.tflite").write_bytes(converted(model))
    (out / "converter.tflite").write_bytes(converted(model, calibration))
    intact.quantize(model, calibration, target="mcu", measure=False).save(out / "model.tflite")

    odd = {name: oddness(out / file, test) for name, file in MODELS.items()}
    np.savez(out / "oddness.npz", fault=fault, **odd)
    rows = ["| network | AUC | lost | SQNR, dB | " + " | ".join(data.FAULTS) + " | file, bytes |", "|---" * 10 + "|"]
    for name, file in MODELS.items():
        against = None if name == "float" else out / "float.tflite"
        compared = against and intact.evaluate(out / file, test.reshape(-1, 640), against=against, target="mcu")
        rows.append(f"{row(name, fault, odd, compared)} | {(out / file).stat().st_size:,} |")
    reached = "reached" if roc_auc_score(fault > 0, odd["float"]) >= FLOOR else "not reproduced: missed"
    rows += ["", f"Floor of the float network's AUC, {FLOOR}: {reached}. {tested:,} clips, half of them of faulty machines."]
    (out / "table.md").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", choices=BUDGETS, default="small")
    parser.add_argument("--out", type=Path, default=Path("anomaly_detection"))
    main(**vars(parser.parse_args()))

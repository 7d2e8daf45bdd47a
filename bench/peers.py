"""What Intact is compared with, each as it comes: LiteRT Quantizer (static int8) and TensorFlow's full-integer converter.

Files are made once for the same model, samples and version, and kept in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from common import CACHE

SIGNATURE = "serving_default"


def litert_quantizer(float_model: Path, samples: np.ndarray) -> Path:
    """LiteRT Quantizer's static int8 file, calibrated on float32 ``samples`` ``[n, h, w, c]`` one at a time, as by default."""

    def make() -> bytes:
        quantizer = quantizer_for(float_model)
        return bytes(quantizer.quantize(quantizer.calibrate(signature_inputs(float_model, samples))).quantized_model)

    return _cached("litert-quantizer", float_model, samples, make)


def quantizer_for(float_model: Path) -> Any:
    """A Quantizer with the recipe static_wi8_ai8 loaded."""
    from litert_quantizer import quantizer, recipe  # noqa: PLC0415 - slow to import

    made = quantizer.Quantizer(str(with_signature(float_model)))
    made.load_quantization_recipe(recipe.static_wi8_ai8())
    return made


def signature_inputs(float_model: Path, samples: np.ndarray) -> dict[str, list[dict[str, np.ndarray]]]:
    """``samples`` as the calibrator wants them: by signature, one mapping for each sample."""
    ((name, parts),) = Interpreter(str(with_signature(float_model))).get_signature_list().items()
    (argument,) = parts["inputs"]
    return {name: [{argument: sample[None]} for sample in samples]}


def tflite_converter(keras_model: Path, samples: np.ndarray) -> Path:
    """The TFLite converter's full-integer file (int8 in and out) of a Keras file, with ``samples`` as representative data."""

    def make() -> bytes:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras  # noqa: PLC0415
        import tensorflow as tf  # noqa: PLC0415

        converter = tf.lite.TFLiteConverter.from_keras_model(keras.models.load_model(keras_model, compile=False))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return bytes(converter.convert())

    return _cached("tensorflow", keras_model, samples, make)


def with_signature(float_model: Path) -> Path:
    """``float_model``, or a copy with a signature where it has none: LiteRT Quantizer fails without."""
    if Interpreter(str(float_model)).get_signature_list():
        return float_model

    def make() -> bytes:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(float_model.read_bytes(), 0))
        graph = model.subgraphs[0]
        model.signatureDefs = [schema.SignatureDefT()]
        model.signatureDefs[0].signatureKey = SIGNATURE
        model.signatureDefs[0].subgraphIndex = 0
        model.signatureDefs[0].inputs = _arguments("input", graph.inputs)
        model.signatureDefs[0].outputs = _arguments("output", graph.outputs)
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    return _cached("flatbuffers", float_model, np.zeros(0), make)


def _arguments(name: str, tensors: np.ndarray) -> list[Any]:
    made = []
    for i, tensor in enumerate(tensors):
        argument = schema.TensorMapT()
        argument.name, argument.tensorIndex = f"{name}_{i}", int(tensor)
        made.append(argument)
    return made


def _cached(package: str, model: Path, samples: np.ndarray, make: Callable[[], bytes]) -> Path:
    key = hashlib.sha256(model.read_bytes() + np.ascontiguousarray(samples).tobytes() + version(package).encode()).hexdigest()
    path = CACHE / "peers" / f"{model.stem}-{package}-{key[:12]}.tflite"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with quiet():
            data = make()
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_bytes(data)
        beside.replace(path)
    return path


@contextlib.contextmanager
def quiet() -> Any:
    """Keep the peers' reports out of ours."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)

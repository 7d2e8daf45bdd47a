"""What Intact is compared with: LiteRT Quantizer with its algorithms for weights, TensorFlow's full-integer converter, NNCF.

What they make is made once for the same model, samples and version, and kept in the cache: files, and of NNCF the predictions.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from common import CACHE

SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Weights:
    """How LiteRT Quantizer stores weights: ``bits``, and by op its algorithm; all else is as in static_wi8_ai8."""

    name: str
    algorithms: Mapping[str, str]
    bits: int = 8

    @property
    def key(self) -> str:
        """What tells it from the others in the cache."""
        return f"{self.bits} {sorted(self.algorithms.items())}" if self.algorithms else ""


def _every(algorithm: str, *ops: str) -> Mapping[str, str]:
    return MappingProxyType(dict.fromkeys(ops, algorithm))


_MIN_MAX = "min_max_uniform_quantize"
_INT8_OPS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_INT4_OPS = ("CONV_2D", "FULLY_CONNECTED")
AS_IT_COMES = Weights("min-max", _every(_MIN_MAX))
#: Its algorithms for weights, each for all ops it is registered for in algorithm_manager.py: GPTQ is for FULLY_CONNECTED alone.
INT8_WEIGHTS = (
    AS_IT_COMES,
    Weights("OCTAV", _every("OCTAV", *_INT8_OPS)),
    Weights("MSE", _every("MSE", *_INT8_OPS)),
    Weights("GPTQ", _every("GPTQ", "FULLY_CONNECTED")),
)
#: The same with int4 weights for the ops that its default policy (static_wi4_ai8) allows them; depthwise weights stay int8.
INT4_WEIGHTS = (
    Weights("int4 min-max", _every(_MIN_MAX, *_INT4_OPS), 4),
    Weights("int4 OCTAV", _every("OCTAV", *_INT4_OPS), 4),
    Weights("int4 MSE", _every("MSE", *_INT4_OPS), 4),
    Weights("int4 GPTQ", MappingProxyType({"CONV_2D": _MIN_MAX, "FULLY_CONNECTED": "GPTQ"}), 4),
)


def litert_quantizer(float_model: Path, samples: np.ndarray, weights: Weights = AS_IT_COMES) -> Path:
    """LiteRT Quantizer's static int8 file, calibrated on float32 ``samples`` ``[n, h, w, c]`` one at a time, as by default."""

    def make() -> bytes:
        quantizer = quantizer_for(float_model, weights)
        return bytes(quantizer.quantize(quantizer.calibrate(signature_inputs(float_model, samples))).quantized_model)

    return _cached("litert-quantizer", float_model, samples, make, weights.key)


def quantizer_for(float_model: Path, weights: Weights = AS_IT_COMES) -> Any:
    """A Quantizer with the recipe static_wi8_ai8 loaded, and on top of it what ``weights`` says."""
    from litert_quantizer import quantizer, recipe, recipe_manager  # noqa: PLC0415 - slow to import

    recipes = recipe_manager.RecipeManager()
    recipes.load_quantization_recipe(recipe.static_wi8_ai8())
    for op, algorithm in weights.algorithms.items():
        recipes.add_static_config(".*", op, 8, weights.bits, algorithm_key=algorithm)
    made = quantizer.Quantizer(str(with_signature(float_model)))
    made.load_quantization_recipe(recipes.get_quantization_recipe())
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


def nncf_version(python: str) -> str:
    """What NNCF and its backends are in the interpreter ``python``; MissingPeerError says why there is none."""
    if not python:
        raise MissingPeerError(
            "type --nncf-python PATH, the interpreter of an environment with nncf, torch, torchao and openvino"
        )
    asked = (
        "from importlib.metadata import version as v; print(*(f'{p} {v(p)}' for p in ('nncf','openvino','torch','torchao')))"
    )
    try:
        answer = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=False)
    except OSError as error:
        raise MissingPeerError(f"{python} does not run: {error}") from error
    if answer.returncode:
        raise MissingPeerError(f"{python}: {answer.stderr.strip().splitlines()[-1]}")
    return answer.stdout.strip()


class MissingPeerError(Exception):
    """A peer that is not here, or fails on this network: why."""


def nncf_predictions(python: str, model: Path, samples: np.ndarray, images: np.ndarray, mode: str) -> np.ndarray:
    """Top-1 classes ``[n]`` of float32 ``images`` ``[n, h, w, c]`` from NNCF's int8 model; see nncf_peer.py for ``mode``."""

    def make() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            arrays, out = Path(folder) / "arrays.npz", Path(folder) / "out.npy"
            np.savez(arrays, samples=samples, images=images)
            worker = [python, str(Path(__file__).with_name("nncf_peer.py")), str(model), str(arrays), str(out), mode]
            ran = subprocess.run(worker, capture_output=True, text=True, check=False)
            if ran.returncode:
                raise MissingPeerError(f"NNCF fails on {model.name}: {ran.stderr.strip().splitlines()[-1]}")
            return out.read_bytes()

    given = model.read_bytes() + samples.tobytes() + images.tobytes() + mode.encode() + nncf_version(python).encode()
    return np.load(kept(f"{model.stem}-nncf", given, ".npy", make))


def _cached(package: str, model: Path, samples: np.ndarray, make: Callable[[], bytes], told: str = "") -> Path:
    """The file that ``package`` makes of ``model`` and ``samples``, told ``told``."""
    given = model.read_bytes() + np.ascontiguousarray(samples).tobytes() + version(package).encode() + told.encode()
    return kept(f"{model.stem}-{package}", given, ".tflite", make)


def kept(name: str, given: bytes, suffix: str, make: Callable[[], bytes]) -> Path:
    """The file in the cache for everything ``given``, made where it is not there; whole or not at all."""
    path = CACHE / "peers" / f"{name}-{hashlib.sha256(given).hexdigest()[:12]}{suffix}"
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

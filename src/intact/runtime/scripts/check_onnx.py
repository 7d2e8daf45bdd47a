"""Child process: whether a .tflite computes what the ONNX model does that it was made of, by ONNX Runtime, on a random sample.

The request: ``{"source", "converted", "inputs", "outputs"}``: both files, by name the shape of each input and the order of its
axes in the .tflite, by name that of each output. The answer is ``{}``, or ``{"refused": text}`` where they differ. Where ONNX
Runtime is not installed, or does not run the model, nothing is compared. Run by path; imports nothing of Intact.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np

_DTYPES: Final = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(int64)": "int64",
    "tensor(int32)": "int32", "tensor(bool)": "bool", "tensor(uint8)": "uint8", "tensor(int8)": "int8",
}  # fmt: skip
_NARROW: Final = {"int64": "int32", "float16": "float32", "float64": "float32"}


def main(request: dict[str, Any], _progress: object) -> dict[str, Any]:
    """Compare, or say in one sentence what differs."""
    try:
        import onnxruntime  # noqa: PLC0415
    except ImportError:
        return {}
    check = importlib.import_module("conversion_check")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(request["source"], options, providers=["CPUExecutionProvider"])
        feeds = {}
        for seed, port in enumerate(session.get_inputs()):
            dtype = _DTYPES[port.type]
            shape = request["inputs"][port.name]["shape"]
            feeds[port.name] = check.random_input(shape, np.dtype("float32"), seed) if "float" in dtype else np.zeros(shape)
            feeds[port.name] = feeds[port.name].astype(dtype)
        wanted = session.run(list(request["outputs"]), feeds)
    except Exception:  # an op or a version that it does not know, in as many ways
        return {}
    given = {name: _laid(x, request["inputs"][name]["order"]) for name, x in feeds.items()}
    expected = {name: _laid(x, order) for (name, order), x in zip(request["outputs"].items(), wanted, strict=True)}
    wrong = check.disagreement(Path(request["converted"]).read_bytes(), given, expected)
    return {"refused": wrong} if wrong else {}


def _laid(x: Any, order: list[int]) -> np.ndarray:
    """An array with its axes in another order, as numbers that a .tflite holds."""
    array = np.asarray(x)
    array = array.transpose(order) if sorted(order) == list(range(array.ndim)) else array
    return np.array(array, _NARROW.get(array.dtype.name, array.dtype.name), order="C")

"""An ONNX file in ONNX Runtime: on the CPU, or on an NVIDIA GPU by TensorRT. Needs numpy, onnx and onnxruntime."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypeAlias, final

import numpy as np
import onnxruntime

_file: Any = importlib.import_module("onnx_file")  # beside this file
_sessions: Any = importlib.import_module("sessions")
Array: TypeAlias = np.ndarray[Any, Any]

_ERRORS_ONLY = 3
_ON_CPU = "CPUExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
#: By the name of the kernels: who computes, the first before those that take what it leaves.
_PROVIDERS: dict[str, list[Any]] = {
    "onnxruntime": [_ON_CPU],
    "tensorrt": [(_TENSORRT, {"trt_int8_enable": True}), "CUDAExecutionProvider", _ON_CPU],
}


def check(kernels: str) -> None:
    """Refuses TensorRT where this build of ONNX Runtime has none of it."""
    there = onnxruntime.get_available_providers()
    if kernels == "tensorrt" and _TENSORRT not in there:
        has = "CUDA and no TensorRT" if "CUDAExecutionProvider" in there else "kernels for the CPU alone"
        needs = "an NVIDIA GPU, the TensorRT libraries and the package onnxruntime-gpu"
        raise _sessions.ModelRefusedError(f"TensorRT needs {needs}; ONNX Runtime has {has} here")


@final
class Session:
    """One session, its ports in our order. Arrays are laid as the model takes them before a call is timed."""

    keeps_state = begins_anew = False

    def __init__(self, model: str, kernels: str, threads: int = 1) -> None:
        check(kernels)
        checked = _file.read(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _ERRORS_ONLY
        options.use_deterministic_compute = True
        try:
            self._session = onnxruntime.InferenceSession(checked.data, options, providers=_PROVIDERS[kernels])
        except Exception as error:  # its own kinds, one for each status
            raise _sessions.ModelRefusedError(f"ONNX Runtime cannot load it ({_sessions.one_line(error)})") from error
        if kernels == "tensorrt" and self._session.get_providers()[0] != _TENSORRT:  # ONNX Runtime says so in its log alone
            raise _sessions.ModelRefusedError("TensorRT could not be started here: is there an NVIDIA GPU, and its driver?")
        self.inputs, self.outputs, self.about = checked.inputs, checked.outputs, checked.about
        self._orders = checked.orders
        self._names = [port.name for port in self.outputs]
        self._bound: Any = None

    def resize(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """What is open takes any size; ValueError says what is not."""
        _file.resized(self.inputs, shapes)

    def __call__(self, stored: Mapping[str, Array]) -> dict[str, Array]:
        feeds = {name: _file.theirs(x, self._orders[name]) for name, x in stored.items()}
        try:
            made = self._session.run(self._names, feeds)
        except Exception as error:
            raise RuntimeError(_sessions.one_line(error)) from error
        return {name: _file.ours(y, self._orders[name]) for name, y in zip(self._names, made, strict=True)}

    def feed(self, stored: Mapping[str, Array]) -> None:
        self._bound = self._session.io_binding()
        for name, x in stored.items():
            self._bound.bind_cpu_input(name, _file.theirs(x, self._orders[name]))
        for name in self._names:
            self._bound.bind_output(name, "cpu")

    def invoke(self) -> None:
        self._session.run_with_iobinding(self._bound)

    def ops(self) -> list[dict[str, Any]]:
        """None are told of."""
        return []

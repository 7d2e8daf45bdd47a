"""An ONNX file in OpenVINO on the CPU. Needs numpy, onnx and openvino."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypeAlias, final

import numpy as np
import openvino

_file: Any = importlib.import_module("onnx_file")  # beside this file
_sessions: Any = importlib.import_module("sessions")
Array: TypeAlias = np.ndarray[Any, Any]


def check(_kernels: str) -> None:
    """Nothing but the package is needed."""


@final
class Session:
    """One compiled model, its ports in our order. What is computed in real numbers is computed in float32."""

    keeps_state = begins_anew = False

    def __init__(self, model: str, _kernels: str, threads: int = 1) -> None:
        checked = _file.read(model)
        self.inputs, self.outputs, self.about = checked.inputs, checked.outputs, checked.about
        self._orders = checked.orders
        self._options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._core = openvino.Core()
        try:
            self._model = self._core.read_model(checked.data, b"")
            self._compiled(self._shapes())
        except Exception as error:
            raise _sessions.ModelRefusedError(f"OpenVINO cannot load it ({_sessions.one_line(error)})") from error

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        return {port.name: port.shape for port in self.inputs}

    def _compiled(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Compile for inputs of these shapes, ours: fixed ones are what OpenVINO is fast at."""
        laid = {name: [shape[axis] for axis in self._orders[name]] for name, shape in shapes.items()}
        self._model.reshape(laid)
        self._request = self._core.compile_model(self._model, "CPU", self._options).create_infer_request()

    def resize(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Compile anew where inputs leave open what is given; ValueError says what is not."""
        _file.resized(self.inputs, shapes)
        try:
            self._compiled(shapes)
        except Exception as error:
            raise RuntimeError(_sessions.one_line(error)) from error

    def __call__(self, stored: Mapping[str, Array]) -> dict[str, Array]:
        self.feed(stored)
        try:
            self.invoke()
        except Exception as error:
            raise RuntimeError(_sessions.one_line(error)) from error
        made = {port.name: np.array(self._request.get_tensor(port.name).data) for port in self.outputs}
        return {name: _file.ours(y, self._orders[name]) for name, y in made.items()}

    def feed(self, stored: Mapping[str, Array]) -> None:
        for name, x in stored.items():
            self._request.set_tensor(name, openvino.Tensor(_file.theirs(x, self._orders[name])))

    def invoke(self) -> None:
        self._request.infer()

    def ops(self) -> list[dict[str, Any]]:
        """None are told of."""
        return []

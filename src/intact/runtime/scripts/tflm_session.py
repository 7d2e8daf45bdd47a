"""A .tflite file in TensorFlow Lite Micro, on this machine. Needs numpy, tflite_micro and ai_edge_litert's schema.

Weights that are packed are decoded as it runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_sessions: Any = importlib.import_module("sessions")  # beside this file
_runtime: Any = importlib.import_module("tflite_micro").runtime
Array: TypeAlias = np.ndarray[Any, Any]
#: A sessions.Port, which a type checker cannot see through a plain name.
Port: TypeAlias = Any

#: Bytes to work in, beside some copies of the file (decoded weights): more than any microcontroller has.
_ROOM = 1 << 26
_COPIES = 8


def check(_kernels: str) -> None:
    """Nothing but the package is needed."""


@final
class Session:
    """One interpreter. It takes samples one by one, as the file has them, and knows no threads."""

    begins_anew = False

    def __init__(self, model: str, _kernels: str, threads: int = 1) -> None:
        del threads
        data = Path(model).read_bytes()
        try:
            graph = schema.ModelT.InitFromPackedBuf(data, 0)
            self._micro = _runtime.Interpreter.from_bytes(data, arena_size=_ROOM + _COPIES * len(data))
        except Exception as error:  # of the flatbuffer, or of what it says
            raise _sessions.ModelRefusedError(f"TensorFlow Lite Micro cannot load it ({_sessions.one_line(error)})") from error
        body, named = graph.subgraphs[0], (graph.signatureDefs or [None])[0]
        given = {} if named is None else {one.tensorIndex: one.name for one in (*named.inputs, *named.outputs)}
        inputs, outputs = ([_name(given.get(int(i), body.tensors[i].name)) for i in ids] for ids in (body.inputs, body.outputs))
        self.inputs = [_port(name, n, self._micro.get_input_details(n)) for n, name in enumerate(inputs)]
        self.outputs = [_port(name, n, self._micro.get_output_details(n)) for n, name in enumerate(outputs)]
        codes = {max(code.builtinCode, code.deprecatedBuiltinCode) for code in graph.operatorCodes}
        self.keeps_state = schema.BuiltinOperator.ASSIGN_VARIABLE in codes
        self.about: dict[str, Any] = {"quantized": any(port.is_affine for port in (*self.inputs, *self.outputs))}

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """ValueError for other shapes than the file's."""
        for port in self.inputs:
            if tuple(shapes[port.name]) != port.shape:
                raise ValueError(f"TensorFlow Lite Micro takes input {port.name!r} as {list(port.shape)} alone")

    def __call__(self, stored: Mapping[str, Array]) -> dict[str, Array]:
        self.feed(stored)
        self.invoke()
        return {port.name: np.array(self._micro.get_output(port.index)) for port in self.outputs}

    def feed(self, stored: Mapping[str, Array]) -> None:
        for port in self.inputs:
            self._micro.set_input(np.ascontiguousarray(stored[port.name]), port.index)

    def invoke(self) -> None:
        self._micro.invoke()

    def ops(self) -> list[dict[str, Any]]:
        """None are told of."""
        return []


def _name(given: bytes | str) -> str:
    return given.decode(errors="replace") if isinstance(given, bytes) else given


def _port(name: str, number: int, details: Mapping[str, Any]) -> Port:
    held = details["quantization_parameters"]
    shape = tuple(int(n) for n in details["shape"])
    scale, zero = (tuple(held[key]) for key in ("scales", "zero_points"))
    return _sessions.Port(name, number, np.dtype(details["dtype"]), shape, shape, scale, zero, int(held["quantized_dimension"]))

"""A .tflite file in LiteRT. Needs numpy and ai_edge_litert only."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

_sessions: Any = importlib.import_module("sessions")  # beside this file
Array: TypeAlias = np.ndarray[Any, Any]
#: A sessions.Port, which a type checker cannot see through a plain name.
Port: TypeAlias = Any

_RESOLVERS = {"default": OpResolverType.AUTO, "reference": OpResolverType.BUILTIN_REF}
#: Recurrent layers that keep their states in variable tensors, and take x [B, T, in] or [T, B, in] first.
_LAYERS = {"UNIDIRECTIONAL_SEQUENCE_LSTM"}
#: Output channels from which on LiteRT's own kernel is right about weights in blocks.
_LEAST_OUTPUTS = 4


def check(_kernels: str) -> None:
    """Nothing but the package is needed."""


@final
class Session:
    """One interpreter with its tensors allocated, and its ports. Not for two threads at once."""

    def __init__(self, model: str, kernels: str, threads: int = 1) -> None:
        is_utf8 = model.encode(errors="replace").decode() == model  # LiteRT takes no other name
        held: dict[str, Any] = {"model_path": model} if is_utf8 else {"model_content": Path(model).read_bytes()}
        try:
            self._litert = Interpreter(**held, num_threads=threads, experimental_op_resolver_type=_RESOLVERS[kernels])
            self._litert.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _sessions.ModelRefusedError(f"LiteRT cannot load it ({_sessions.one_line(error)})") from error
        signatures: dict[str, dict[str, dict[str, int]]] = self._litert._get_full_signature_list()
        names: dict[str, dict[str, int]] = next(iter(signatures.values()), {"inputs": {}, "outputs": {}})
        ops = self._litert._get_ops_details()
        layers = [op["inputs"][0] for op in ops if op["op_name"] in _LAYERS]
        details = self._litert.get_tensor_details()
        shapes = {d["index"]: tuple(d["shape"]) for d in details}
        _check_blocks(kernels, ops, {d["index"]: d for d in details if d["quantization_parameters"].get("block_size")})
        self.about: dict[str, Any] = {}
        #: Whether a sample is a sequence of its own, though the kernels would go on from the one before.
        self.begins_anew = any(math.prod(shapes[i][:2]) > 1 for i in layers)
        #: Whether a call depends on the one before.
        self.keeps_state = any(op["op_name"] == "ASSIGN_VARIABLE" for op in ops) or (bool(layers) and not self.begins_anew)
        self.inputs = _ports(self._litert.get_input_details(), names["inputs"])
        self.outputs = _ports(self._litert.get_output_details(), names["outputs"])

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Give inputs other shapes than the file's; a RuntimeError or ValueError says that the graph does not take them."""
        others = [port for port in self.inputs if shapes[port.name] != port.shape]
        for port in others:
            self._litert.resize_tensor_input(port.index, shapes[port.name])
        if others:
            self._litert.allocate_tensors()

    def __call__(self, stored: Mapping[str, Array]) -> dict[str, Array]:
        self.feed(stored)
        if self.begins_anew:
            self._litert.reset_all_variables()
        self._litert.invoke()
        return {port.name: self._litert.get_tensor(port.index) for port in self.outputs}

    def feed(self, stored: Mapping[str, Array]) -> None:
        for port in self.inputs:
            self._litert.set_tensor(port.index, stored[port.name])

    def invoke(self) -> None:
        self._litert.invoke()

    def ops(self) -> list[dict[str, Any]]:
        """The ops as LiteRT lists them: the file's, then one DELEGATE per partition."""
        listed: list[dict[str, Any]] = self._litert._get_ops_details()
        return listed


def _check_blocks(kernels: str, ops: list[dict[str, Any]], weights: Mapping[int, dict[str, Any]]) -> None:
    """ModelRefusedError where a FULLY_CONNECTED reads ``weights`` in blocks and its kernel gives wrong numbers (seen in 2.3).

    XNNPACK's are right, and so is LiteRT's own among the default kernels from four outputs on; EMBEDDING_LOOKUP's are anywhere.
    """
    dense = [op for op in _sessions.outside(ops) if op["op_name"] == "FULLY_CONNECTED"] if weights else []
    read = [weights[i] for op in dense for i in map(int, op["inputs"]) if i in weights]
    if read and (kernels == "reference" or min(d["shape"][0] for d in read) < _LEAST_OUTPUTS):
        which = "LiteRT's reference kernels give" if kernels == "reference" else "LiteRT's own kernel, outside XNNPACK, gives"
        advice = "run it in the default kernels (--target cpu)" if kernels == "reference" else "export it with one a channel"
        raise _sessions.ModelRefusedError(
            f"{which} wrong numbers for {read[0]['name']!r}, which has a scale for each block of its weights; {advice}"
        )


def _ports(details: list[dict[str, Any]], names: Mapping[str, int]) -> list[Port]:
    public = {index: name for name, index in names.items()}
    ports = []
    for d in details:
        quantization = d["quantization_parameters"]
        ports.append(
            _sessions.Port(
                name=public.get(d["index"], d["name"]),
                index=d["index"],
                dtype=np.dtype(d["dtype"]),
                shape=tuple(int(n) for n in d["shape"]),
                signature=tuple(int(n) for n in d["shape_signature"]),
                scale=tuple(float(s) for s in quantization["scales"]),
                zero_point=tuple(int(z) for z in quantization["zero_points"]),
                axis=int(quantization["quantized_dimension"]),
            )
        )
    if len({port.name for port in ports}) < len({port.index for port in ports}):
        raise _sessions.ModelRefusedError(
            f"several of its inputs or outputs have the same name ({', '.join(p.name for p in ports)})"
        )
    return ports

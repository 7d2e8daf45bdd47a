"""A .pt2 file in PyTorch on the CPU: op by op, or through its compiler. Needs numpy and torch; the compiler needs a C++ one.

The file has been inspected before (``formats/pt2.py``): loading it runs no code but operators.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np

# Read when torch is imported. Workers of the compiler would be processes that outlive this one's limits.
os.environ["TORCHINDUCTOR_FREEZING"] = "1"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(tempfile.gettempdir(), "torchinductor")  # noqa: PTH118

import torch
from torch._inductor import exc
from torch._inductor.cpp_builder import get_cpp_compiler

_sessions: Any = importlib.import_module("sessions")  # beside this file
importlib.import_module("torch.ao.quantization.fx._decomposed")  # registers the operators that such files call
Array: TypeAlias = np.ndarray[Any, Any]
Order: TypeAlias = tuple[int, ...]
#: A sessions.Port, which a type checker cannot see through a plain name.
Port: TypeAlias = Any

#: The extra file in which Intact says how inputs and outputs lie; written by intact/formats/pt2_out/write.py.
_ABOUT = "intact.json"
_FIRST: Order = (0, 3, 1, 2)
#: The kernels that are compiled.
_COMPILED = "pytorch"


@final
@dataclass(frozen=True)
class _Loaded:
    """A program ready to call, its ports in our order and how each lies (our axis at each of its axes)."""

    run: Callable[..., Any]
    inputs: list[Port]
    outputs: list[Port]
    orders: dict[str, Order]
    about: dict[str, Any]


#: By file and kernels: compiling takes half a minute, and what is compiled does not change.
_KEPT: dict[tuple[str, str], _Loaded] = {}
#: Held while a program is called for the first time, when it is compiled.
_LOCK = threading.Lock()
_SEEN: set[tuple[Any, ...]] = set()


def check(kernels: str) -> None:
    """Refuses compiled kernels where there is no C++ compiler."""
    if kernels != _COMPILED:
        return
    try:
        get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        raise _sessions.ModelRefusedError(
            "PyTorch's compiler needs a C++ compiler, and there is none; install g++, or measure in the runtime pytorch-eager"
        ) from error


@final
class Session:
    """One program. Compiled ones are compiled for the shape that they are first called with; calls of others compile anew."""

    keeps_state = begins_anew = False

    def __init__(self, model: str, kernels: str, threads: int = 1) -> None:
        torch.set_num_threads(threads)
        check(kernels)
        with _LOCK:
            key = model, kernels
            if key not in _KEPT:
                _KEPT[key] = _loaded(model, kernels)
        self._key, self._held = (*key, threads), _KEPT[key]
        self.inputs, self.outputs, self.about = self._held.inputs, self._held.outputs, self._held.about
        self._fed: list[torch.Tensor] = []

    def resize(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """What is open takes any size; ValueError says what is not."""
        for port in self.inputs:
            wanted = shapes[port.name]
            fits = len(wanted) == len(port.signature)
            if not (fits and all(n in (-1, m) for n, m in zip(port.signature, wanted, strict=True))):
                raise ValueError(f"input {port.name!r} takes {list(port.signature)}, and not {list(wanted)}")

    def __call__(self, stored: Mapping[str, Array]) -> dict[str, Array]:
        self.feed(stored)
        made = self._called()
        return {port.name: self._ours(port.name, y) for port, y in zip(self.outputs, made, strict=True)}

    def feed(self, stored: Mapping[str, Array]) -> None:
        """Images stay in our order in memory, which torch calls channels last."""
        self._fed = [
            torch.from_numpy(np.array(stored[port.name], order="C")).permute(self._held.orders[port.name])
            for port in self.inputs
        ]

    def invoke(self) -> None:
        self._called()

    def ops(self) -> list[dict[str, Any]]:
        """None are told of."""
        return []

    def _called(self) -> list[torch.Tensor]:
        shapes = (*self._key, *(tuple(x.shape) for x in self._fed))
        if shapes in _SEEN:
            return self._run()
        with _LOCK:
            made = self._run()
            _SEEN.add(shapes)
        return made

    def _run(self) -> list[torch.Tensor]:
        try:
            with torch.no_grad():  # and not inference mode: the compiler lowers nothing to integers there
                made = self._held.run(*self._fed)
        except Exception as error:  # the compiler's own kinds, and the operators'
            raise RuntimeError(_sessions.one_line(error)) from error
        return [made] if isinstance(made, torch.Tensor) else list(made)

    def _ours(self, name: str, y: torch.Tensor) -> Array:
        order = self._held.orders[name]
        back = [order.index(axis) for axis in range(len(order))]
        return y.detach().permute(back).contiguous().numpy()


def _loaded(model: str, kernels: str) -> _Loaded:
    extra = {_ABOUT: ""}
    try:
        program = torch.export.load(model, extra_files=extra)
        said = json.loads(extra[_ABOUT]) if extra[_ABOUT] else None
        module = program.module(check_guards=False)
        values = {node.name: node.meta.get("val") for node in program.graph.nodes}
        given = [str(name) for name in program.graph_signature.user_inputs]
        made = [str(name) for name in program.graph_signature.user_outputs]
        inputs, outputs = _ports(values, given, said and said["inputs"]), _ports(values, made, said and said["outputs"])
    except Exception as error:  # of an archive, of JSON, of operators that this torch does not know
        raise _sessions.ModelRefusedError(f"PyTorch cannot load it ({_sessions.one_line(error)})") from error
    quantized = any("quantized_decomposed" in str(node.target) for node in program.graph.nodes)
    orders = {port.name: order for port, order in (*inputs, *outputs)}
    run = torch.compile(module, dynamic=False) if kernels == _COMPILED else module
    about = {"makers": {}, "quantized": quantized}
    return _Loaded(run, [port for port, _ in inputs], [port for port, _ in outputs], orders, about)


def _ports(values: Mapping[str, Any], nodes: list[str], said: Mapping[str, Any] | None) -> list[tuple[Port, Order]]:
    """Ports of the graph's inputs or outputs, called as the file says: where it says nothing, images have channels first."""
    found = []
    orders = list(said.items()) if said else [(name, None) for name in nodes]
    for number, (node, (name, order)) in enumerate(zip(nodes, orders, strict=True)):
        value = values[node]
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"{node} is no tensor")
        rank = value.dim()
        lies = tuple(order) if order else _FIRST if rank == 4 else tuple(range(rank))
        if sorted(lies) != list(range(rank)):
            raise ValueError(f"{_ABOUT} does not fit {node}")
        theirs = [n if isinstance(n, int) else -1 for n in value.shape]
        signature = tuple(theirs[lies.index(axis)] for axis in range(rank))
        dtype = np.dtype(str(value.dtype).removeprefix("torch."))
        port = _sessions.Port(name, number, dtype, tuple(max(n, 1) for n in signature), signature, (), (), 0)
        found.append((port, lies))
    return found

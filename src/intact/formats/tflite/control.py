"""Ops that run subgraphs or name variables, as a file holds them: gone once it is read (:mod:`intact.formats.tflite.loops`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, final

import torch

from intact.errors import UnsupportedError
from intact.formats.tflite.values import text
from intact.network.graph import Op, State, Tensor
from intact.ops.base import FloatOnly


class Control(FloatOnly):
    """An op that runs subgraphs. It is unrolled when the file is read, and never part of a network."""

    def compute(self, *inputs: torch.Tensor | None) -> torch.Tensor:
        del inputs
        raise UnsupportedError(f"{self.name} is no op of a network")


@final
@dataclass(frozen=True)
class While(Control):
    """Runs subgraph ``body`` on its own results as long as subgraph ``condition`` gives True."""

    name: ClassVar[str] = "WHILE"
    condition: int = 0
    body: int = 0


@final
@dataclass(frozen=True)
class If(Control):
    """Runs one of two subgraphs by the first input, on the others."""

    name: ClassVar[str] = "IF"
    then: int = 0
    otherwise: int = 0


@final
@dataclass(frozen=True)
class CallOnce(Control):
    """Runs a subgraph before the first call: it gives variables their first values."""

    name: ClassVar[str] = "CALL_ONCE"
    init: int = 0


@final
@dataclass(frozen=True)
class VarHandle(Control):
    """Names a variable, which keeps its value between calls."""

    name: ClassVar[str] = "VAR_HANDLE"
    container: str = ""
    variable: str = ""


@final
@dataclass(frozen=True)
class ReadVariable(Control):
    """What the variable holds."""

    name: ClassVar[str] = "READ_VARIABLE"


@final
@dataclass(frozen=True)
class AssignVariable(Control):
    """The variable holds the second input from now on."""

    name: ClassVar[str] = "ASSIGN_VARIABLE"


CONTROL: Final[Mapping[str, type[Control]]] = MappingProxyType(
    {kind.name: kind for kind in (While, If, CallOnce, VarHandle, ReadVariable, AssignVariable)}
)


def control(name: str, options: Any) -> Control:
    """The op of the name with what its options table (None: absent) holds."""
    if options is None:
        return CONTROL[name]()
    match name:
        case "WHILE":
            return While(options.CondSubgraphIndex(), options.BodySubgraphIndex())
        case "IF":
            return If(options.ThenSubgraphIndex(), options.ElseSubgraphIndex())
        case "CALL_ONCE":
            return CallOnce(options.InitSubgraphIndex())
        case "VAR_HANDLE":
            return VarHandle(text(options.Container()), text(options.SharedName()))
    return CONTROL[name]()


@final
@dataclass(frozen=True, eq=False)
class Block:
    """One subgraph of a file as it is read: like a graph, but with ops of :class:`Control`."""

    name: str
    tensors: Mapping[int, Tensor]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    states: tuple[State, ...] = ()

    @property
    def has_control(self) -> bool:
        return any(isinstance(op.kind, Control) for op in self.ops)

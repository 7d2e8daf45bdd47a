"""One node of ONNX with the values that it reads: what a row of the tables is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.build import Builder, Order, Stored, Value
from intact.formats.onnx.document import Node
from intact.ops.base import OpKind


@final
@dataclass(frozen=True)
class Call:
    """A ``node``, the values that it reads (None: left out), the ``opset`` that says what it means, and where ops are made."""

    node: Node
    inputs: tuple[Value | None, ...]
    opset: int
    build: Builder

    # ---- operands ---------------------------------------------------------------------------------------------------------

    def has(self, n: int) -> bool:
        return n < len(self.inputs) and self.inputs[n] is not None

    def value(self, n: int) -> Value:
        found = self.inputs[n] if n < len(self.inputs) else None
        if found is None:
            raise ModelError(f"its input {n} is left out")
        return found

    @property
    def values(self) -> tuple[Value, ...]:
        """All inputs, where none may be left out."""
        return tuple(self.value(n) for n in range(len(self.inputs)))

    def constant(self, n: int, what: str) -> np.ndarray:
        """The numbers of an input that must be known. UnsupportedError where they are computed at run time."""
        v = self.value(n)
        if v.stored.data is None:
            raise UnsupportedError(f"its {what} is computed at run time; export the model so that it is a constant")
        plain = self.build.as_onnx(v).stored.data
        assert plain is not None
        return plain

    def whole(self, n: int, what: str) -> tuple[int, ...] | None:
        """The whole numbers of an input that must be known, None where it is left out."""
        if not self.has(n):
            return None
        data = self.constant(n, what)
        if data.ndim > 1 or data.size > 4096:
            raise ModelError(f"its {what} has the shape {list(data.shape)}")
        return tuple(int(x) for x in data.reshape(-1))

    # ---- attributes -------------------------------------------------------------------------------------------------------

    def integer(self, name: str, default: int) -> int:
        return int(self._number(name, default))

    def real(self, name: str, default: float) -> float:
        return float(self._number(name, default))

    def _number(self, name: str, default: float) -> float:
        found = self.node.attributes.get(name, default)
        if not isinstance(found, (int, float)):
            raise ModelError(f"its attribute {name!r} is no number")
        return found

    def text(self, name: str, default: str) -> str:
        return str(self.node.attributes.get(name, default))

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of whole numbers, None where it is not there."""
        found = self.node.attributes.get(name)
        if found is None:
            return None
        if not isinstance(found, tuple) or not all(isinstance(n, int) for n in found):
            raise ModelError(f"its attribute {name!r} is no list of whole numbers")
        return found

    def axes(self, n: int, what: str = "axes") -> tuple[int, ...] | None:
        """Axes from the attribute, or in newer versions from input ``n``; None where there are none."""
        found = self.integers(what)
        return self.whole(n, what) if found is None else found

    def counted(self, axis: int, rank: int) -> int:
        """An axis counted from the first."""
        if not -rank <= axis < max(rank, 1):
            raise ModelError(f"axis {axis} of a tensor of {rank} axes")
        return axis % max(rank, 1)

    # ---- results ------------------------------------------------------------------------------------------------------------

    def same(self, kind: OpKind, v: Value, *more: Stored | np.ndarray | None) -> Value:
        """What ``kind`` makes of ``v``, with the axes where they were."""
        return Value(self.build.one(kind, v.stored, *more), v.shape, v.order)

    def resized(self, stored: Stored, order: Order) -> Value:
        """A value of which every axis lies somewhere in ``order``."""
        shape = {a: n for a, n in zip(order, stored.shape, strict=True) if a >= 0}
        return Value(stored, tuple(shape[a] for a in range(len(shape))), order)

    def lists(self, v: Value, given: Mapping[int, Any], default: Any) -> list[Any]:
        """What is ``given`` for ONNX's axes, by the axes of the tensor; ``default`` elsewhere."""
        return [given.get(a, default) for a in v.order]


#: What makes of a node the values that it gives, as many as are used.
Row: TypeAlias = Callable[[Call], Value | Sequence[Value]]

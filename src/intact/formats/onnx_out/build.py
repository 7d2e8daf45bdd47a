"""An ONNX model while it is made: nodes and constants by name, and values with the order of their axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, final

import numpy as np

from intact.numbers.affine import Affine, limits

#: Which axis of ours lies at each axis of ONNX's: (0, 3, 1, 2) is an image with its channels first.
Order: TypeAlias = tuple[int, ...]

FIRST: Final[Order] = (0, 3, 1, 2)
#: Opsets: what every runtime reads, and the first with 4- and 16-bit integers.
OPSET, WIDE_OPSET = 13, 21
_WIDE: Final = frozenset({"int4", "int16"})
#: The first opset in which all reductions read their axes, which were an attribute before.
_AXES_READ: Final = 18


@final
@dataclass(frozen=True)
class Value:
    """A name in ONNX's network, of real numbers unless our tensor holds whole ones; ``order``: where our axes lie."""

    name: str
    order: Order

    def axis(self, ours: int) -> int:
        """Where our axis, counted from the first or the last, lies."""
        return self.order.index(ours % len(self.order))

    def arranged(self, ours: Sequence[Any]) -> list[Any]:
        """What is given for each of our axes, for each of ONNX's."""
        return [ours[axis] for axis in self.order]


@final
@dataclass(frozen=True)
class Node:
    """One node, as ``onnx.helper.make_node`` takes it."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    attributes: Mapping[str, Any]


@final
@dataclass(frozen=True, eq=False)
class Constant:
    """An array under a name; ``dtype`` is int4 for what numpy has no type for."""

    name: str
    data: np.ndarray
    dtype: str


@final
@dataclass(eq=False)
class Builder:
    """Nodes and constants so far. Mutable; owned by the one who writes."""

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    opset: int = OPSET
    #: What the nodes now made are called after.
    called: str = ""
    #: What stored numbers are shifted by: 128 where int8 activations are written as uint8.
    shift: int = 0
    _taken: set[str] = field(default_factory=set)
    _small: dict[tuple[str, bytes, tuple[int, ...]], str] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """``name``, numbered where it is taken."""
        made, number = name or "value", 2
        while made in self._taken:
            made, number = f"{name}_{number}", number + 1
        self._taken.add(made)
        return made

    def needs(self, opset: int) -> None:
        self.opset = max(self.opset, opset)

    def node(self, op: str, inputs: Iterable[str], suffix: str = "", **attributes: Any) -> str:
        """The name of what one node makes."""
        return self.node_of(op, inputs, 1, suffix, **attributes)[0]

    def node_of(self, op: str, inputs: Iterable[str], count: int, suffix: str = "", **attributes: Any) -> tuple[str, ...]:
        """The names of what one node makes."""
        base = f"{self.called}{suffix}"
        outputs = tuple(self.unique(base if n == 0 else f"{base}_{n}") for n in range(count))
        self.nodes.append(Node(op, tuple(inputs), outputs, f"{op} {outputs[0]}", attributes))
        return outputs

    def finished(self) -> list[Node]:
        """The nodes as the opset that all of them need together spells them."""
        return [self._as_spelled(node) for node in self.nodes]

    def _as_spelled(self, node: Node) -> Node:
        if self.opset < _AXES_READ or not node.op.startswith("Reduce") or "axes" not in node.attributes:
            return node
        others = {name: value for name, value in node.attributes.items() if name != "axes"}
        return replace(node, inputs=(*node.inputs, self.numbers(*node.attributes["axes"])), attributes=others)

    def constant(self, data: np.ndarray | Sequence[Any], dtype: str, name: str = "constant", *, alone: bool = False) -> str:
        """The name of a constant; small equal ones are one, unless it stands ``alone``."""
        array = np.asarray(data, "int8" if dtype == "int4" else dtype)
        key = dtype, array.tobytes(), array.shape
        is_small = array.size <= 16 and not alone
        if is_small and key in self._small:
            return self._small[key]
        made = self.unique(name)
        self.constants[made] = Constant(made, array, dtype)
        if dtype in _WIDE:
            self.needs(WIDE_OPSET)
        if is_small:
            self._small[key] = made
        return made

    def numbers(self, *values: int) -> str:
        """A list of whole numbers."""
        return self.constant(np.array(values, np.int64).reshape(-1), "int64", "numbers")

    def real(self, value: float) -> str:
        """One real number."""
        return self.constant(np.array(value, np.float32), "float32", "number")

    # ---- stored integers --------------------------------------------------------------------------------------------------

    def rounded(self, name: str, fmt: Affine) -> str:
        """Real numbers rounded to what ``fmt`` stores: QuantizeLinear, DequantizeLinear."""
        scale, zero_point = self._parameters(fmt, activation=True)
        stored = self.node("QuantizeLinear", (name, scale, zero_point), "_quantized")
        return self.node("DequantizeLinear", (stored, scale, zero_point), "_dequantized")

    def stored(self, data: np.ndarray, fmt: Affine, axis: int | None, name: str, *, activation: bool = False) -> str:
        """A constant of stored integers as real numbers; ``axis`` of ``data`` is the one with a scale each."""
        scale, zero_point = self._parameters(fmt, activation=activation)
        dtype = fmt.dtype
        if activation and self.shift and dtype == "int8":
            data, dtype = data.astype(np.int16) + self.shift, "uint8"
        held = self.constant(data, dtype, f"{name}_quantized", alone=True)  # OpenVINO refuses what is its own zero point
        given = {} if axis is None else {"axis": axis}
        made = self.unique(f"{name}_dequantized")
        self.nodes.append(Node("DequantizeLinear", (held, scale, zero_point), (made,), f"DequantizeLinear {made}", given))
        return made

    def _parameters(self, fmt: Affine, *, activation: bool) -> tuple[str, str]:
        scales, zero_points, dtype = np.asarray(fmt.scale, np.float32), np.array(fmt.zero_point, np.int64), fmt.dtype
        if activation and self.shift and dtype == "int8":
            zero_points, dtype = zero_points + self.shift, "uint8"
        if fmt.axis is None:
            scales, zero_points = scales.reshape(()), zero_points.reshape(())
        return self.constant(scales, "float32", "scale"), self.constant(zero_points, dtype, "zero_point")


def clamps(low: float, high: float, fmt: Affine) -> bool:
    """Whether a clamp to [low, high] changes any number that ``fmt`` holds: [0, 6] none where 6 is stored as 127 or more."""
    least, most = limits(fmt.dtype)
    lowest, highest = (bound if np.isinf(bound) else round(bound / fmt.scale[0]) + fmt.zero_point[0] for bound in (low, high))
    return lowest > least or highest < most

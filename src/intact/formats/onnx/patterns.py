"""What exporters take apart and we have whole: GELU, which is five nodes around an Erf, and the hard swish."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from intact.formats.onnx.document import Network, Node

_ROOT: Final = math.sqrt(2)


class _Uses:
    """Who makes and who reads each value, and which are constant numbers."""

    def __init__(self, network: Network) -> None:
        self.makers = {name: node for node in network.nodes for name in node.outputs if name}
        self._readers: dict[str, list[Node]] = {}
        for node in network.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        self._ends = set(network.outputs)
        self._constants = network.constants

    def reader(self, name: str) -> Node | None:
        """The only reader of a value."""
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._ends else None

    def number(self, name: str) -> float | None:
        """The only number of a constant."""
        data = self._constants.get(name)
        made = self.makers.get(name)
        if data is None and made is not None and made.op == "Constant":
            data = np.asarray(made.attributes.get("value", made.attributes.get("value_float", ())))
        return float(data.reshape(-1)[0]) if data is not None and data.size == 1 else None

    def ends(self, clip: Node) -> tuple[float | None, float | None]:
        """Between which numbers a Clip keeps what it reads."""
        low, high = (self.number(name) if name else None for name in (*clip.inputs[1:], "", "")[:2])
        return clip.attributes.get("min", low), clip.attributes.get("max", high)

    def factor(self, name: str) -> tuple[str, float]:
        """A value and a number whose product ``name`` is."""
        made = self.makers.get(name)
        if made is not None and made.op in ("Mul", "Div") and len(made.inputs) == 2:
            a, b = made.inputs
            if (number := self.number(b)) is not None and (made.op == "Mul" or number):
                return a, number if made.op == "Mul" else 1 / number
            if made.op == "Mul" and (number := self.number(a)) is not None:
                return b, number
        return name, 1.0


def fused(network: Network) -> Network:
    """``network`` with every ``x / 2 (1 + erf(x / sqrt 2))`` and ``x relu6(x + 3) / 6`` as one node, by the last of theirs.

    What they were taken apart into is read by nothing then, and goes.
    """
    uses, found = _Uses(network), dict[str, Node]()
    for node in network.nodes:
        match = _PATTERNS.get(node.op)
        found |= {} if match is None else match(uses, node)
    nodes = tuple(found.get(node.outputs[0], node) if node.outputs else node for node in network.nodes)
    return replace(network, nodes=nodes) if found else network


def _hard_swish(uses: _Uses, product: Node) -> Mapping[str, Node]:
    for name, other in (product.inputs, product.inputs[::-1]) if len(product.inputs) == 2 else ():
        (x, by), (gated, factor) = uses.factor(name), _gate(uses, other)
        if gated != x:
            continue
        factor, last = factor * by, product
        while not math.isclose(factor, 1 / 6, rel_tol=1e-4):
            following = uses.reader(last.outputs[0])
            if following is None or following.op not in ("Mul", "Div"):
                return {}
            base, by = uses.factor(following.outputs[0])
            if base != last.outputs[0]:
                return {}
            factor, last = factor * by, following
        return {last.outputs[0]: replace(last, op="HardSwish", inputs=(x,), attributes={})}
    return {}


def _gate(uses: _Uses, name: str) -> tuple[str, float]:
    """x and k, where ``name`` is ``k relu6(x + 3)``; else nothing."""
    base, factor = uses.factor(name)
    made = uses.makers.get(base)
    if made is not None and made.op == "HardSigmoid":
        alpha, beta = (float(made.attributes.get(key, default)) for key, default in (("alpha", 0.2), ("beta", 0.5)))
        is_gate = math.isclose(alpha, 1 / 6, rel_tol=1e-3) and beta == 0.5
        return (made.inputs[0], factor / 6) if is_gate else ("", 0.0)
    if made is None or made.op != "Clip" or uses.ends(made) != (0.0, 6.0):
        return "", 0.0
    shifted = uses.makers.get(made.inputs[0])
    for x, three in (shifted.inputs, shifted.inputs[::-1]) if shifted is not None and shifted.op == "Add" else ():
        if uses.number(three) == 3.0:
            return x, factor
    return "", 0.0


def _gelu(uses: _Uses, erf: Node) -> Mapping[str, Node]:
    x, inner = uses.factor(erf.inputs[0])
    one = uses.reader(erf.outputs[0])
    if not math.isclose(inner, 1 / _ROOT, rel_tol=1e-4) or one is None or one.op != "Add":
        return {}
    if not any(uses.number(name) == 1.0 for name in one.inputs):
        return {}
    last, factor, has_x = one, 1.0, False
    while not (has_x and math.isclose(factor, 0.5, rel_tol=1e-4)):
        product = uses.reader(last.outputs[0])
        if product is None or product.op not in ("Mul", "Div") or len(product.inputs) != 2:
            return {}
        a, b = product.inputs
        other = b if a == last.outputs[0] else a
        number = uses.number(other)
        if number is not None and (product.op == "Mul" or (number and other == b)):
            factor *= number if product.op == "Mul" else 1 / number
        elif product.op == "Mul" and not has_x and uses.factor(other)[0] == x:
            has_x, factor = True, factor * uses.factor(other)[1]
        elif product.op == "Mul" and not has_x and other == x:
            has_x = True
        else:
            return {}
        last = product
    return {last.outputs[0]: replace(last, op="Gelu", inputs=(x,), attributes={"approximate": "none"})}


_PATTERNS: Final[Mapping[str, Callable[[_Uses, Node], Mapping[str, Node]]]] = {"Erf": _gelu, "Mul": _hard_swish}

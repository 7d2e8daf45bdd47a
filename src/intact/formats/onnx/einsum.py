"""ONNX's Einsum of one or two tensors: axes put in an order, one product of matrices, axes put in another."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Final

from intact.errors import ModelError, UnsupportedError
from intact.formats.onnx.build import Value
from intact.formats.onnx.call import Call, Row
from intact.formats.onnx.matmul import transposed, without
from intact.formats.onnx.reduction import over
from intact.formats.onnx.shaping import reshaped
from intact.ops.matmul import BatchMatMul
from intact.ops.reduction import Sum


def _einsum(call: Call) -> Value:
    equation = call.text("equation", "").replace(" ", "")
    sides = equation.split("->")
    names = sides[0].split(",")
    known = [
        len(name) == v.rank and len(set(name)) == len(name) and name.isalpha()
        for name, v in zip(names, call.values, strict=False)
    ]
    if (
        len(sides) != 2
        or len(names) != len(call.values)
        or len(names) > 2
        or not all(known)
        or len(set(sides[1])) != len(sides[1])
    ):
        raise UnsupportedError(f"its equation {equation[:80]!r} is none of one or two tensors with an axis for each letter")
    summed = [
        _without(call, v, name, set(sides[1]).union(*(n for n in names if n is not name)))
        for v, name in zip(call.values, names, strict=True)
    ]
    if len(summed) == 1:
        ((v, name),) = summed
        return transposed(v, tuple(name.index(a) for a in sides[1]))
    return _product(call, summed[0], summed[1], sides[1])


def _without(call: Call, v: Value, name: str, needed: set[str]) -> tuple[Value, str]:
    """``v`` summed over axes that nothing else has."""
    axes = tuple(a for a, letter in enumerate(name) if letter not in needed)
    if not axes:
        return v, name
    return without(over(call, Sum, v, axes), axes), "".join(letter for letter in name if letter in needed)


def _product(call: Call, first: tuple[Value, str], second: tuple[Value, str], wanted: str) -> Value:
    (a, of_a), (b, of_b) = first, second
    sizes = dict(zip(of_a + of_b, a.shape + b.shape, strict=True))
    if any(sizes[letter] != n for letter, n in zip(of_a, a.shape, strict=True)):
        raise ModelError("axes of one letter and different lengths")
    shared = [x for x in of_a if x in of_b and x in wanted]
    inner = [x for x in of_a if x in of_b and x not in wanted]
    rows, columns = ([x for x in of if x not in other] for of, other in ((of_a, of_b), (of_b, of_a)))

    def matrix(v: Value, of: str, *groups: list[str]) -> Value:
        turned = transposed(v, tuple(of.index(x) for group in (shared, *groups) for x in group))
        shape = (*(sizes[x] for x in shared), *(prod(sizes[x] for x in group) for group in groups))
        return call.build.as_onnx(reshaped(call.build, turned, shape))

    left, right = matrix(a, of_a, rows, inner), matrix(b, of_b, inner, columns)
    y = Value.plain(call.build.one(BatchMatMul(), left.stored, right.stored))
    made = [*shared, *rows, *columns]
    y = reshaped(call.build, y, tuple(sizes[x] for x in made))
    return transposed(y, tuple(made.index(x) for x in wanted))


ROWS: Final[Mapping[str, Row]] = {"Einsum": _einsum}

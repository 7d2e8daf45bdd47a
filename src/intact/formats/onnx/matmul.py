"""ONNX's matrix products."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from intact.errors import ModelError
from intact.formats.onnx.arithmetic import combined, scalar
from intact.formats.onnx.build import NONE, Builder, Order, Value
from intact.formats.onnx.call import Call, Row
from intact.ops.elementwise import Add, Mul
from intact.ops.matmul import BatchMatMul, FullyConnected


def _matmul(call: Call) -> Value:
    a, b = call.value(0), call.value(1)
    if not a.rank or not b.rank:
        raise ModelError("a matrix product of a single number")
    if b.is_constant and b.rank == 2 and not a.is_constant and a.rank > 1:
        return by_weights(call, a, call.build.derived(call.constant(1, "weight"), by=_columns))
    wide = _product(call.build, _column(a, first=True), _column(b, first=False))
    drop = (*(wide.rank - 2,) * (a.rank == 1), *(wide.rank - 1,) * (b.rank == 1))
    return without(wide, drop)


def by_weights(call: Call, x: Value, weight: np.ndarray, bias: np.ndarray | None = None) -> Value:
    """``x w^T + b`` over the last axis, ``weight`` [out, in]; the other axes lie where they were."""
    if x.shape[-1] != weight.shape[1]:
        raise ModelError(f"a product of {x.shape[-1]} columns and {weight.shape[1]} rows")
    x = call.build.having(x, 0, x.rank - 1)
    x = call.build.arranged(x, (*(a for a in x.order if a not in (NONE, x.rank - 1)), x.rank - 1))
    kind = FullyConnected(keep_dims=len(x.order) > 2)
    y = call.build.one(kind, x.stored, np.ascontiguousarray(weight), bias)
    return Value(y, (*x.shape[:-1], len(weight)), x.order)


def _columns(b: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """A matrix [in, out] as weights [out, in], times ``alpha``."""
    return np.ascontiguousarray(b.T if alpha == 1.0 else (alpha * b.T).astype(np.float32))


def _column(v: Value, *, first: bool) -> Value:
    """A vector as the matrix that a product takes it for."""
    if v.rank > 1:
        return v
    return v.seen_as(2) if first else Value(v.stored, (*v.shape, 1), v.order)


def without(v: Value, axes: tuple[int, ...]) -> Value:
    """``v`` without axes of length 1, which lie where they were and count no more."""
    kept = [a for a in range(v.rank) if a not in axes]
    if any(v.shape[a] != 1 for a in axes):
        raise ModelError(f"axes {list(axes)} of {list(v.shape)} cannot be left out")
    return Value(v.stored, tuple(v.shape[a] for a in kept), tuple(kept.index(a) if a in kept else -1 for a in v.order))


def _product(build: Builder, a: Value, b: Value) -> Value:
    rank = max(a.rank, b.rank)
    (a, of_a), (b, of_b) = (_matrices(build, v.seen_as(rank)) for v in (a, b))
    y = build.one(BatchMatMul(of_a, of_b), a.stored, b.stored)
    return Value.plain(y)


def _matrices(build: Builder, v: Value) -> tuple[Value, bool]:
    """``v`` with its axes as ONNX has them, or with the last two turned, whichever it is already, and whether it is that."""
    v = build.complete(v)
    turned: Order = (*range(v.rank - 2), v.rank - 1, v.rank - 2)
    return (v, True) if v.order == turned else (build.as_onnx(v), False)


def _gemm(call: Call) -> Value:
    """``alpha A B + beta C``, either matrix turned first."""
    a, b = call.value(0), call.value(1)
    alpha, beta = call.real("alpha", 1.0), call.real("beta", 1.0)
    if a.rank != 2 or b.rank != 2:
        raise ModelError(f"matrices of shape {list(a.shape)} and {list(b.shape)}")
    a = _turned(a) if call.integer("transA", 0) else a
    b = _turned(b) if call.integer("transB", 0) else b
    c = call.value(2) if call.has(2) else None
    if b.stored.data is not None and not a.is_constant:
        plain = call.build.as_onnx(b).stored.data
        assert plain is not None
        weight = call.build.derived(plain, alpha, by=_columns)
        row = None if c is None else _row(c, len(weight))
        if c is None or row is not None:
            return by_weights(call, a, weight, None if row is None else (beta * row).astype(np.float32))
        y = by_weights(call, a, weight)
    else:
        y = _product(call.build, a, b)
        y = y if alpha == 1.0 else combined(call.build, Mul(), y, scalar(alpha))
    if c is None:
        return y
    return combined(call.build, Add(), y, c if beta == 1.0 else combined(call.build, Mul(), c, scalar(beta)))


def _row(c: Value, count: int) -> np.ndarray | None:
    """``count`` numbers that every row of a matrix is shifted by; None where ``c`` is computed or shifts rows apart."""
    if c.stored.data is None or c.rank > 2 or c.stored.data.size not in (1, count) or (c.rank == 2 and c.shape[0] != 1):
        return None
    return np.broadcast_to(c.stored.data.reshape(-1), count)


def _turned(v: Value) -> Value:
    return transposed(v, (1, 0))


def transposed(v: Value, permutation: tuple[int, ...]) -> Value:
    """``v`` with ONNX's axes in another order: nothing moves."""
    place = {a: n for n, a in enumerate(permutation)}
    return Value(v.stored, tuple(v.shape[a] for a in permutation), tuple(a if a < 0 else place[a] for a in v.order))


ROWS: Final[Mapping[str, Row]] = {"MatMul": _matmul, "Gemm": _gemm}

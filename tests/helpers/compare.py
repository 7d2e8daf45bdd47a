"""The one comparison that tests use for arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def assert_same(actual: ArrayLike, expected: ArrayLike, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Shape, then dtype, then values: exact unless a tolerance is given. ``rtol`` is relative to the largest |expected|."""
    a, e = np.asarray(actual), np.asarray(expected)
    assert a.shape == e.shape, f"shape {a.shape}, expected {e.shape}"
    assert a.dtype == e.dtype, f"dtype {a.dtype}, expected {e.dtype}"
    if a.size == 0:
        return
    if e.dtype.kind not in "fiu":
        assert np.array_equal(a, e), "values differ"
        return
    x, y = a.astype(np.float64), e.astype(np.float64)
    assert np.isfinite(x).all() == np.isfinite(y).all(), "one side holds inf or nan"
    gap = np.abs(x - y)
    bound = atol + rtol * float(np.abs(y).max())
    worst = np.unravel_index(int(np.argmax(gap)), gap.shape)
    assert gap[worst] <= bound, (
        f"{int((gap > bound).sum())} of {gap.size} elements differ by more than {bound:.3g}; "
        f"worst at {tuple(map(int, worst))}: {a[worst]!r}, expected {e[worst]!r}"
    )

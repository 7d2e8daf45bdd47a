"""From what came with the samples to class numbers, if class numbers are what it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from intact.data.spec import Finding
from intact.errors import DataError

#: How far from 1 the sum of a row of probabilities may be.
_SUM_TOLERANCE: Final = 1e-3

Labels = tuple[np.ndarray | None, tuple[Finding, ...]]


def check_targets(y: np.ndarray, count: int, name: Callable[[int], str]) -> np.ndarray:
    """``y`` with ``[n, 1]`` as ``[n]``; one finite number or array for each of ``count`` samples, or DataError."""
    if y.dtype.kind not in "biuf":
        raise DataError(f"labels of dtype {y.dtype} are not numbers; give class numbers from 0, or one-hot rows")
    if y.ndim == 0 or len(y) != count:
        raise DataError(f"{count} samples, but labels of shape {list(y.shape)}; give one label for each sample")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        bad = int(np.argwhere(~np.isfinite(y))[0, 0])
        raise DataError(f"{name(bad)}: its label is {y[bad]}; remove the sample or correct the label")
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def class_labels(y: np.ndarray, classes: int | None, name: Callable[[int], str]) -> Labels:
    """Class numbers, int64 ``[n]``, for a model with ``classes`` outputs; or None with a finding that says why not.

    Whole numbers ``[n]`` are class numbers; so are rows ``[n, classes]`` that are one-hot or probabilities (their
    largest entry). A model with one output has classes 0 and 1; numbers other than those are then targets of a regression.
    Everything else is a target for ``metric=``. Raises DataError for a class number outside 0..classes-1.
    """
    if classes is None:
        return _none("labels are kept for a metric, but not used as classes: the model's output is not one vector of classes")
    if y.ndim == 2 and y.shape[1] == classes and _are_probabilities(y):
        return y.argmax(1).astype(np.int64), ()
    if y.ndim != 1 or not _are_whole(y):
        return _none(f"labels of shape {list(y.shape)}, {y.dtype}, are not class numbers: they are kept for a metric")
    low, high = (0, 1) if classes == 1 else (0, classes - 1)
    outside = np.flatnonzero((y < low) | (y > high))
    if classes == 1 and len(outside):
        return _none("labels other than 0 and 1 are not classes of a model with one output: they are kept for a metric")
    if len(outside):
        bad = int(outside[0])
        more = f" ({len(outside)} samples in all)" if len(outside) > 1 else ""
        counting = "; labels must count from 0" if y.min() == 1 and y.max() == classes else ""
        raise DataError(
            f"{name(bad)}: label {y[bad]:g} is outside 0..{high}, the {classes} classes of the model{more}{counting}; "
            "correct or remove it, or leave the labels out"
        )
    return y.astype(np.int64), ()


def _none(why: str) -> Labels:
    return None, (Finding("unlabelled", why),)


def _are_whole(y: np.ndarray) -> bool:
    return y.dtype.kind in "biu" or bool((y == np.floor(y)).all())


def _are_probabilities(y: np.ndarray) -> bool:
    if y.dtype.kind == "b":
        return bool((y.sum(1) == 1).all())
    return bool((y >= 0).all() and (np.abs(y.sum(1, dtype=np.float64) - 1) <= _SUM_TOLERANCE).all())

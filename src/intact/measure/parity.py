"""How far the simulator and the runtime agree on the same integer network and the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact.affine import Affine, Format
from intact.errors import DataError
from intact.measure.accuracy import agreement, classes, share, sqnr, threshold
from intact.measure.bootstrap import paired
from intact.measure.measurement import Measurement

#: What the share of samples with the same class is called; it means nothing for outputs that are no classes.
SAME_CLASS: Final = "same class in simulator and runtime"


@final
@dataclass(frozen=True)
class Parity:
    """The figures of one output against one set of kernels."""

    output: str
    kernels: str
    measurements: tuple[Measurement, ...]


def parity(
    simulated: Mapping[str, np.ndarray], ran: Mapping[str, np.ndarray], formats: Mapping[str, Format], kernels: str
) -> tuple[Parity, ...]:
    """Compare outputs ``[n, ...]`` in real numbers by name; ``formats`` tells how the file stores each.

    For every output: the share of samples with the same class (outputs of scores only), the share of identical stored
    integers and the most steps between two (Affine outputs only), and the SQNR of the runtime against the simulator.
    """
    return tuple(Parity(name, kernels, _compare(simulated[name], ran[name], formats[name], kernels)) for name in ran)


def _compare(simulated: np.ndarray, ran: np.ndarray, fmt: Format, kernels: str) -> tuple[Measurement, ...]:
    if simulated.shape != ran.shape:
        raise DataError(f"simulator and runtime give shapes {list(simulated.shape)} and {list(ran.shape)}")
    figures = []
    try:
        cut = threshold(simulated)
        figures.append(agreement(classes(simulated, cut), classes(ran, cut), SAME_CLASS))
    except DataError:  # not scores of classes: a segmentation map, boxes
        pass
    if isinstance(fmt, Affine):
        steps = np.abs(np.rint((simulated.astype(np.float64) - ran.astype(np.float64)) / fmt.scale[0]))
        figures.append(_identical(steps.reshape(len(steps), -1) == 0))
        how = f"largest difference of stored integers, scale {fmt.scale[0]:.4g}"
        figures.append(Measurement("largest difference", float(steps.max()), "steps", None, None, how, steps.size))
    figures.append(sqnr(simulated, ran, "SQNR of runtime against simulator"))
    return tuple(_with(m, kernels) for m in figures)


def _identical(same: np.ndarray) -> Measurement:
    """The share of True in ``[n, elements]``. Elements of one sample err together, so the interval is over samples."""
    name, how = "identical stored integers", "share of output elements"
    if same.all() or not same.any():  # resampling would claim certainty
        return share(np.asarray(same.all(axis=1)), name, how)
    each = same.mean(axis=1)
    interval = paired(lambda pick: 100 * float(each[pick].mean()), len(each))
    return Measurement(name, 100 * float(each.mean()), "%", interval.low, interval.high, f"{how}, {interval.how}", len(each))


def _with(m: Measurement, kernels: str) -> Measurement:
    return Measurement(m.name, m.value, m.unit, m.low, m.high, f"{m.how}; {kernels}", m.n)

"""Which samples calibrate, which select and which report; and whether any sample does two of these."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, final

import numpy as np

from intact.data.samples import Samples
from intact.data.spec import Finding
from intact.errors import DataError, OptionError

#: How one set of samples is divided when no other is given to report on.
SHARES: Final[Mapping[str, float]] = MappingProxyType({"calibration": 0.25, "selection": 0.25, "report": 0.5})
_NAMED: Final = 3
#: Samples that remedies learn from at most, unless the user says how many.
LEARNING: Final = 2000


def stratified_order(n: int, labels: np.ndarray | None, seed: int) -> np.ndarray:
    """A seeded order of ``0..n-1`` of which every stretch holds each class in proportion, within one sample or two.

    With ``g = Generator(PCG64(seed))``, for each class in ascending order: ``g.permutation`` of its members, then one
    ``u = g.random()``; member r of the permutation of a class of size m gets the key ``(r + u) / m``. The order is
    by key, then class. Without labels all samples are one class, and the order is the permutation.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    classes = np.zeros(n, np.int64) if labels is None else labels
    keys = np.empty(n)
    for value in np.unique(classes):
        members = np.flatnonzero(classes == value)
        ranks = np.empty(len(members))
        ranks[generator.permutation(len(members))] = np.arange(len(members))
        keys[members] = (ranks + generator.random()) / len(members)
    return np.lexsort((np.arange(n), classes, keys))


def _order(n: int, labels: np.ndarray | None, seed: int, in_order: bool) -> np.ndarray:
    return np.arange(n) if in_order else stratified_order(n, labels, seed)


def split(
    n: int, labels: np.ndarray | None, seed: int, shares: Mapping[str, float] = SHARES, *, in_order: bool = False
) -> dict[str, np.ndarray]:
    """``0..n-1`` divided into disjoint parts: consecutive stretches of :func:`stratified_order`, cut at the rounded shares;
    of ``0..n-1`` itself where samples stay ``in_order``.

    Worked: 10 samples in shares 0.25, 0.25, 0.5 are cut at 2 and 5, into 2, 3 and 5. The first k of a
    part are themselves stratified. Raises DataError when a part stays empty, OptionError for shares that do not sum to 1.
    """
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-9) or min(shares.values()) <= 0:
        raise OptionError(f"shares {dict(shares)} must be above 0 and sum to 1")
    cuts = np.floor(np.cumsum([0.0, *shares.values()]) * n + 1e-9).astype(int)
    sizes = dict(zip(shares, np.diff(cuts).tolist(), strict=True))
    if min(sizes.values()) == 0:
        wanted = ", ".join(f"{100 * share:g} % {name}" for name, share in shares.items())
        least = math.ceil(1 / min(shares.values()))
        raise DataError(
            f"too few samples: {n} cannot be split into {wanted}; give at least {least}, or report on other data with --eval"
        )
    order = _order(n, labels, seed, in_order)
    return {name: order[a:b] for name, a, b in zip(shares, cuts[:-1], cuts[1:], strict=True)}


@final
@dataclass(frozen=True, eq=False)
class Parts:
    """Samples by what they are for. ``selection`` is what a search may look at; only ``report`` makes figures."""

    calibration: Samples
    selection: Samples
    report: Samples
    findings: tuple[Finding, ...]


def partition(
    data: Samples, evaluation: Samples | None, seed: int, calibration_samples: int = 500, *, in_order: bool = False
) -> Parts:
    """Calibration, selection and report samples, disjoint within ``data``.

    With ``evaluation``, all of it reports: the first ``calibration_samples`` of the stratified order of ``data``
    calibrate, the others are there for selection (none, when there are no others). Without, ``data`` is split
    25/25/50 and the first ``calibration_samples`` of the first part calibrate. A sample that both calibrates and reports
    is a finding, and so are fewer calibration samples than asked for. Whoever selects on ``selection`` asks
    :func:`leaks` about it: it may be a whole training set, which is not read before it is needed.
    ``in_order``: samples are calls that follow each other, as a network with states takes them: each part is one stretch of
    ``data``, and equal samples are no leak.
    """
    if in_order:
        data, evaluation = replace(data, in_order=True), None if evaluation is None else replace(evaluation, in_order=True)
    if calibration_samples < 1:
        raise OptionError(f"--calibration-samples {calibration_samples} must be at least 1; the default is 500")
    if evaluation is None:
        parts = split(len(data), data.labels, seed, in_order=in_order)
        part, source = parts["calibration"], f"a quarter of {len(data)} samples"
        selection, report = data.take(parts["selection"]), data.take(parts["report"])
    else:
        if not len(evaluation) or not len(data):
            raise DataError("too few samples: there are none; give at least 1")
        part, source = _order(len(data), data.labels, seed, in_order), "all there are"
        selection, report = data.take(part[calibration_samples:]), evaluation
    calibration = data.take(part[:calibration_samples])
    found: tuple[Finding, ...] = ()
    if len(calibration) < calibration_samples:
        found += (
            Finding(
                "few-calibration-samples",
                f"calibration uses {len(calibration)} samples of the {calibration_samples} asked for: {source}",
            ),
        )
    return Parts(calibration, selection, report, found if in_order else found + leaks(calibration, report, "calibration"))


def for_learning(parts: Parts, most: int = LEARNING) -> tuple[Samples, tuple[Finding, ...]]:
    """At most ``most`` samples that remedies learn from: those that calibrate, then those of ``parts.selection``."""
    if most < len(parts.calibration):
        return parts.calibration.spread(most), ()
    rest = parts.selection.take(np.arange(min(len(parts.selection), max(0, most - len(parts.calibration)))))
    return parts.calibration.joined(rest), leaks(rest, parts.report, "learning")


def for_learning_again(parts: Parts, samples: int, skipped: int) -> Samples:
    """The samples that remedies learned from, by how many of them there were: see :class:`intact.planning.plan.Remedied`."""
    more = samples - len(parts.calibration)
    if more <= 0:
        return parts.calibration.spread(samples)
    there = np.arange(len(parts.selection))
    return parts.calibration.joined(parts.selection.take(there[skipped : skipped + more]))


def for_search(parts: Parts, most: int = LEARNING, *, choosing: int = 2000) -> tuple[Samples, Samples, tuple[Finding, ...]]:
    """At most ``most`` samples that remedies learn from and those that a search chooses on, disjoint and none that report.

    Half of ``parts.selection``, at most ``choosing``, chooses; the other half is for learning. Raises DataError when nothing is
    left to choose on.
    """
    count = min(choosing, (len(parts.selection) + 1) // 2)
    if not count:
        raise DataError("too few samples to choose on: all of them calibrate; give --data more, or fewer --calibration-samples")
    chosen = parts.selection.take(np.arange(count))
    others = replace(parts, selection=parts.selection.take(np.arange(count, len(parts.selection))))
    learning, found = for_learning(others, most)
    return learning, chosen, leaks(chosen, parts.report, "selection") + found


def overlap(a: Samples, b: Samples) -> tuple[tuple[str, str], ...]:
    """Names of samples in ``a`` with the same content as one in ``b`` (the first such), by SHA-256 of what is stored.

    An image saved a second time in another format or quality is other content.
    """
    values, first = np.unique(b.digests(), return_index=True)
    found = a.digests()
    places = np.searchsorted(values, found)
    same = np.flatnonzero(np.isin(found, values))
    return tuple((a.name(i), b.name(int(first[places[i]]))) for i in same.tolist())


def leaks(part: Samples, report: Samples, what: str) -> tuple[Finding, ...]:
    """A finding that names the samples of ``part``, called ``what``, that are also in ``report``; or none."""
    pairs = overlap(part, report)
    if not pairs:
        return ()
    some = ", ".join(f"{x} = {y}" for x, y in pairs[:_NAMED]) + (
        f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else ""
    )
    return (
        Finding(
            "overlap",
            f"{len(pairs)} of {len(part)} {what} samples are also among the {len(report)} that report ({some}): "
            "figures on them are flattering; remove the duplicates",
        ),
    )

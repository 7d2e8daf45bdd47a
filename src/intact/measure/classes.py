"""What becomes of classes besides the first guess: the five best, the loss in nats, each class by itself, and who changed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import scipy

from intact.annotations import Bools, Floats, Ints, Numbers
from intact.data import Samples
from intact.measure import accuracy
from intact.measure.bootstrap import paired
from intact.measure.measurement import Measurement

#: Of fewer classes, or as many, the five best are nothing to be proud of.
_FIVE: Final = 5
#: Classes of which a table of who was taken for whom is kept: of more it is larger than the network.
_TABLE: Final = 200
#: How seldom a class may seem lost that is not, over all classes: the usual one in twenty.
_BY_CHANCE: Final = 0.05


def among_the_best(scores: Numbers[np.ndarray, "n c"], labels: Ints[np.ndarray, "n"], count: int) -> Bools[np.ndarray, "n"]:
    """Whether the label is among the ``count`` highest of ``scores`` [n, c]; of equal ones the lower class comes first."""
    own = np.take_along_axis(scores, labels[:, None], 1)
    before = (scores > own) | ((scores == own) & (np.arange(scores.shape[1]) < labels[:, None]))
    return np.asarray(before.sum(1) < count)


@final
@dataclass(frozen=True, eq=False)
class Labelled:
    """The scores ``[n, c]`` that two networks gave for samples of which the classes ``labels`` int64 ``[n]`` are known."""

    exact: Numbers[np.ndarray, "n c"]
    made: Numbers[np.ndarray, "n c"]
    labels: Ints[np.ndarray, "n"]

    def top5(self) -> tuple[Measurement, Measurement, Measurement] | None:
        """Of the float network, the other one, and the paired drop; None for five classes or fewer."""
        if self.exact.shape[1] <= _FIVE:
            return None
        hits = among_the_best(self.exact, self.labels, _FIVE), among_the_best(self.made, self.labels, _FIVE)
        what = "share of samples whose label is among the five highest scores"
        exact, made = (accuracy.share(each, "top-5 accuracy", what) for each in hits)
        return exact, made, accuracy.drop(*hits, "top-5 drop")

    def cross_entropy(self) -> tuple[Measurement, Measurement, Measurement]:
        """``-log p(label)`` in nats, the mean over samples: of the float network, the other one, and how much it grows.

        Probabilities of both are floored at half the least that the written file gives, for an int8 SOFTMAX gives 0 for all
        that is below half a step, whose logarithm says nothing. Logits need no floor.
        """
        exact, made = sureness(self.exact, self.made)
        least = float(made[made > 0].min(initial=1.0)) / 2 if (made == 0).any() else 0.0
        losses = [_loss(p, self.labels, least) for p in (exact, made)]
        floored = f"p floored at {least:.3g}, half the least that the file gives" if least else "no p is 0"

        def figure(name: str, each: Floats[np.ndarray, "n"], how: str) -> Measurement:
            interval = paired(lambda pick: float(each[pick].mean()), len(each))
            told = f"{how}, {floored}; {interval.how}"
            return Measurement(name, float(each.mean()), "nats", interval.low, interval.high, told, len(each), each)

        what = "mean of -log p of the label"
        of_exact, of_made = (figure("cross entropy", each, what) for each in losses)
        return of_exact, of_made, figure("cross entropy increase", losses[1] - losses[0], f"paired, {what}")


def scores_of(output: Numbers[np.ndarray, "n ..."], cut: float) -> Numbers[np.ndarray, "n c"]:
    """An output of classes as ``[n, c]``: a single unit that says yes above ``cut`` as the probabilities of no and yes."""
    scores = output.reshape(len(output), -1)
    if scores.shape[1] > 1:
        return scores
    x = scores.astype(np.float64)
    yes = x if cut else 1 / (1 + np.exp(-np.clip(x, -700, 700)))
    return np.asarray(np.concatenate([1 - yes, yes], 1).clip(0, 1))


def sureness(
    exact: Numbers[np.ndarray, "n c"], made: Numbers[np.ndarray, "n c"]
) -> tuple[Floats[np.ndarray, "n c"], Floats[np.ndarray, "n c"]]:
    """Both networks' scores as probabilities. What they are, the float network's say: rows of an int8 SOFTMAX over many classes
    add up to less than 1.
    """
    p, q = exact.astype(np.float64), made.astype(np.float64)
    return (p, q) if accuracy.are_probabilities(exact) else (accuracy.softmax(p), accuracy.softmax(q))


def _loss(p: Floats[np.ndarray, "n c"], labels: Ints[np.ndarray, "n"], least: float) -> Floats[np.ndarray, "n"]:
    own = np.take_along_axis(p, labels[:, None], 1)[:, 0]
    return np.asarray(-np.log(np.maximum(own, least or np.finfo(np.float64).tiny)))


@final
@dataclass(frozen=True, eq=False)
class ByClass:
    """Which classes two networks said, ``[n]`` each, of ``count`` classes; ``labels`` where they are known."""

    exact: Ints[np.ndarray, "n"]
    made: Ints[np.ndarray, "n"]
    labels: Ints[np.ndarray, "n"] | None
    count: int

    @property
    def changed(self) -> Ints[np.ndarray, "m"]:
        """The samples whose class changed, those that were right first: they are what is lost."""
        at = np.flatnonzero(self.exact != self.made)
        if self.labels is None:
            return at
        lost, won = (said[at] == self.labels[at] for said in (self.exact, self.made))
        return np.asarray(at[np.argsort(np.where(lost, 0, np.where(won, 1, 2)), kind="stable")])

    @property
    def lost(self) -> dict[int, tuple[int, int, int]]:
        """Classes that surely lost: how many samples, how many the float network has right, and how many the other.

        McNemar's exact test, one-sided, of the samples that only one of both has right, for all classes together (Bonferroni).
        Worked: of ten classes, 8 lost and none gained are told (p 0.004, times 10 classes 0.04); 7 are not.
        """
        if self.labels is None:
            return {}
        found: dict[int, tuple[int, int, int]] = {}
        right = [said == self.labels for said in (self.exact, self.made)]
        for c in np.unique(self.labels).tolist():
            exact, made = (hits[self.labels == c] for hits in right)
            gone, gained = int((exact & ~made).sum()), int((made & ~exact).sum())
            if gone > gained and scipy.stats.binomtest(gone, gone + gained, 0.5, "greater").pvalue * self.count < _BY_CHANCE:
                found[c] = len(exact), int(exact.sum()), int(made.sum())
        return found

    def to_json(self, names: tuple[str, ...]) -> dict[str, Any] | None:
        """Right ones by class, and who was taken for whom (rows: what it is; columns: what was said); None without labels."""
        if self.labels is None:
            return None
        tables = [self._confusion(said) for said in (self.exact, self.made)]
        kept = [table.tolist() if self.count <= _TABLE else None for table in tables]
        return {
            "names": [*names, *(str(i) for i in range(len(names), self.count))],
            "n": np.bincount(self.labels, minlength=self.count).tolist(),
            "float": tables[0].diagonal().tolist(),
            "quantized": tables[1].diagonal().tolist(),
            "confusion_float": kept[0],
            "confusion_quantized": kept[1],
        }

    def _confusion(self, said: Ints[np.ndarray, "n"]) -> Ints[np.ndarray, "c c"]:
        labels = np.zeros(0, np.int64) if self.labels is None else self.labels
        return np.bincount(labels * self.count + said, minlength=self.count**2).reshape(self.count, self.count)


def by_class(exact: accuracy.Rows, made: accuracy.Rows, report: Samples) -> ByClass:
    """What two outputs of classes say of the samples."""
    cut = accuracy.threshold(exact)
    said = [accuracy.classes(y, cut) for y in (exact, made)]
    wide = math.prod(exact.shape[1:])
    chosen = exact.dtype.kind in "iu" and wide == 1
    most = max(int(each.max(initial=0)) for each in (*said, *(() if report.labels is None else (report.labels,))))
    count = max(2 if wide == 1 else wide, most + 1 if chosen else 0, len(report.class_names))
    return ByClass(said[0], said[1], report.labels, count)

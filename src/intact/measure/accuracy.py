"""How well a network does, and how much worse the integer one does on the same samples. Pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, final

import numpy as np
import scipy

from intact.annotations import Bools, Floats, Ints, Numbers, Values
from intact.data import Samples, units
from intact.data.spec import classes_of
from intact.errors import DataError, IntactError
from intact.measure.bootstrap import paired
from intact.measure.measurement import Measurement
from intact.wording import counted

#: Which samples a network gets right.
Hits: TypeAlias = Bools[np.ndarray, "_n"]
#: One row of numbers for each sample; a network's outputs by name.
Rows: TypeAlias = Values[np.ndarray, "n ..."]
NamedOutputs: TypeAlias = Mapping[str, Values[np.ndarray, "_n ..."]]
#: A user's own figure: (outputs, labels) -> number. ``outputs`` is one array ``[n, ...]``, or a dict by name of several.
Metric: TypeAlias = Callable[[Any, Any], float]

#: Numbers that are worked on at a time, in float64.
_PIECE: Final = 1 << 22
#: What a normal number stays below with probability 0.975.
_Z: Final = 1.959963984540054
#: The part of itself by which a metric must grow for that to be no chance.
_CLEARLY: Final = 0.05
#: Characters of what a metric gave that fit in a sentence.
_SHOWN: Final = 40


# ---- which class ----------------------------------------------------------------------------------------------------------


def probabilities(scores: Numbers[np.ndarray, "n c"]) -> Numbers[np.ndarray, "n c"]:
    """Scores [n, classes] as probabilities: as they are where each row is one already, else their softmax."""
    return scores if are_probabilities(scores) else softmax(scores)


def softmax(scores: Numbers[np.ndarray, "n c"]) -> Numbers[np.ndarray, "n c"]:
    """``exp(x) / sum exp(x)`` by row."""
    odds: np.ndarray = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))


def are_probabilities(scores: Numbers[np.ndarray, "n c"]) -> bool:
    """Whether each row of ``[n, c]`` adds up to 1 and holds nothing below 0."""
    return bool(scores.min() >= 0 and np.allclose(scores.sum(1), 1, atol=0.02))


def threshold(output: Numbers[np.ndarray, "n ..."]) -> float:
    """Where a single output unit says yes: 0.5 for probabilities, 0 for logits (numbers outside [0, 1]).

    Read it off the float network's outputs and use it for both networks.
    """
    return 0.5 if output.size == 0 or (output.min() >= -1e-3 and output.max() <= 1 + 1e-3) else 0.0


def classes(output: Numbers[np.ndarray, "n ..."], cut: float = 0.5) -> Ints[np.ndarray, "n"]:
    """The predicted class of each sample, int64 ``[n]``, from one output ``[n, ..., c]`` of scores (logits or softmax).

    Dimensions of 1 are dropped. With one unit left the class is 1 where it exceeds ``cut``, else 0. Ties go to the lower
    class, as a device's argmax does. Raises DataError for outputs with more than one axis of scores.
    """
    scores = _scores(output)
    if output.dtype in (np.int32, np.int64):  # an ARG_MAX chose already
        return np.asarray(scores[:, 0], np.int64)
    if scores.shape[1] == 1:
        return (scores[:, 0] > cut).astype(np.int64)
    return np.asarray(scores.argmax(axis=1), np.int64)


def why_no_classes(output: Numbers[np.ndarray, "n ..."], samples: Samples) -> str:
    """Why the numbers of a float network's ``output`` stand for no classes; empty where they do, as far as one can see.

    One number for each sample is a class where it goes to both sides of :func:`threshold`; as many numbers as an input
    has are a copy of it, unless there are labels or they are probabilities.
    """
    count = units(output.shape)
    if count is None:
        return f"an output of shape {['n', *output.shape[1:]]} is not one score for each class"
    if samples.labels is not None:
        return ""
    if count == 1 and (samples.targets is not None or len(np.unique(classes(output, threshold(output)))) < 2):
        return "one number for each sample that is always on one side of its threshold, or has other labels, is no class"
    like_input = count != 1 and any(spec.sample == tuple(output.shape[1:]) for spec in samples.inputs)
    if like_input and not are_probabilities(_scores(output)):
        return f"an output of shape {['n', *output.shape[1:]]}, which is an input's, is a copy of it rather than scores"
    return ""


def _scores(output: Numbers[np.ndarray, "n ..."]) -> Numbers[np.ndarray, "n c"]:
    count = units(output.shape)
    if count is None:
        raise DataError(
            f"an output of shape {['n', *output.shape[1:]]} is not one score per class; leave out --max-drop and "
            "--min-agreement (--remedies need neither), or pass metric= in Python"
        )
    return output.reshape(len(output), count)


def correct(output: Rows, labels: Values[np.ndarray, "..."], cut: float = 0.5) -> Bools[np.ndarray, "n"]:
    """Which samples the network gets right, bool ``[n]``. ``labels`` are class numbers ``[n]``, or one-hot ``[n, c]``.

    Raises DataError when labels and outputs are not equally many, or a label is no class of the output.
    """
    wanted = _labels(labels, classes_of(_scores(output).shape[1]))
    if len(wanted) != len(output):
        raise DataError(f"{len(wanted)} labels for {len(output)} samples")
    return np.asarray(classes(output, cut) == wanted)


def _labels(labels: Values[np.ndarray, "..."], count: int) -> Ints[np.ndarray, "n"]:
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == count and labels.shape[1] > 1:
        labels = labels.argmax(axis=1)
    labels = labels.reshape(len(labels), -1) if labels.ndim else labels.reshape(1, 1)
    if labels.shape[1] != 1:
        raise DataError(f"labels of shape {list(labels.shape)} are neither class numbers nor one-hot rows of {count} classes")
    column = labels[:, 0]
    if column.dtype.kind == "f" and not np.array_equal(column, np.round(column)):
        raise DataError("labels are not whole numbers; pass metric= for targets that are not classes")
    column = column.astype(np.int64)
    bad = np.flatnonzero((column < 0) | (column >= count))
    if bad.size:
        raise DataError(f"label {column[bad[0]]} of sample {bad[0]} is outside the model's classes, 0 to {count - 1}")
    return column


# ---- figures --------------------------------------------------------------------------------------------------------------


def share(hits: Hits, name: str, what: str) -> Measurement:
    """The share of True in per cent with its Wilson score interval (Wilson 1927, JASA 22)."""
    n = _count(hits)
    result = scipy.stats.binomtest(int(hits.sum()), n)
    interval = result.proportion_ci(0.95, method="wilson")
    value = 100 * result.statistic
    return Measurement(name, value, "%", 100 * interval.low, 100 * interval.high, f"{what}, Wilson interval", n, hits)


def top1(right: Hits, name: str = "top-1 accuracy") -> Measurement:
    """Top-1 accuracy in per cent from :func:`correct`, with its Wilson interval."""
    return share(right, name, "share of samples whose highest score is at the label")


def agreement(a: Ints[np.ndarray, "n"], b: Ints[np.ndarray, "n"], name: str = "agreement with float") -> Measurement:
    """How often two networks predict the same class, in per cent, from :func:`classes` of each, with its Wilson interval."""
    return share(np.asarray(a == b), name, "share of samples with the same class")


def drop(float_right: Hits, int_right: Hits, name: str = "accuracy drop") -> Measurement:
    """How many percentage points the integer network loses on the same samples; negative when it gains.

    With b samples that only the float network gets right and c that only the integer one does, the drop is (b - c) / n. Its
    95 % interval is the score interval of Tango (1998, Statistics in Medicine 17:891-908), which holds for few or no
    discordant pairs, where a normal approximation would claim certainty. Worked: b = 16, c = 6, n = 161 -> 6.21 [0.54, 12.40].
    """
    n = _count(float_right)
    if len(int_right) != n:
        raise DataError(f"{n} samples of one network and {len(int_right)} of the other are not paired")
    b, c = int((float_right & ~int_right).sum()), int((~float_right & int_right).sum())
    low, high = tango(b, c, n)
    how = f"paired: {counted(b, 'sample')} lost and {c} gained of {n}, Tango score interval"
    each = float_right.astype(np.int8) - int_right
    return Measurement(name, 100 * (b - c) / n, "percentage points", 100 * low, 100 * high, how, n, each)


def tango(b: int, c: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of the paired difference (b - c) / n: all d with |T(d)| <= 1.96.

    T(d) = (b - c - n d) / sqrt(n (2 q + d (1 - d))), with q the likelihood's best value for the rate of c-pairs given d: the
    larger root of 2n q^2 + (-b - c + (2n - b + c) d) q - c d (1 - d) = 0. Source: Tango (1998), equations 8 to 10.
    """

    def statistic(d: float) -> float:
        linear = -b - c + (2 * n - b + c) * d
        constant = -c * d * (1 - d)
        q = (math.sqrt(max(linear**2 - 8 * n * constant, 0.0)) - linear) / (4 * n)
        variance = n * (2 * q + d * (1 - d))
        gap = b - c - n * d
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap) if gap else 0.0

    estimate = (b - c) / n
    edge = 1 - 1e-12  # where the variance vanishes: T is infinite there, on the far side of the estimate
    low = scipy.optimize.brentq(lambda d: min(statistic(d), 1e6) - _Z, -edge, estimate, xtol=1e-12) if estimate > -1 else -1.0
    high = scipy.optimize.brentq(lambda d: max(statistic(d), -1e6) + _Z, estimate, edge, xtol=1e-12) if estimate < 1 else 1.0
    return float(low), float(high)


def _count(hits: Rows) -> int:
    if len(hits) == 0:
        raise DataError("no samples to measure on")
    return len(hits)


def same_numbers(a: Values[np.ndarray, "n *s"], b: Values[np.ndarray, "n *s"], name: str) -> Measurement:
    """The share of equal numbers in ``[n, ...]`` in per cent; its interval is over samples, whose numbers err together."""
    same = np.asarray(a == b).reshape(_count(a), -1)
    each = 100 * same.mean(axis=1)
    if same.all() or not same.any():  # resampling would claim certainty
        return replace(share(np.asarray(same.all(axis=1)), name, "share of numbers"), each=each)
    interval = paired(lambda pick: float(each[pick].mean()), len(each))
    how = f"share of numbers, {interval.how}"
    return Measurement(name, float(each.mean()), "%", interval.low, interval.high, how, len(each), each)


# ---- the verdict ----------------------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Verdict:
    """Whether a drop is within a limit. ``needs_about_n``: with how many samples an inconclusive one may be decided."""

    status: Literal["pass", "fail", "inconclusive"]
    limit: float
    needs_about_n: int | None = None
    #: What was measured, on the samples that report.
    loss: Measurement | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """``pass``, ``fail``, or ``inconclusive (needs about 3,900 samples)``."""
        if self.status != "inconclusive":
            return self.status
        if self.needs_about_n is None:
            return "inconclusive (the drop is at the limit itself; no number of samples decides)"
        return f"inconclusive (needs about {self.needs_about_n:,} samples)"

    @property
    def in_full(self) -> str:
        """With what was measured: ``pass: accuracy drop 0.12 percentage points [-0.1, 0.34], and 0.5 are allowed``."""
        return f"{self}: {self.loss}, and {self.limit:g} are allowed"


def verdict(loss: Measurement, limit: float) -> Verdict:
    """``pass`` if the whole interval is at most ``limit``, ``inconclusive`` if only the estimate is, else ``fail``.

    The number of samples comes from an interval's width going with 1 / sqrt(n), the drop staying as measured; around nothing,
    where no sample came out otherwise, with 1 / n. Worked: 0.3 [0.1, 0.6] on 1,000 samples, limit 0.5: the upper half 0.3 must
    shrink to 0.2, which takes 1,000 * (0.3 / 0.2)^2 = 2,250, said as 2,300. 0 [-2.09, 2.09] on 180 takes 765, said as 770.
    """
    if loss.low is None or loss.high is None:
        return Verdict("inconclusive", limit, loss=loss)
    if loss.high <= limit:
        return Verdict("pass", limit, loss=loss)
    if loss.value > limit:
        return Verdict("fail", limit, loss=loss)
    return Verdict("inconclusive", limit, to_settle(loss.n, loss.value, loss.high, limit), loss)


def to_settle(n: int, value: float, end: float, limit: float) -> int | None:
    """About how many samples it takes for the ``end`` of an interval around ``value``, on the far side of ``limit``, to come
    up to it; None where no number does. :func:`verdict` says by which reasoning.
    """
    room, half = abs(limit - value), abs(end - value)
    if room <= 1e-9 * max(abs(limit), 1.0) or not math.isfinite(half):
        return None
    alike = math.isclose(n, around_nothing(half))
    needed = around_nothing(room) if alike else n * (half / room) ** 2
    return _two_digits_up(max(needed, n + 1))


def around_nothing(high: float) -> float:
    """How many samples it takes, when all come out alike, for the interval of a share or a drop to end at ``high`` per cent.

    The intervals of Wilson and Tango around nothing end at z^2 / (n + z^2).
    """
    return _Z**2 * (100 / high - 1)


def _two_digits_up(x: float) -> int:
    step = int(10 ** max(math.floor(math.log10(x)) - 1, 0))
    return math.ceil(x / step) * step


# ---- without classes ------------------------------------------------------------------------------------------------------


def sqnr(reference: Numbers[np.ndarray, "n *s"], actual: Numbers[np.ndarray, "n *s"], name: str = "SQNR") -> Measurement:
    """Signal to quantization noise in dB: ``10 log10(sum reference^2 / sum (reference - actual)^2)``; infinite when equal.

    The interval is a percentile bootstrap over samples (axis 0).
    """
    n = _count(reference)
    signal, noise = np.empty(n), np.empty(n)
    step = max(1, _PIECE * n // max(reference.size, 1))
    for at in range(0, n, step):
        x, y = (a[at : at + step].reshape(min(step, n - at), -1).astype(np.float64) for a in (reference, actual))
        signal[at : at + step], noise[at : at + step] = (x**2).sum(axis=1), ((x - y) ** 2).sum(axis=1)
    return decibels(name, signal, noise, "signal power over squared error")


def decibels(name: str, signal: Floats[np.ndarray, "n"], noise: Floats[np.ndarray, "n"], how: str) -> Measurement:
    """``10 log10(sum signal / sum noise)`` of the powers ``[n]`` of samples, with a bootstrap interval over them."""
    n = _count(signal)

    def value(pick: Ints[np.ndarray, "n"]) -> float:
        s, e = float(signal[pick].sum()), float(noise[pick].sum())
        return math.inf if e == 0 else -math.inf if s == 0 else 10 * math.log10(s / e)

    interval = paired(value, n)
    each = np.stack([signal, noise], 1)
    return Measurement(name, value(np.arange(n)), "dB", interval.low, interval.high, f"{how}, {interval.how}", n, each)


def metric_value(metric: Metric, outputs: NamedOutputs, labels: Rows, name: str = "metric") -> Measurement:
    """``metric`` of one network's outputs, with a bootstrap interval over samples; DataError unless it is a finite number."""
    n = _count(labels)

    def value(pick: Ints[np.ndarray, "n"]) -> float:
        return _call(metric, outputs, labels, pick)

    whole = value(np.arange(n))
    interval = paired(value, n)
    return Measurement(name, whole, "", interval.low, interval.high, f"{called(metric)}, {interval.how}", n)


def check_metric(metric: Metric, outputs: NamedOutputs, labels: Rows) -> None:
    """DataError for a ``metric`` that gives no finite number for a float network's outputs."""
    _call(metric, outputs, labels, np.arange(_count(labels)))


def check_direction(metric: Metric, outputs: NamedOutputs, labels: Rows) -> None:
    """DataError for a ``metric`` that the labels of other samples make larger: it counts errors, and a drop is no loss."""
    each = np.arange(_count(labels))
    own, others = (_call(metric, outputs, labels[pick], each) for pick in (each, np.roll(each, len(each) // 2)))
    if others > own + _CLEARLY * abs(own):
        raise DataError(
            f"metric {called(metric)} is {own:.4g} for the float network, and {others:.4g} with the labels of other samples: "
            "larger ones have to be better; return its negative"
        )


def metric_drop(
    metric: Metric,
    float_outputs: NamedOutputs,
    int_outputs: NamedOutputs,
    labels: Rows,
    name: str = "metric drop",
) -> Measurement:
    """``metric`` of the float network less that of the integer one, with a paired bootstrap interval.

    Each resample draws samples with replacement and takes both networks' metric on the same draw. Where it gives no finite
    number for the integer network alone, the drop is infinite.
    """
    n = _count(labels)

    def value(pick: Ints[np.ndarray, "n"]) -> float:
        exact = _call(metric, float_outputs, labels, pick)
        try:
            return exact - _call(metric, int_outputs, labels, pick)
        except DataError:
            return math.inf

    interval = paired(value, n)
    how = f"{called(metric)} of float less that of integer, paired, {interval.how}"
    return Measurement(name, value(np.arange(n)), "", interval.low, interval.high, how, n)


def called(metric: Metric) -> str:
    """A metric's name."""
    return str(getattr(metric, "__name__", type(metric).__name__))


def _call(metric: Metric, outputs: NamedOutputs, labels: Rows, pick: Ints[np.ndarray, "n"]) -> float:
    chosen = {name: array[pick] for name, array in outputs.items()}
    given = next(iter(chosen.values())) if len(chosen) == 1 else chosen
    try:
        found = metric(given, labels[pick])
        value = np.asarray(found).astype(np.float64) if np.asarray(found).dtype.kind in "biuf" else np.asarray(())
    except (IntactError, MemoryError):
        raise
    except Exception as error:  # a stranger's code may raise anything
        raise DataError(
            f"metric {called(metric)} fails on these outputs and labels ({type(error).__name__}: {error})"
        ) from error
    if value.size != 1 or not np.isfinite(value).all():
        shown = repr(found) if len(repr(found)) < _SHOWN else f"a {type(found).__name__}"
        raise DataError(
            f"metric {called(metric)} gives {shown} for {counted(len(pick), 'sample')}; let it return one finite number"
        )
    return float(value.item())

"""Says whether an answer of the lab is right, and what to think of where it is not. Needs numpy alone."""

from collections.abc import Callable
from typing import Any

import numpy as np

Outcome = str | None
_NOTHING = "nothing is written yet: replace the line that raises, and return what is asked for"


def _called(function: Any, *given: Any) -> Any:
    """What ``function`` returns; None where it is not written."""
    try:
        return function(*given)
    except NotImplementedError:
        return None


def _number(right: float, hint: str, within: float = 1e-6) -> Callable[[Any], Outcome]:
    def judge(value: Any) -> Outcome:
        if not isinstance(value, int | float | np.number) or isinstance(value, bool):
            return f"a number is asked for, not {type(value).__name__}"
        return None if abs(float(value) - right) <= within else hint

    return judge


def _affine(quantize: Any) -> Outcome:
    """``quantize(r, low, high) -> (scale, zero point, q)`` in int8."""
    draw = np.random.default_rng(1)
    for low, high in ((-1.5, 2.3), (-4.0, 3.9), (0.0, 6.0), (-0.1, 12.7)):
        r = draw.uniform(1.5 * low - 1, 1.5 * high + 1, 1000)
        scale = (high - low) / 255
        zero_point = round(-128 - low / scale)
        q = np.clip(np.round(r / scale) + zero_point, -128, 127)
        found = _called(quantize, r, low, high)
        if found is None:
            return _NOTHING
        if not np.isclose(found[0], scale):
            return f"the scale of [{low}, {high}] is {scale:.6f}, not {found[0]:.6f}: 256 codes have 255 steps between them"
        if found[1] != zero_point:
            return f"the zero point of [{low}, {high}] is {zero_point}, not {found[1]}: it is the code of the real number 0"
        if not np.array_equal(found[2], q):
            return "codes beyond -128..127 must be clipped, and others rounded to the nearest"
    return None


def _requantize(requantize: Any) -> Outcome:
    """``requantize(accumulator, multiplier, shift, zero_point) -> q``, rounding half up, in int64."""
    draw = np.random.default_rng(2)
    sums = draw.integers(-(2**20), 2**20, 5000)
    for multiplier, shift in ((1 << 30, 33), (1_518_500_250, 36), (2_000_000_000, 40)):
        right = np.clip(((sums * multiplier + (1 << (shift - 1))) >> shift) + 3, -128, 127)
        found = _called(requantize, sums, multiplier, shift, 3)
        if found is None:
            return _NOTHING
        if not np.array_equal(found, right):
            wrong = int(np.flatnonzero(np.asarray(found) != right)[0])
            told = f"the sum {sums[wrong]} becomes {right[wrong]}, not {found[wrong]}"
            return f"{told}: add half before the shift, then the zero point"
    return None


def _straight_through(gradient: Any) -> Outcome:
    """``gradient(w, low, high, upstream)``: 1 within the range, 0 beyond."""
    w, upstream = np.linspace(-3, 3, 61), np.linspace(1, 2, 61)
    found = _called(gradient, w, -1.05, 2.05, upstream)
    if found is None:
        return _NOTHING
    right = np.where((w >= -1.05) & (w <= 2.05), upstream, 0)
    return (
        None if np.allclose(found, right) else "within the range what comes from above goes on as it is; beyond it nothing does"
    )


def _per_channel(per_channel: Any) -> Outcome:
    """``per_channel(weights) -> (scales [rows, 1], codes)``, symmetric in 8 bits."""
    weights = np.random.default_rng(4).normal(size=(5, 40)) * np.array([[0.01], [0.1], [1], [3], [20]])
    found = _called(per_channel, weights)
    if found is None:
        return _NOTHING
    scales = np.abs(weights).max(axis=1, keepdims=True) / 127
    if np.shape(found[0]) != scales.shape:
        return f"five rows have scales of shape {scales.shape}, not {np.shape(found[0])}: keepdims=True keeps the axis"
    if not np.allclose(found[0], scales):
        return "the scale of a row is its largest magnitude divided by 127"
    return None if np.array_equal(found[1], np.round(weights / scales)) else "divide each row by its own scale, and round"


def _paired_drop(paired_drop: Any) -> Outcome:
    """``paired_drop(exact, integer) -> (drop, reach)`` in points, by the normal approximation on the differences."""
    draw = np.random.default_rng(5)
    for n in (500, 2000):
        exact = draw.random(n) < 0.85
        integer = exact ^ (draw.random(n) < 0.03)
        found = _called(paired_drop, exact, integer)
        if found is None:
            return _NOTHING
        each = exact.astype(float) - integer
        drop, reach = 100 * each.mean(), 196 * each.std() / np.sqrt(n)
        if abs(found[0] - drop) > 1e-6:
            return f"float has {exact.sum()} of {n} right, integers {integer.sum()}: {drop:.2f} points, not {found[0]:.2f}"
        if abs(found[1] - reach) > 0.01 * reach:
            return f"the interval reaches {reach:.2f} points, not {found[1]:.2f}: take the spread of the n differences"
    return None


def _front(on_the_front: Any) -> Outcome:
    """``on_the_front(sizes, accuracies)``: whether no other is at least as good in both and better in one."""
    draw = np.random.default_rng(3)
    for size, accuracy in ((draw.integers(1, 9, 12), draw.integers(1, 9, 12)) for _ in range(20)):
        found = _called(on_the_front, size, accuracy)
        if found is None:
            return _NOTHING
        no_larger, no_worse = size[:, None] <= size, accuracy[:, None] >= accuracy
        better = (size[:, None] < size) | (accuracy[:, None] > accuracy)
        right = ~(no_larger & no_worse & better).any(axis=0)
        if len(found) != len(right):
            return f"{len(size)} ways have {len(right)} truth values, not {len(found)}"
        if not np.array_equal(np.asarray(found, bool), right):
            which = int(np.flatnonzero(np.asarray(found, bool) != right)[0])
            told = f"of sizes {size.tolist()} with accuracies {accuracy.tolist()}, number {which} (from 0)"
            return f"{told} is {'' if right[which] else 'not '}on the front; two that are equal do not beat each other"
    return None


def _integer_line(line: Any) -> Outcome:
    """``line(code, weight, bias, factor, (zero point of the input, of the output)) -> code``."""
    for weight, bias, factor, zeros in ((127, -8191, 0.0039, (0, 64)), (-90, 500, 0.0061, (-27, 5)), (101, 0, 0.02, (3, -128))):
        for code in range(-128, 128):
            found = _called(line, code, weight, bias, factor, zeros)
            if found is None:
                return _NOTHING
            right = min(max(round(((code - zeros[0]) * weight + bias) * factor) + zeros[1], -128), 127)
            if found != right:
                given = f"code {code}, weight {weight}, bias {bias}, factor {factor}, zero points {zeros}"
                return f"{given} make {right}, not {found}"
    return None


def _peak(peak: Any) -> Outcome:
    """``peak(sizes)``: the most of two neighbours together."""
    draw = np.random.default_rng(3)
    for count in (2, 3, 8, 20):
        sizes = [int(size) for size in draw.integers(1, 10_000, count)]
        right = max(sizes[i] + sizes[i + 1] for i in range(count - 1))
        found = _called(peak, sizes)
        if found is None:
            return _NOTHING
        if float(found) != right:
            return f"with {sizes} it is {right}, not {found}: an op's input and its output exist at the same time, nothing else"
    return None


_ANSWERS: dict[str, Callable[[Any], Outcome]] = {
    "01-a": _number(-27, "Z = round(-128 - low / S), and here low / S is -100.66"),
    "01-b": _number(17, "0.42 / 0.025 is 16.8; the nearest code counts, not the one below"),
    "01-c": _number(255, "between 256 fence posts there are fewer gaps"),
    "01-exercise": _affine,
    "02-a": _number(1, "a scale of its own for each output channel: no channel pays for another's range"),
    "02-exercise": _per_channel,
    "03-a": _number(9.0 / 2.59, "beside the float .tflite: both files then hold the network and nothing else", 0.05),
    "03-b": _number(2, "the others keep float between layers: look at the table of kinds"),
    "03-exercise": _front,
    "04-a": _number(196 * np.sqrt(0.81 * 0.19 / 5000), "1.96 sqrt(p (1 - p) / n), in points: p is 0.81 and n is 5,000", 0.05),
    "04-b": _number(1, "ranges come from numbers, not from labels: which images drive the layers further?"),
    "04-exercise": _paired_drop,
    "05-a": _number(0, "rounding is flat almost everywhere"),
    "05-exercise": _straight_through,
    "06-a": _number(32, "int8 times int8 needs 16 bits, and many of them are added: look at the type of the accumulator"),
    "06-exercise": _requantize,
    "07-a": _number(64, "0.5 / 0.0078 is 64.1, and the nearest code counts"),
    "07-exercise": _integer_line,
    "08-a": _number(55_296, "what is read and what is written exist at once, a byte a number; the file lies in flash"),
    "08-exercise": _peak,
}


def answer(question: str, value: Any) -> bool:
    """Prints what is to be said of ``value`` as the answer to ``question``, such as "01-a"; whether it is right."""
    try:
        wrong = _ANSWERS[question](value)
    except (TypeError, ValueError, IndexError) as other:
        wrong = f"that is of another kind or shape than what is asked for ({other})"
    print(f"{question}: " + ("right" if wrong is None else f"not yet. {wrong}"))
    return wrong is None

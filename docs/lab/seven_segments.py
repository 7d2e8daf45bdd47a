"""Images of digits as a display of seven bars shows them: dim or bright, anywhere in the picture, noisy. Needs numpy alone."""

import numpy as np

_BARS = {  # rows and columns of each bar in a digit of 12 x 8 pixels
    "a": (slice(0, 2), slice(1, 7)),
    "b": (slice(1, 6), slice(6, 8)),
    "c": (slice(6, 11), slice(6, 8)),
    "d": (slice(10, 12), slice(1, 7)),
    "e": (slice(6, 11), slice(0, 2)),
    "f": (slice(1, 6), slice(0, 2)),
    "g": (slice(5, 7), slice(1, 7)),
}
_DIGITS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")
_NOISE, _SPREAD = 0.3, 0.5  # beside bars of 0.3 to 1; of the logarithm of an image's brightness


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` images ``[n, 16, 16, 1]`` in float32 and the digit in each; another ``seed`` draws others."""
    draw = np.random.default_rng(seed)
    digits = draw.integers(0, 10, count)
    x = _NOISE * draw.normal(size=(count, 16, 16, 1))
    for image, digit, top, left in zip(x, digits, draw.integers(0, 5, count), draw.integers(0, 9, count), strict=True):
        place = image[top : top + 12, left : left + 8]
        for bar in _DIGITS[digit]:
            place[_BARS[bar]] += draw.uniform(0.3, 1)
    return (x * draw.lognormal(0, _SPREAD, (count, 1, 1, 1))).astype(np.float32), digits

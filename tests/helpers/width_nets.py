"""A network of three convolutions, of which one alone needs 8 bits, and its samples."""

import numpy as np
from drafts import draft

import intact
from intact.ops.convolution import Conv2D
from intact.ops.reduction import Mean

SIDE = 8


def coarse(*shape, seed):
    """Weights that four bits hold exactly: whole numbers up to 7 in each channel, times its scale."""
    draw = np.random.default_rng((seed, *shape))
    whole = draw.integers(-7, 8, shape)
    whole.reshape(shape[0], -1)[:, 0] = 7
    return (whole * 2.0 ** -draw.integers(5, 7, (shape[0], *(1,) * (len(shape) - 1)))).astype(np.float32)


def fine(*shape, seed):
    """Weights of every size from large to small, which four bits cannot tell apart."""
    draw = np.random.default_rng((seed, *shape))
    return (draw.choice([-1, 1], shape) * 2.0 ** draw.uniform(-6, 0, shape) * 0.3).astype(np.float32)


def one_needs_eight_bits():
    """Convolutions of 16, 32 and 24 channels; the middle one is the fine one."""
    return draft(
        (SIDE, SIDE, 8),
        lambda d, x: d(
            Mean(),
            d(
                Conv2D(padding="same"),
                d(
                    Conv2D(padding="same", activation="relu"),
                    d(Conv2D(padding="same", activation="relu"), x, coarse(16, 3, 3, 8, seed=1), np.zeros(16)),
                    fine(32, 3, 3, 16, seed=2),
                    np.zeros(32),
                ),
                coarse(24, 3, 3, 32, seed=3),
                np.zeros(24),
            ),
            np.int32([1, 2]),
        ),
    )


def samples(count=96):
    x = np.random.default_rng(0).normal(0, 1, (count, SIDE, SIDE, 8)).astype(np.float32)
    return intact.data.arrays(x)

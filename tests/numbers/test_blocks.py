"""Steps for a few weights each: the worked example, the best multiples, and what is no such thing."""

import numpy as np
import pytest
from compare import assert_same

from intact.numbers.affine import Affine, bits_of, dequantize_array, quantize_weight
from intact.numbers.blocks import MOST, Blocks, blocks_of, highest


def test_the_worked_example():
    x = np.array([[0.30, -0.11, 0.03, 0.01]])
    blocks = blocks_of(x / 0.01, 3, 2, 0)
    assert blocks == Blocks(((10, 1),), 3, 2, 0)
    fmt = Affine((0.01,), (0,), "int8", 0, blocks=blocks)
    q = quantize_weight(x, fmt)
    assert_same(q, np.array([[30, -10, 3, 1]], np.int8))
    assert_same(dequantize_array(q, fmt), np.array([[0.30, -0.10, 0.03, 0.01]], np.float32), atol=1e-7)
    assert bits_of(fmt) == 3


@pytest.mark.parametrize("axis", [None, 0, 3])
def test_steps_lie_along_the_channels_and_the_last_block_may_be_short(axis):
    shape = (2, 3, 1, 4)
    channels = 1 if axis is None else shape[axis]
    count = 24 // channels
    multiples = tuple(tuple(1 + (c + n) % MOST for n in range(-(-count // 5))) for c in range(channels))
    blocks = Blocks(multiples, 4, 5, axis)
    assert blocks.fits(shape)
    steps = blocks.steps(shape)
    assert steps.shape == shape
    rows = steps.reshape(1, -1) if axis is None else np.moveaxis(steps, axis, 0).reshape(channels, -1)
    for c, row in enumerate(rows):
        assert [multiples[c][n // 5] for n in range(count)] == row.tolist()
    assert not blocks.fits((2, 3, 2, 4))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_no_other_multiple_loses_less(bits):
    x = np.random.default_rng(bits).standard_normal((3, 40)) * np.array([[5.0], [20.0], [60.0]])
    found = blocks_of(x, bits, 10, 0)
    for c, n in np.ndindex(3, 4):
        block = x[c, 10 * n : 10 * n + 10]
        errors = [
            np.square(block - m * np.clip(np.rint(block / m), -highest(bits), highest(bits))).sum() for m in range(1, MOST + 1)
        ]
        assert found.multiples[c][n] == 1 + int(np.argmin(errors))
    largest = np.abs(found.snapped(x)).max()
    assert largest <= MOST * highest(bits) <= 127


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Blocks(((1,),), 5, 16), "5 bits"),
        (lambda: Blocks(((1,),), 1, 16), "1 bits"),
        (lambda: Blocks(((1,),), 4, 1), "blocks of 1"),
        (lambda: Blocks((), 4, 16), "0 channels"),
        (lambda: Blocks(((1,), (2,)), 4, 16), "2 channels with axis None"),
        (lambda: Blocks(((1, 2), (2,)), 4, 16, 0), "not 1 to 16"),
        (lambda: Blocks(((0,),), 4, 16), "not 1 to 16"),
        (lambda: Blocks(((17,),), 4, 16), "not 1 to 16"),
    ],
)
def test_what_is_no_block(made, said):
    with pytest.raises(ValueError, match=said):
        made()

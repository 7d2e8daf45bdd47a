"""A scale for each few inputs: the worked example, what float16 and XNNPACK hold of a scale, and what is no such thing."""

import numpy as np
import pytest
import torch
from compare import assert_same

from intact.numbers.affine import (
    Affine,
    as_held,
    bits_of,
    dequantize_array,
    fake_quantize,
    in_blocks,
    quantize_weight,
    steps,
)
from intact.numbers.block_scales import LEAST, MOST, BlockScales, kept, scales_of


def test_the_worked_example():
    x = np.array([[0.70, -0.20, 0.07, 0.03]], np.float32)
    scales = scales_of(x, 7, 2)
    assert scales == BlockScales(((0.10009765625, 0.010009765625),), 2)
    fmt = in_blocks(scales)
    assert fmt.scale == (0.10009765625,)
    q = quantize_weight(x, fmt)
    assert_same(q, np.array([[7, -2, 7, 3]], np.int8))
    assert_same(dequantize_array(q, fmt), np.array([[0.7007, -0.2002, 0.0701, 0.0300]], np.float32), atol=5e-5)
    assert_same(quantize_weight(x, Affine((0.1,), (0,), "int4", 0)), np.array([[7, -2, 1, 0]], np.int8))
    assert (bits_of(fmt), as_held(fmt)) == (4, fmt)


@pytest.mark.parametrize(
    ("scale", "held"),
    [
        (1.0, 1.0),
        (1.0029296875, 1.0),
        (1.00390625, 1.0),  # as near 1.0078125, whose last bit is odd
        (1.005859375, 1.0078125),
        (1.01171875, 1.015625),  # as near 1.0078125
        (0.1, 0.10009765625),
        (1e-9, 2.0**-14),
        (1e9, 65280.0),
    ],
)
def test_a_scale_has_eight_significant_bits(scale, held):
    assert float(kept(np.array([scale]))[0]) == held


def test_a_scale_is_the_same_number_in_float16():
    every = np.geomspace(LEAST, MOST, 20_001)
    found = kept(every)
    assert_same(found.astype(np.float16).astype(np.float32), found)
    assert_same(kept(found), found)
    assert np.abs(found / every - 1).max() <= 2.0**-8
    assert not (found.view(np.uint32) & 0xFFFF).any()


@pytest.mark.parametrize("size", [2, 8, 32])
def test_no_other_scale_that_is_tried_loses_less(size):
    x = np.random.default_rng(size).standard_t(3, (4, 64))
    found = scales_of(x, 7, size)
    for c, n in np.ndindex(4, 64 // size):
        block = x[c, n * size : (n + 1) * size]

        def lost(scale, block=block):
            return np.square(block - np.clip(np.rint(block / scale), -7, 7) * scale).sum()

        tried = [lost(float(kept(np.array([part * np.abs(block).max() / 7]))[0])) for part in np.linspace(0.5, 1, 40)]
        assert lost(found.scales[c][n]) == pytest.approx(min(tried))


def test_smaller_blocks_lose_less():
    x = np.random.default_rng(0).standard_normal((16, 256)) * np.exp(np.random.default_rng(1).standard_normal((16, 256)))

    def lost(size):
        fmt = in_blocks(scales_of(x, 7, size))
        return float(np.square(dequantize_array(quantize_weight(x, fmt), fmt) - x).sum())

    assert lost(32) < lost(64) < lost(128) < lost(256)


def test_every_number_is_within_half_its_steps_or_clipped():
    x = np.random.default_rng(3).standard_normal((5, 96)).astype(np.float32)
    scales = scales_of(x, 7, 32)
    fmt = in_blocks(scales)
    own = np.repeat(np.array(scales.scales, np.float32), 32, axis=1)
    assert_same(steps(fmt, x.shape), own)
    q = quantize_weight(x, fmt)
    error = np.abs(dequantize_array(q, fmt) - x)
    assert (error <= own / 2 * (1 + 1e-6))[np.abs(q) < 7].all()
    assert set(np.unique(q)) == set(range(-7, 8))
    assert_same(fake_quantize(torch.from_numpy(x), fmt).numpy()[q > -7], dequantize_array(q, fmt)[q > -7])


def test_a_block_of_zeros_has_a_scale_that_is_one():
    x = np.zeros((2, 4))
    x[0, :2] = 7.0
    assert scales_of(x, 7, 2) == BlockScales(((1.0, 1.0), (1.0, 1.0)), 2)
    nothing = scales_of(np.zeros((2, 4)), 7, 2)
    assert min(map(min, nothing.scales)) > 0


def test_what_fits():
    scales = BlockScales(((1.0, 2.0), (3.0, 4.0), (5.0, 6.0)), 32)
    assert (scales.count, scales.largest) == (6, (2.0, 4.0, 6.0))
    assert scales.fits((3, 64))
    assert not any(scales.fits(shape) for shape in [(3, 63), (2, 64), (3, 96), (64, 3), (3, 1, 64), (None, 64)])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: BlockScales(((1.0,),), 1), "blocks of 1"),
        (lambda: BlockScales((), 32), "scales of 0 channels"),
        (lambda: BlockScales(((),), 32), "scales of 1 channels"),
        (lambda: BlockScales(((1.0, 2.0), (1.0,)), 32), "scales of 2 channels"),
        (lambda: BlockScales(((0.0,),), 32), "not positive"),
        (lambda: BlockScales(((1e-9,),), 32), "not positive"),  # float16 has no such number
        (lambda: BlockScales(((float("nan"),),), 32), "not positive"),
        (lambda: BlockScales(((1e5,),), 32), "not positive"),  # infinite in float16
        (lambda: BlockScales(((-1.0,),), 32), "not positive"),
        (
            lambda: Affine((1.0,), (0,), "int4", 0, block_scales=BlockScales(((1.0, 2.0),), 32)),
            "scales of blocks beside others",
        ),
        (lambda: Affine((2.0,), (1,), "int4", 0, block_scales=BlockScales(((1.0, 2.0),), 32)), "zero points"),
        (lambda: Affine((2.0,), (0,), "int4", None, block_scales=BlockScales(((1.0, 2.0),), 32)), "scales of blocks beside"),
    ],
)
def test_what_is_no_scale_of_a_block(made, said):
    with pytest.raises(ValueError, match=said):
        made()

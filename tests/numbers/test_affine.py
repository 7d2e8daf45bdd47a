import numpy as np
import pytest
import torch
from compare import assert_same
from hypothesis import given
from hypothesis import strategies as st

from intact.numbers.affine import (
    MIN_SCALE,
    Affine,
    affine_from_range,
    bias_format,
    dequantize,
    dequantize_array,
    fake_quantize,
    limits,
    quantize,
    quantize_array,
    quantize_weight,
    symmetric_from_absmax,
    weight_limits,
)

RANGES = st.tuples(st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32)).map(sorted)


def test_worked_example_of_the_module():
    fmt = affine_from_range(-1.5, 2.3)
    assert fmt.scale[0] == pytest.approx(3.8 / 255)
    assert fmt.zero_point == (-27,)
    assert quantize_array(np.float32([0.5]), fmt).tolist() == [7]
    assert dequantize_array(np.int8([7]), fmt)[0] == pytest.approx(0.507, abs=5e-4)


@given(RANGES, st.sampled_from(["int8", "uint8", "int16"]))
def test_a_range_holds_zero_exactly_and_its_ends_to_half_a_step(ends, dtype):
    fmt = affine_from_range(*ends, dtype)
    low, high = fmt.range
    scale = fmt.scale[0]
    assert fake_quantize(torch.zeros(1), fmt).item() == 0
    # the zero point is rounded, which moves the grid by up to half a step
    assert low <= min(ends[0], 0) + 0.51 * scale
    assert high >= max(ends[1], 0) - 0.51 * scale


def test_int16_is_symmetric():
    """Worked example of the module: [-1.5, 2.3] has scale 2.3/32767, so 0.5 -> 7123."""
    fmt = affine_from_range(-1.5, 2.3, "int16")
    assert fmt == Affine((2.3 / 32767,), (0,), "int16")
    assert quantize_array(np.float32([0.5, -2.3, 2.3]), fmt).tolist() == [7123, -32767, 32767]
    assert affine_from_range(-2.3, 0.0, "int16") == fmt
    assert affine_from_range(0, 0, "int16") == Affine((MIN_SCALE,), (0,), "int16")


@given(RANGES, st.integers(0, 2**32 - 1))
def test_rounding_errs_by_half_a_step_inside_the_range(ends, seed):
    fmt = affine_from_range(*ends)
    x = torch.from_numpy(np.random.default_rng(seed).uniform(*fmt.range, 64).astype(np.float32))
    error = (dequantize(quantize(x, fmt), fmt) - x).abs().max().item()
    assert error <= fmt.scale[0] * 0.5 + 1e-6 * max(map(abs, fmt.range))


@given(RANGES, st.integers(0, 2**32 - 1))
def test_fake_quantization_is_quantize_then_dequantize(ends, seed):
    fmt = affine_from_range(*ends)
    x = torch.from_numpy(np.random.default_rng(seed).normal(0, 1 + abs(ends[1]), 64).astype(np.float32))
    assert_same(fake_quantize(x, fmt), dequantize(quantize(x, fmt), fmt), rtol=1e-6)


def test_halves_go_to_even():
    fmt = Affine((1.0,), (0,))
    assert quantize(torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5]), fmt).tolist() == [0, 2, 2, 0, -2]


def test_a_constant_zero_has_the_least_scale():
    assert affine_from_range(0, 0).scale == (MIN_SCALE,)


@pytest.mark.parametrize("ends", [(1.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_what_is_no_range_is_refused(ends):
    with pytest.raises(ValueError, match="not a range"):
        affine_from_range(*ends)


def test_symmetric_weights_use_127_and_zero_point_0():
    weights = np.float32([[1.0, -2.0], [0.0, 0.0], [0.5, 0.25]])
    fmt = symmetric_from_absmax(np.abs(weights).max(1), axis=0)
    assert fmt.zero_point == (0, 0, 0)
    assert quantize_array(weights, fmt).tolist() == [[64, -127], [0, 0], [127, 64]]


def test_an_all_zero_channel_takes_the_largest_scale():
    assert symmetric_from_absmax(np.array([0.0, 2.0, 1.0]), axis=0).scale[0] == np.float32(2 / 127)
    assert symmetric_from_absmax(np.array([0.0]), axis=0).scale == (1.0,)


def test_bias_scale_is_the_product_and_keeps_its_low_bits():
    fmt = bias_format(Affine((0.5,), (3,)), Affine((2e-7, 4e-7), (0, 0), "int8", 0))
    assert fmt.scale == pytest.approx((1e-7, 2e-7))
    assert fmt.dtype == "int32"
    # 100.0000001 / 1e-7 needs 31 bits; float32 has 24
    assert quantize_array(np.float32([100.0, 100.0]), fmt).tolist() == [round(100 / fmt.scale[0]), round(100 / fmt.scale[1])]


def test_biases_beside_int16_are_int64():
    fmt = bias_format(Affine((0.5,), (0,), "int16"), Affine((2e-7, 4e-7), (0, 0), "int8", 0))
    assert (fmt.scale, fmt.zero_point, fmt.dtype, fmt.axis) == (pytest.approx((1e-7, 2e-7)), (0, 0), "int64", 0)
    # 12345.678 / 1e-7 needs 37 bits
    real = np.float32([12345.678, -12345.678])
    assert quantize_array(real, fmt).tolist() == [round(float(r) / s) for r, s in zip(real, fmt.scale, strict=True)]


def test_values_beyond_the_range_are_clamped():
    fmt = affine_from_range(0, 1)
    assert quantize(torch.tensor([-5.0, 5.0, float("-inf")]), fmt).tolist() == [-128, 127, -128]


def test_a_scalar_stays_a_scalar():
    assert_same(quantize_array(np.array(3.0, np.float32), affine_from_range(0, 3.0)), np.int8(127))


@pytest.mark.parametrize(
    ("scale", "zero_point", "axis", "says"),
    [((1.0,), (0, 0), None, "1 scales, 2 zero points"), ((1.0, 2.0), (0, 0), None, "without an axis")],
)
def test_impossible_formats_are_refused(scale, zero_point, axis, says):
    with pytest.raises(ValueError, match=says):
        Affine(scale, zero_point, "int8", axis)


@pytest.mark.parametrize(("dtype", "low", "high"), [("int4", -8, 7), ("int8", -128, 127), ("uint8", 0, 255)])
def test_limits(dtype, low, high):
    assert limits(dtype) == (low, high)


def test_a_clipped_weight_is_stored_as_the_least_that_weights_use():
    for dtype, least in (("int4", -7), ("int8", -127)):
        fmt = symmetric_from_absmax(np.array([1.0]), dtype)
        assert weight_limits(dtype) == (least, -least)
        assert_same(quantize_weight(np.array([-3.0, -1.0, 3.0], np.float32), fmt), np.array([least, least, -least], np.int8))

"""Counts over bins that no level straddles."""

import numpy as np
import pytest
import torch

from intact.diagnosis.histograms import between, on_grid
from intact.numbers.affine import Affine, limits


@pytest.mark.parametrize(("dtype", "bins", "levels"), [("int8", 128, 2), ("uint8", 128, 2), ("int16", 128, 512)])
def test_every_bin_holds_equally_many_levels(dtype, bins, levels):
    first, last = limits(dtype)
    fmt = Affine((0.037,), (first + 5,), dtype)
    every = torch.arange(first, last + 1)
    values = (every - fmt.zero_point[0]) * np.float32(fmt.scale[0])
    found = on_grid(fmt, values, values)
    assert found.made[8:-8].tolist() == [levels] * bins
    assert found.made.sum() == len(every)
    assert (found.exact == found.made).all()


def test_what_is_cut_off_lies_beside_the_grid():
    fmt = Affine((1.0,), (0,), "int8")
    found = on_grid(fmt, torch.tensor([-1e9, -130.0, 0.0, 129.0, 1e9]), torch.tensor([-128.0, 127.0]))
    assert found.exact[:8].sum() == 2
    assert found.exact[-8:].sum() == 2
    assert found.made[8] == found.made[-9] == 1
    assert (found.low, found.high) == (-128.5 - 16, 127.5 + 16)


def test_between_two_ends_and_of_one_number():
    found = between(-1.0, 1.0, torch.linspace(-1, 1, 1001), torch.tensor([-1.0, 1.0]))
    assert found.exact.sum() == 1001
    assert found.made[0] == found.made[-1] == 1
    assert between(0.0, 0.0, torch.zeros(7), torch.zeros(7)).exact.sum() == 7


def test_parts_add_up():
    fmt = Affine((0.5,), (3,), "int8")
    x = torch.randn(600)
    whole = on_grid(fmt, x, x)
    both = on_grid(fmt, x[:100], x[:100]) + on_grid(fmt, x[100:], x[100:])
    assert (whole.exact == both.exact).all()
    assert whole.to_json() == both.to_json()

"""The shapes and element types in annotations are checked in tests, and cost users nothing."""

import subprocess
import sys

import jaxtyping
import numpy as np
import pytest
import torch

from intact import annotations as names
from intact.measure import accuracy
from intact.numbers import fixed_point
from intact.numbers.affine import affine_from_range, dequantize, quantize
from intact.simulate.noise import divergence

INT8 = affine_from_range(-1.0, 1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: quantize(torch.ones(3, dtype=torch.int32), INT8),
        lambda: dequantize(torch.ones(3), INT8),
        lambda: quantize(np.ones(3, np.float32), INT8),
        lambda: fixed_point.wrap(torch.ones(3)),
        lambda: fixed_point.multiply(
            torch.ones(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64), torch.ones(2, 3).long()
        ),
        lambda: divergence(torch.ones(2, 3), torch.ones(2, 4)),
        lambda: accuracy.probabilities(np.ones((2, 3, 4), np.float32)),
        lambda: accuracy.agreement(np.zeros(3, np.int64), np.zeros(4, np.int64)),
    ],
)
def test_another_shape_or_element_type_is_refused(call):
    with pytest.raises(jaxtyping.TypeCheckError):
        call()


def test_what_fits_passes():
    assert quantize(torch.tensor([0.5]), INT8).dtype == torch.int8
    assert fixed_point.rescale(torch.tensor([[4, 8]]), np.array([0.5, 0.25])).tolist() == [[2, 2]]


def test_users_need_no_jaxtyping():
    script = """
import sys
sys.modules["jaxtyping"] = sys.modules["beartype"] = None
import numpy as np
import intact.measure.accuracy, intact.simulate.noise
from intact.numbers.affine import affine_from_range, quantize_array
print(quantize_array(np.ones(2, np.float32), affine_from_range(0.0, 2.55)).tolist())
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[-28, -28]"


def test_every_name_has_its_check():
    assert all(issubclass(getattr(names, name), jaxtyping.AbstractDtype) for name in names.__all__)

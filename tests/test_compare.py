import numpy as np
import pytest
from compare import assert_same


def test_accepts_equal_and_close_values():
    assert_same(np.array([1, 2], np.int8), np.array([1, 2], np.int8))
    assert_same(np.array([1.0, 2.001]), np.array([1.0, 2.0]), atol=0.01)


@pytest.mark.parametrize(
    ("actual", "expected", "says"),
    [
        (np.zeros(2), np.zeros(3), "shape"),
        (np.zeros(2, np.int8), np.zeros(2, np.int16), "dtype"),
        (np.array([1, 2], np.int8), np.array([1, 3], np.int8), "1 of 2 elements"),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0]), "inf or nan"),
        (np.array([True]), np.array([False]), "values differ"),
    ],
)
def test_fails_and_says_why(actual, expected, says):
    with pytest.raises(AssertionError, match=says):
        assert_same(actual, expected)

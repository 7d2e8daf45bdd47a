import numpy as np
import pytest

from intact.errors import OptionError
from intact.planning.ranges import ESTIMATORS, Mse, Observed, estimator, hull, width


def observed(values, bins=2048):
    """Statistics of samples, one a row."""
    counts = np.histogram(values, bins, (values.min(), values.max()))[0].astype(float)
    return Observed(values.min(axis=1), values.max(axis=1), counts)


GAUSS = np.random.default_rng(0).normal(size=(100, 1000))


def test_minmax_is_the_extremes():
    assert estimator("minmax").estimate(observed(GAUSS)) == (GAUSS.min(), GAUSS.max())


def test_moving_average_by_hand():
    seen = Observed(np.array([-1.0, -2.0]), np.array([1.0, 3.0]))
    assert estimator("moving").estimate(seen) == pytest.approx((-1.05, 1.1))


def test_percentile_leaves_out_its_share():
    low, high = estimator("percentile").estimate(observed(GAUSS))
    outside = ((low > GAUSS) | (high < GAUSS)).mean()
    assert outside == pytest.approx(1e-4, rel=0.5)


def test_percentile_keeps_the_floor_that_a_relu_piles_up_at():
    low, _ = estimator("percentile").estimate(observed(np.maximum(GAUSS, 0)))
    assert low == 0


def mse_of(values, low, high):
    scale = (high - low) / 255
    return np.square(np.clip(np.round(values / scale) * scale, low, high) - values).mean()


def test_mse_finds_the_best_range_there_is():
    values = np.concatenate([GAUSS.ravel(), [12.0, -10.0]]).reshape(1, -1)
    found = mse_of(values, *Mse().estimate(observed(values)))
    grid = [(low, high) for low in np.linspace(-10, -2, 17) for high in np.linspace(2, 12, 17)]
    assert found < 0.8 * mse_of(values, -10.0, 12.0)
    assert found < 1.03 * min(mse_of(values, *ends) for ends in grid)


def test_mse_keeps_the_range_of_uniform_numbers():
    values = np.random.default_rng(1).uniform(-1, 1, (10, 1000))
    low, high = Mse().estimate(observed(values))
    assert low < -0.95
    assert high > 0.95


def test_mse_clips_less_for_finer_steps():
    seen = observed(np.concatenate([GAUSS.ravel(), [12.0, -12.0]]).reshape(1, -1))
    narrow, wide = (estimator("mse", dtype).estimate(seen) for dtype in ("int8", "int16"))
    assert narrow[1] - narrow[0] < 0.85 * 24
    assert wide[1] - wide[0] > 0.95 * 24


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_stands_a_constant(name):
    low, high = estimator(name).estimate(Observed(np.full(3, 2.0), np.full(3, 2.0), np.r_[3.0, np.zeros(2047)]))
    assert low <= high
    assert high == pytest.approx(2.0)


def test_an_unknown_estimator_lists_the_known():
    with pytest.raises(OptionError, match="type --ranges with one of: auto, minmax, moving, percentile, mse"):
        estimator("best")


def test_hull_and_width():
    assert hull((-1.0, 2.0), (0.0, 3.0)) == (-1.0, 3.0)
    assert width((1.0, 3.0)) == 3.0

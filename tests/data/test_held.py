"""Samples that lie in files are the samples that were read."""

import numpy as np
import pytest
from images import pixels, write_image

from intact import data
from intact.data import held
from intact.data.spec import InputSpec

SPECS = (InputSpec("x", (None, 8, 8, 3)),)


@pytest.fixture
def samples(tmp_path):
    for n in range(12):
        write_image(tmp_path / "photos" / "ab"[n % 2] / f"{n}.png", pixels(n))
    return data.folder(tmp_path / "photos").bind(SPECS, 2)


def test_what_is_held_is_what_was_read(samples, tmp_path):
    index = np.array([7, 1, 4, 1])
    made = held.held(samples, index, tmp_path, "data")
    for some in (np.array([1]), np.array([4, 7, 1])):
        ours, theirs = made.take(some), samples.take(some)
        np.testing.assert_array_equal(ours.batch([0])[0]["x"], theirs.batch([0])[0]["x"])
        assert ours.fingerprint() == theirs.fingerprint()
        assert [ours.name(i) for i in range(len(some))] == [theirs.name(i) for i in range(len(some))]
    assert len(made) == len(made.source) == 12
    with pytest.raises(ValueError, match="asked for that is not held"):
        made.batch([0])


def test_its_files_are_found_where_they_lie(samples, tmp_path):
    made = held.held(samples, np.arange(12), tmp_path, "data")
    (name, path), *others = held.files_of(made).items()
    assert not others
    moved = path.rename(tmp_path / "moved")
    there = held.opened(made, {name: moved})
    assert there.fingerprint() == samples.fingerprint()
    np.testing.assert_array_equal(there.batch(range(12))[0]["x"], samples.batch(range(12))[0]["x"])
    assert held.HeldData(there).bind(SPECS, 2) is there

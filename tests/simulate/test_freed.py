"""Freed memory is used again while there is work, and goes back when the last of those at work ends."""

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from intact.simulate import freed

pytestmark = pytest.mark.skipif(sys.platform != "linux" or freed._glibc() is None, reason="only glibc has these settings")


def faults(times: int = 20) -> int:
    """Pages brought in while an array of 64 MB comes and goes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        np.empty(2**24, np.float32).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


def test_pages_are_brought_in_once_only():
    without = faults()
    with freed.kept():
        faults(1)
        assert faults() < without / 10


def test_what_is_free_goes_back_when_the_last_one_ends():
    before = resident()
    with freed.kept():
        with freed.kept():
            faults(1)
        assert resident() - before > 15_000, "the one within gave it back"
    assert resident() - before < 5_000


def test_nothing_is_done_with_another_c_library(monkeypatch):
    monkeypatch.setattr(freed, "_glibc", lambda: None)
    with freed.kept():
        pass
    assert freed._USERS.count == 0

"""How long a network is warmed up before it is timed, and what that says of its time."""

import sys
import time
from pathlib import Path

import pytest

import intact.runtime

sys.path.append(str(Path(intact.runtime.__file__).parent / "scripts"))
litert_profile = pytest.importorskip("litert_profile")
sys.path.pop()


class Network:
    """Takes ``seconds``, the first time ten times as long."""

    def __init__(self, seconds):
        self.seconds, self.calls = seconds, 0

    def invoke(self):
        self.calls += 1
        until = time.perf_counter() + self.seconds * (10 if self.calls == 1 else 1)
        while time.perf_counter() < until:
            pass


def test_a_slow_network_is_called_twice_and_its_first_call_does_not_count():
    network = Network(0.02)
    assert 0.02 <= litert_profile._warm_up(network, 0.01) < 0.1
    assert network.calls == 2


def test_a_fast_network_is_warmed_up_by_the_clock(monkeypatch):
    network, read = Network(0.0), []
    clock = time.perf_counter
    monkeypatch.setattr(litert_profile.time, "perf_counter", lambda: read.append(1) or clock())
    each = litert_profile._warm_up(network, 0.05)
    assert network.calls * each == pytest.approx(0.05, rel=0.8)
    assert len(read) - 2 * network.calls < 200  # of which the network's own: two a call

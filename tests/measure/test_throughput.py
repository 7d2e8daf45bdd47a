"""Samples a second and resident memory of written files, in the runtime."""

import math
from pathlib import Path

import numpy as np
import pytest
from nets import mobile

from intact.formats import tflite
from intact.measure.resident import resident
from intact.measure.throughput import throughput
from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Index
from intact.ops.shaping import Reshape
from intact.runtime import litert

NETWORKS = Path(__file__).parents[1] / "networks"


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.tflite"
    path.write_bytes(tflite.write(mobile()))
    return path


def test_samples_a_second_are_of_real_batches(net):
    one, many = throughput(net, "default")
    assert [one.name, many.name] == ["throughput at batch 1", "throughput at batch 32"]
    assert one.unit == many.unit == "samples/s"
    assert 0 < one.low <= one.value <= one.high
    assert "calls with 32 samples each" in many.how
    assert many.n >= 5


def test_samples_a_second_are_what_the_latency_says(net):
    """The median call takes what the latency of the same file is, within what two processes differ by."""
    (one, _), times = throughput(net, "reference"), litert.latency({"net": net}, kernels="reference", rounds=5)["net"]
    assert 1e3 / one.value == pytest.approx(sorted(times.samples_ms)[2], rel=1.0)


def test_a_file_that_keeps_its_batch_says_so():
    one, many = throughput(NETWORKS / "gru_streaming.tflite", "default")
    assert math.isfinite(one.value)
    assert math.isnan(many.value)
    assert many.how.startswith("the file takes no batch of 32: every call depends on the one before")
    assert (many.low, many.high, many.n) == (None, None, 0)


def test_a_file_that_cannot_be_resized_says_so(tmp_path):
    flat = Tensor(1, "flat", (2,), Index(), np.int32([1, 192]))
    tensors = {0: Tensor(0, "image", (1, 8, 8, 3)), 1: flat, 2: Tensor(2, "row", (1, 192))}
    path = tmp_path / "fixed.tflite"
    path.write_bytes(tflite.write(Graph(tensors=tensors, ops=(Op(Reshape(), (0, 1), (2,)),), inputs=(0,), outputs=(2,))))
    _, many = throughput(path, "default")
    assert math.isnan(many.value)
    assert "cannot be resized to a batch of 32" in many.how


def test_resident_memory_is_at_least_what_the_weights_take(net):
    found = resident(net, "default")
    assert found.value > 1000
    assert (found.unit, found.n) == ("bytes", 1)


def test_where_memory_cannot_be_read_the_figure_says_why(net, monkeypatch):
    monkeypatch.setattr(litert, "memory", lambda *_, **__: litert.Memory(None, None, "this system has no /proc"))
    found = resident(net, "default")
    assert math.isnan(found.value)
    assert found.how == "this system has no /proc"

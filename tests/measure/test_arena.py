"""The arena of TensorFlow Lite Micro: what a file takes, and its two parts apart where it is not installed."""

import importlib.util

import numpy as np
import pytest
from drafts import draft
from nets import mobile
from plans import planned
from small_graphs import softmax

from intact.errors import ModelError
from intact.formats import tflite
from intact.measure.arena import arena, persistent
from intact.ops.activation import Gelu
from intact.planning.integer_graph import emit
from intact.runtime import child, tflm

WHEEL = importlib.util.find_spec("tflite_micro") is not None
needs_wheel = pytest.mark.skipif(not WHEEL, reason="tflite-micro is not installed")


@pytest.fixture
def small(tmp_path):
    graph = emit(mobile(), planned(mobile(), target="mcu"))
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(graph))
    return path, graph


def allocates(path, size):
    request = {"task": "allocate", "model": str(path), "size": size}
    return child.call("tflm_worker.py", request, what="TFLM", timeout=60)


@needs_wheel
def test_the_arena_is_the_least_that_works(small):
    path, graph = small
    (found,) = arena(path, graph)
    assert found.name == "TFLM arena"
    assert found.value % 16 == 0
    assert allocates(path, int(found.value))["allocates"]
    refused = allocates(path, int(found.value) - 16)
    assert not refused["allocates"]
    assert refused["said"]
    assert "by bisection" in found.how


@needs_wheel
@pytest.mark.parametrize("guess", [1, 1000, 1 << 20])
def test_where_it_begins_does_not_matter(small, guess):
    path, graph = small
    assert tflm.arena(path, guess).bytes == arena(path, graph)[0].value


@needs_wheel
@pytest.mark.parametrize(
    ("name", "least"), [("resnet8_cifar10", 55_984), ("vww_96", 103_680), ("kws", 24_272), ("ad01", 4_640)]
)
def test_published_models_take_what_is_known(shared, name, least):
    path = shared / "models" / f"{name}_int8.tflite"
    graph = tflite.read(path)
    (found,) = arena(path, graph)
    assert found.value == least
    real = tflm.arena(path, 1 << 14).persistent
    assert persistent(graph) == pytest.approx(real, rel=0.03)


@needs_wheel
def test_a_file_that_tflm_refuses_is_said_with_its_reason(tmp_path):
    path = tmp_path / "gelu.tflite"
    path.write_bytes(tflite.write(draft((4,), lambda d, x: d(Gelu(), x))))
    with pytest.raises(ModelError, match=r"gelu.tflite: TensorFlow Lite Micro cannot allocate it: .*GELU"):
        tflm.arena(path, 1 << 14)


@needs_wheel
def test_a_file_that_kills_tflm_leaves_the_estimate(tmp_path):
    graph = softmax(scale=2.0**-27)  # its SOFTMAX aborts the process below 2^-26
    path = tmp_path / "abort.tflite"
    path.write_bytes(tflite.write(graph, kernels=False))
    found = {m.name: m for m in arena(path, graph)}
    assert set(found) == {"activations (estimate)", "persistent part (estimate)"}
    assert "TensorFlow Lite Micro" in found["persistent part (estimate)"].how


def test_without_the_wheel_the_parts_are_named_apart_and_nothing_is_called_arena(small, monkeypatch):
    path, graph = small
    monkeypatch.setattr(tflm, "available", lambda: False)
    found = arena(path, graph)
    assert [m.name for m in found] == ["activations (estimate)", "persistent part (estimate)"]
    assert found[0].value == 1536  # see test_quantize: the peak of the same network
    assert "is not installed" in found[1].how
    assert np.isfinite(found[1].value)

"""details.json: what lies under the figures, held to the figures themselves."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from nets import images, mobile

import intact
from intact.errors import ModelError
from intact.formats import tflite
from intact.runtime import litert

STREAMING = Path(__file__).parents[1] / "networks" / "lstm_streaming.tflite"
pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture(scope="module")
def data():
    return intact.data.arrays(images(120), np.arange(120) % 4)


@pytest.fixture(scope="module")
def result(data):
    return intact.quantize(mobile(), data)


@pytest.fixture(scope="module")
def details(result):
    return json.loads(result.files()["details.json"])


def value(result, name, of="quantized"):
    return result.reading(name, of).measurement.value


def test_ops_add_up_to_the_figures(result, details):
    assert [op["output"] for op in details["ops"]] == [op.output for op in result.graph.ops]
    assert sum(op["macs"] for op in details["ops"]) == value(result, "multiply-accumulates", "float")
    shares = [op["noise_share"] for op in details["ops"] if op["noise_share"] is not None]
    assert sum(shares) == pytest.approx(1)
    assert all(op["ms"] > 0 for op in details["ops"])
    last = next(op for op in reversed(details["ops"]) if op["sqnr_runtime"] is not None)
    assert last["sqnr_runtime"] == pytest.approx(value(result, "SQNR"), abs=3)  # of other samples


def test_memory_peaks_where_the_figure_says(result, details):
    memory = details["memory"]
    assert memory["peak"] == max(memory["live"]) == value(result, "peak live activations")
    for n, live in enumerate(memory["live"]):
        assert (
            live
            == sum(b["bytes"] for b in memory["buffers"] if b["first"] <= n <= b["last"])
            == details["ops"][n]["live_bytes"]
        )


def test_classes_and_who_changed(result, details):
    n = value(result, "top-1 accuracy", "float"), value(result, "top-1 accuracy")
    classes, report = details["classes"], result.reading("top-1 accuracy").measurement.n
    assert sum(classes["n"]) == report
    assert [100 * sum(classes[name]) / report for name in ("float", "quantized")] == pytest.approx(n)
    assert np.sum(classes["confusion_quantized"]) == report
    assert np.diagonal(classes["confusion_float"]).tolist() == classes["float"]
    agree = value(result, "agreement with float")
    assert 100 * (1 - details["changed"]["n"] / details["changed"]["of"]) == pytest.approx(agree)
    for shown in details["changed"]["shown"]:
        assert shown["float"] != shown["quantized"]
        assert shown["thumbnail"].startswith("data:image/png;base64,")


def test_tensors_fit_their_formats(result, details):
    roles = {t["role"] for t in details["tensors"]}
    assert roles == {"input", "activation", "output", "weight", "bias"}
    for t in details["tensors"]:
        fmt = result.graph[t["id"]].format
        assert t["dtype"] == fmt.dtype
        if t["role"] != "bias":
            assert t["scale"] == pytest.approx(list(fmt.scale), rel=1e-5)
        assert 0 <= t["clipped"] <= 1
        counts = t["histogram"]
        assert sum(counts["float"]) == sum(counts["integer"]) > 0
        inside = t["grid_low"] - 1e-6 <= t["low"] and t["high"] <= t["grid_high"] + 1e-6
        assert t["clipped"] == 0 or not inside
    weight = next(t for t in details["tensors"] if t["role"] == "weight")
    assert sum(weight["histogram"]["float"]) == math.prod(weight["shape"])
    assert weight["low"] == pytest.approx(result.float_graph[weight["id"]].data.min())


def test_sizes_add_up_to_the_file(result, details):
    assert sum(details["sizes"].values()) == len(result.model) == value(result, "file size")
    assert details["sizes"]["weights"] == value(result, "bytes of weights")


def test_times_are_those_of_the_figure(result, details):
    for name in ("float", "quantized"):
        assert np.median(details["latency"][name]) == pytest.approx(value(result, "latency", name))


@pytest.mark.parametrize(
    ("scheme", "target"),
    [("float32", "cpu"), ("float16", "cpu"), ("dynamic", "cpu"), ("w4a8", "cpu"), ("int16x8", "cpu"), ("int8", "mcu")],
)
def test_every_scheme_has_details(data, scheme, target):
    result = intact.quantize(mobile(), data, scheme=scheme, target=target)
    found = json.loads(result.files()["details.json"])
    assert len(found["ops"]) == len(result.graph.ops)
    assert sum(found["sizes"].values()) == len(result.model)
    weight = next(t for t in found["tensors"] if t["role"] == "weight")
    made = np.array(weight["histogram"]["integer"])
    assert made.sum() == math.prod(weight["shape"])
    integer = scheme not in {"float32", "float16", "dynamic"}
    assert all((op["noise_share"] is not None) <= integer for op in found["ops"])
    ratio = value(result, "weights ratio in theory", "difference")
    assert ratio == {"float32": 1, "float16": 2, "w4a8": 8}.get(scheme, 4)
    assert value(result, "weights ratio", "difference") <= ratio + 1e-9
    assert (value(result, "ops in float") == 0) == integer


def test_without_labels_there_is_who_changed_and_no_table():
    x = images(60)
    found = intact.quantize(mobile(), intact.data.arrays(x)).details
    assert found["classes"] is None
    assert found["changed"]["of"] == 30  # 25 % calibrate, 25 % select


def test_nobody_asked(data):
    for given in ({"details": False}, {"measure": False}):
        result = intact.quantize(mobile(), data, **given)
        assert not result.details
        assert not {"details.json", "samples.npz"} & result.files().keys()


def test_calls_that_follow_each_other_are_compared_in_one_row(tmp_path):
    """Pieces of them would begin with states of their own, and the file's would not."""
    turn = np.linspace(0, 20, 120, dtype=np.float32)
    calls = np.stack([np.sin(turn), np.cos(3 * turn)], 1).reshape(120, 1, 2)
    result = intact.quantize(str(STREAMING), intact.data.arrays(calls), target="mcu")
    last = result.details["ops"][-1]
    report = calls[60:][:32]
    (name,) = result.graph.input_names
    exact, made = (
        next(iter(litert.run(path, {name: report}, kernels="default").values()))
        for path in (STREAMING, result.save(tmp_path / "made.tflite"))
    )
    noise = np.square(exact.astype(np.float64) - made).sum()
    assert last["sqnr_runtime"] == pytest.approx(10 * np.log10(np.square(exact.astype(np.float64)).sum() / noise), abs=0.5)


def test_a_file_that_does_not_run_with_all_shown_costs_no_more_than_its_db(data, monkeypatch):
    def refuse(*_):
        raise ModelError("does not run")

    monkeypatch.setattr("intact.run.details.trace", refuse)
    result = intact.quantize(mobile(), data)
    found = result.details
    assert all(op["sqnr_runtime"] is None for op in found["ops"])
    assert [f.message for f in result.findings if f.kind == "ops not compared"]
    assert any(op["noise_share"] for op in found["ops"])


def test_the_ratio_to_the_file_given_is_named_apart(data, tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(mobile()) + bytes(50_000))
    result = intact.quantize(str(path), data, details=False)
    given = value(result, "size ratio to the file given", "difference")
    assert given == pytest.approx(path.stat().st_size / len(result.model))
    in_memory = intact.quantize(mobile(), data, details=False)
    assert not [r for r in in_memory.readings if "given" in r.measurement.name]
    assert value(in_memory, "size ratio", "difference") == pytest.approx(
        value(in_memory, "file size", "float") / len(in_memory.model)
    )

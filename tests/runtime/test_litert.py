"""The runtime in its child processes: right numbers, right names, and no way for a file to take us down."""

import numpy as np
import pytest
import small_graphs
from compare import assert_same

from intact.errors import ChildError, DataError, ModelError, OutputError
from intact.formats import tflite
from intact.numbers.affine import Affine, Float
from intact.runtime import litert
from intact.simulate.engine import Program


@pytest.fixture
def write(tmp_path):
    """Write a graph to a file."""

    def save(graph, name="model.tflite"):
        path = tmp_path / name
        path.write_bytes(tflite.write(graph))
        return path

    return save


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


# ---- numbers -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", ["default", "reference"])
@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 50])
def test_float_outputs_are_the_simulators(write, kernels, batch, n):
    graph = small_graphs.fully_connected(batch=batch)
    x = noise(n, 6)
    expected = {name: y.numpy() for name, y in Program(graph)({"x": x}).items()}
    actual = litert.run(write(graph), {"x": x}, kernels=kernels, threads=2)
    assert list(actual) == ["y"]
    assert_same(actual["y"], expected["y"], rtol=1e-6)


def test_batched_is_what_single_samples_give(write):
    path, x = write(small_graphs.fully_connected(n_in=40, n_out=10)), noise(100, 40)
    many, one = (litert.execute(path, {"x": x}, batch=b, threads=2) for b in (8, 1))
    assert (many.batch, one.batch) == (8, 1)
    assert_same(many.outputs["y"], one.outputs["y"], rtol=1e-6)
    assert many.cpu_seconds_per_sample > 0


def test_real_inputs_are_rounded_half_to_even_and_clamped(write):
    """Scale 0.5, zero point 3: 0.25 and 0.75 are ties."""
    fmt = Affine((0.5,), (3,))
    path = write(small_graphs.requantize(fmt, fmt))
    x = np.array([[0.25, 0.75, 1.25, -0.25, -0.75, 1000.0, -1000.0, 0.0]], np.float32)
    raw = litert.run(path, {"x": x}, raw=True)["y"]
    assert_same(raw, np.array([[3, 5, 5, 3, 1, 127, -128, 3]], np.int8))
    real = litert.run(path, {"x": x})["y"]
    assert_same(real, np.array([[0, 1, 1, 0, -1, 62, -65.5, 0]], np.float32))


@pytest.mark.parametrize(("dtype", "zero_point"), [("int8", -5), ("uint8", 120), ("int16", 0)])
def test_stored_and_real_inputs_give_the_same(write, dtype, zero_point):
    source, target = Affine((0.25,), (zero_point,), dtype), Affine((0.25,), (zero_point,), dtype)
    path = write(small_graphs.requantize(source, target))
    limits = np.iinfo(dtype)
    stored = np.random.default_rng(0).integers(limits.min, limits.max, (20, 8), dtype, endpoint=True)
    real = ((stored.astype(np.float32) - zero_point) * np.float32(0.25)).astype(np.float32)
    for x in (stored, real):
        assert_same(litert.run(path, {"x": x}, raw=True)["y"], stored)
        assert_same(litert.run(path, {"x": x})["y"], real)


def test_float_input_and_integer_output(write):
    path = write(small_graphs.requantize(Float(), Affine((0.1,), (0,))))
    x = noise(9, 8)
    assert_same(litert.run(path, {"x": x}, raw=True)["y"], np.rint(x / np.float32(0.1)).astype(np.int8))


@pytest.mark.parametrize("make", [small_graphs.baked_batch, small_graphs.mixes_batch])
def test_a_graph_that_takes_no_batch_is_run_one_by_one(write, make):
    graph = make()
    x = noise(20, *graph[0].shape[1:])
    result = litert.execute(write(graph), {"x": x}, threads=2)
    assert result.batch == 1
    expected = np.concatenate([Program(graph)({"x": x[i : i + 1]})["y"].numpy() for i in range(20)])
    assert_same(result.outputs["y"], expected, rtol=1e-6)


def test_equal_neighbours_do_not_hide_that_a_graph_mixes_its_batch(write):
    """The first fifty samples are equal, so a batch of them proves nothing."""
    graph = small_graphs.mixes_batch()
    x = np.concatenate([np.repeat(noise(1, 4), 50, axis=0), noise(50, 4, seed=1)])
    assert_same(litert.run(write(graph), {"x": x})["y"], 2 * x, rtol=1e-6)


@pytest.mark.parametrize("n", [3, 4, 10])
def test_a_fixed_batch_of_several_is_filled_up(write, n):
    graph = small_graphs.fully_connected(batch=4)
    x = noise(n, 6)
    w, b = graph[1].data, graph[2].data
    result = litert.execute(write(graph), {"x": x}, threads=2)
    assert_same(result.outputs["y"], (x @ w.T + b).astype(np.float32), rtol=1e-6)


def test_large_inputs_are_not_batched(write):
    """4 MB each: eight at once in every thread would cost memory and save nothing."""
    path, x = write(small_graphs.fully_connected(n_in=1_000_000, n_out=1)), noise(4, 1_000_000)
    assert litert.execute(path, {"x": x}, threads=1).batch == 1


def test_several_inputs_by_name(write):
    u, v = noise(11, 3), noise(11, 3, seed=1)
    assert_same(litert.run(write(small_graphs.two_inputs()), {"v": v, "u": u})["y"], u + v)


def test_names_are_the_signatures(write):
    graph = small_graphs.fully_connected(signature=True)
    path = write(graph)
    assert graph.input_names == ("features",)
    description = litert.describe(path)
    assert tuple(p.name for p in description.inputs) == graph.input_names
    assert tuple(p.name for p in description.outputs) == graph.output_names
    assert list(litert.run(path, {"features": noise(2, 6)})) == ["scores"]


def test_progress_ends_at_all(write):
    seen = []
    litert.run(
        write(small_graphs.fully_connected()), {"x": noise(30, 6)}, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (30, 30)


def test_outputs_may_be_changed(write):
    y = litert.run(write(small_graphs.fully_connected()), {"x": noise(3, 6)})["y"]
    y[:] = 0
    assert y.sum() == 0


# ---- description ----------------------------------------------------------------------------------------------------------


def test_describe_tells_formats_and_partitions(write):
    description = litert.describe(write(small_graphs.softmax(scale=0.125)))
    assert description.inputs == (litert.Port("x", "int8", (1, 4), (0.125,), (0,)),)
    assert description.outputs == (litert.Port("y", "int8", (1, 4), (1 / 256,), (-128,)),)
    assert description.partitions == 0
    assert description.outside == ("SOFTMAX",)


def test_float_softmax_and_dense_are_in_one_partition(write):
    path = write(small_graphs.fully_connected())
    assert (litert.describe(path).partitions, litert.describe(path).outside) == (1, ())
    reference = litert.describe(path, kernels="reference")
    assert (reference.partitions, reference.outside) == (0, ("FULLY_CONNECTED",))


# ---- time and memory ------------------------------------------------------------------------------------------------------


def test_latency_interleaves_the_models(write):
    a = write(small_graphs.fully_connected(n_in=2000, n_out=500), "a.tflite")
    b = write(small_graphs.fully_connected(), "b.tflite")
    seen = []
    times = litert.latency(
        {"large": a, "small": b}, rounds=6, warmup_seconds=0.01, block_seconds=0.002, progress=lambda *p: seen.append(p)
    )
    assert [len(t.samples_ms) for t in times.values()] == [6, 6]
    assert np.median(times["large"].samples_ms) > np.median(times["small"].samples_ms) > 0
    assert times["small"].repeats > times["large"].repeats >= 1
    assert seen[-1] == (6, 6)


def test_latency_stops_after_its_time_with_five_rounds(write):
    path = write(small_graphs.fully_connected())
    times = litert.latency({"m": path}, rounds=1000, warmup_seconds=0.01, block_seconds=0.001, max_seconds=0.0)
    assert len(times["m"].samples_ms) == 5


def test_memory_holds_the_weights(write):
    """16 MB of float weights must show in the peak."""
    memory = litert.memory(write(small_graphs.fully_connected(n_in=2000, n_out=2000)))
    if memory.reason:
        assert memory.peak is None
        pytest.skip(memory.reason)
    assert memory.peak >= 16_000_000
    assert 0 < memory.anonymous <= memory.peak


# ---- bad input ------------------------------------------------------------------------------------------------------------


def test_an_abort_is_a_sentence(write):
    """LiteRT's reference SOFTMAX checks its input scale and aborts the process."""
    path = write(small_graphs.softmax(scale=1e-9), "collapsed.tflite")
    with pytest.raises(ChildError, match=r"collapsed\.tflite: LiteRT died of SIGABRT"):
        litert.run(path, {"x": noise(4, 4)}, kernels="reference")


def test_truncated_and_random_files_are_refused(write, tmp_path):
    whole = write(small_graphs.fully_connected(n_in=100)).read_bytes()
    for number, data in enumerate((whole[: len(whole) // 2], whole[:4], b"", np.random.default_rng(0).bytes(5000))):
        path = tmp_path / f"bad{number}.tflite"
        path.write_bytes(data)
        with pytest.raises((ModelError, ChildError), match=rf"bad{number}\.tflite: "):
            litert.run(path, {"x": noise(1, 100)})
        with pytest.raises((ModelError, ChildError), match=rf"bad{number}\.tflite: "):
            litert.latency({"bad": path})


def test_a_missing_file_is_named(tmp_path):
    for task in (litert.describe, litert.memory):
        with pytest.raises(ModelError, match=r"nothere\.tflite: no such file"):
            task(tmp_path / "nothere.tflite")


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"x": noise(3, 5)}, r"input 'x' takes samples of shape \[6\], and got \[5\]"),
        ({"x": noise(3, 6, 1)}, r"takes samples of shape \[6\], and got \[6, 1\]"),
        ({"z": noise(3, 6)}, "its inputs are 'x', and the samples are for 'z'"),
        ({"x": noise(3, 6), "z": noise(3, 6)}, "its inputs are 'x', and the samples are for 'x', 'z'"),
        ({"x": noise(3, 6), "z": noise(4, 6)}, "inputs of different numbers of samples: 'x' 3, 'z' 4"),
        ({"x": noise(0, 6)}, "no samples"),
        ({}, "no samples"),
    ],
)
def test_samples_that_do_not_fit_are_explained(write, inputs, says):
    with pytest.raises(DataError, match=says):
        litert.run(write(small_graphs.fully_connected()), inputs)


def test_a_full_disk_is_explained(write, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    path = write(small_graphs.fully_connected())
    monkeypatch.setattr(litert.spool, "write_header", full)
    with pytest.raises(OutputError, match=r"cannot work in .* \(No space left on device\); .* set TMPDIR"):
        litert.run(path, {"x": noise(3, 6)})


def test_what_an_integer_input_cannot_store_is_explained(write):
    path = write(small_graphs.softmax())
    x = noise(30, 4)
    x[17, 2] = np.nan
    with pytest.raises(DataError, match="sample 17 of input 'x' holds NaN or infinity, which int8 cannot store"):
        litert.run(path, {"x": x})
    with pytest.raises(DataError, match="input 'x' takes int8 or real numbers as float32, and got uint8"):
        litert.run(path, {"x": np.zeros((2, 4), np.uint8)})


# ---- real models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["resnet8_cifar10_int8", "kws_int8", "vww_96_int8", "ad01_float", "mobilenet_v3_small_cifar10"]
)
def test_real_models_batched_and_threaded_are_what_single_samples_give(shared, name):
    path = shared / "models" / f"{name}.tflite"
    port = litert.describe(path).inputs[0]
    x = noise(20, *port.shape[1:])
    many, one = (litert.execute(path, {port.name: x}, batch=b, threads=t, raw=True) for b, t in ((8, 3), (1, 1)))
    assert many.batch == 8
    for output, values in one.outputs.items():
        assert_same(many.outputs[output], values, rtol=1e-5 if values.dtype.kind == "f" else 0)


def test_names_of_real_models_are_the_graphs(shared):
    for path in sorted((shared / "models").glob("*.tflite")):
        description, graph = litert.describe(path), tflite.read(path)
        assert tuple(p.name for p in description.inputs) == graph.input_names
        assert tuple(p.name for p in description.outputs) == graph.output_names

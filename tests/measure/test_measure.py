"""Latency, memory, size, cost and parity: worked numbers, and the real models'."""

import numpy as np
import pytest
import small_graphs

from intact.errors import DataError
from intact.formats import tflite
from intact.measure import cost, latency, memory, parity, size
from intact.network.graph import Tensor
from intact.numbers.affine import Affine, Float

# ---- latency ----------------------------------------------------------------------------------------------------------------


def test_latency_is_the_median():
    m = latency.latency([1.0, 2.0, 3.0, 4.0, 100.0], "1 thread")
    assert (m.value, m.n) == (3.0, 5)
    assert 1.0 <= m.low <= 3.0 <= m.high <= 100.0
    assert "quartiles 2 and 4, all within 1 to 100 ms" in m.how
    assert m.how.endswith("1 thread")


def test_the_interval_of_a_median_covers_it():
    """Exponential times have median ln 2; 60 draws of 40."""
    rng = np.random.default_rng(0)
    intervals = [latency.latency(rng.exponential(size=40).tolist(), "") for _ in range(60)]
    covered = sum(m.low <= np.log(2) <= m.high for m in intervals)
    assert covered / 60 >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)


def test_speedup_is_paired_by_round():
    """The machine slows down tenfold half-way; the ratio of rounds does not care."""
    drift = np.where(np.arange(40) < 20, 1.0, 10.0)
    rng = np.random.default_rng(0)
    of, against = 2.0 * drift * rng.normal(1, 0.01, 40), 3.4 * drift * rng.normal(1, 0.01, 40)
    m = latency.speedup(of.tolist(), against.tolist(), "1 thread")
    assert m.value == pytest.approx(1.7, abs=0.02)
    assert m.low < 1.7 < m.high
    assert m.high - m.low < 0.05


def test_times_that_are_none_are_refused():
    with pytest.raises(DataError, match="no times"):
        latency.latency([], "")
    with pytest.raises(DataError, match="3 and 2 blocks"):
        latency.speedup([1, 2, 3], [1, 2], "")


# ---- memory -----------------------------------------------------------------------------------------------------------------


def test_figures_name_the_op():
    m = memory.peak(small_graphs.residual())
    assert (m.value, m.unit) == (3072, "bytes")
    assert "at CONV_2D 'b'" in m.how


# ---- size and cost ----------------------------------------------------------------------------------------------------------


def test_parameters_are_counted_once_and_macs_by_shape():
    (row,) = cost.costs(small_graphs.fully_connected(n_in=6, n_out=3))
    assert (row.kind, row.macs, row.parameters, row.parameter_bytes) == ("FULLY_CONNECTED", 18, 21, 84)
    rows = cost.costs(small_graphs.residual(size=8, channels=4))
    assert [r.macs for r in rows] == [8 * 8 * 4 * 36, 8 * 8 * 4 * 36, 0]
    assert cost.macs(small_graphs.residual()).value == 2 * 8 * 8 * 4 * 36


def test_a_symbolic_batch_counts_one_sample():
    fixed, symbolic = (small_graphs.fully_connected(batch=b) for b in (1, None))
    assert cost.costs(fixed) == cost.costs(symbolic)


def test_published_macs(shared):
    """MLPerf Tiny (Banbury et al. 2021): 12.5 M for ResNet8, 2.7 M for keyword spotting, 0.264 M for the autoencoder."""
    for name, macs in (("resnet8_cifar10", 12.50e6), ("kws_float", 2.657e6), ("ad01_float", 0.2642e6)):
        assert cost.macs(tflite.read(shared / "models" / f"{name}.tflite")).value == pytest.approx(macs, rel=1e-3)


def test_the_parts_of_a_file_add_up(shared):
    path = shared / "models" / "vww_96_int8.tflite"
    found = size.file_size(tflite.read(path), path.stat().st_size)
    parts = (found.parameters, found.scales, found.names, found.shapes, found.metadata, found.tables)
    assert sum(parts) == found.file == 333_288
    assert found.parameters == 208_112 + 4 * (210_850 - 208_112)  # int8 weights and int32 biases
    assert min(parts) >= 0


def test_size_of_a_written_file():
    graph = small_graphs.fully_connected(n_in=500, n_out=40)
    data = tflite.write(graph)
    m = size.size(graph, len(data))
    assert m.value == len(data)
    assert 1 < size.file_size(graph, len(data)).ratio < 1.02


def test_four_bit_weights_are_packed():
    graph = small_graphs.fully_connected(n_in=3, n_out=3)
    w = Tensor(1, "w", (3, 3), Affine((0.1,), (0,), "int4"), np.zeros((3, 3), np.int8))
    assert cost.parameter_bytes(w) == 5
    assert cost.parameter_bytes(graph[2]) == 12


# ---- parity -----------------------------------------------------------------------------------------------------------------


def test_the_float_simulator_is_compared_in_steps():
    fmt = Affine((0.5,), (0,))
    simulated = np.array([[0.0, 1.0, 3.0], [2.0, 1.0, 0.0]], np.float32)
    ran = np.array([[0.0, 1.0, 3.0], [2.0, 2.5, 0.5]], np.float32)
    values = {m.name: m.value for m in parity.approximate(simulated, ran, fmt)}
    assert values["identical stored integers"] == pytest.approx(100 * 4 / 6)
    assert values["largest difference"] == 3


def test_elements_of_one_sample_err_together():
    """Half the samples are off in all of their 100 elements: the interval is that of 40 samples, not of 4,000 elements."""
    y = np.zeros((40, 100), np.float32)
    y[::2] = 1
    m = next(iter(parity.approximate(np.zeros_like(y), y, Affine((1.0,), (0,)))))
    assert m.value == 50
    assert m.low < 40
    assert m.high > 60


def test_identical_integers_are_not_claimed_with_certainty():
    y = np.zeros((40, 10), np.float32)
    m = next(iter(parity.approximate(y, y, Affine((1.0,), (0,)))))
    assert (m.value, m.high) == (100, 100)
    assert m.low == pytest.approx(100 * 40 / (40 + 1.96**2), abs=0.01)


def test_the_simulator_and_equal_maps():
    y = np.random.default_rng(0).normal(size=(5, 4, 4, 2)).astype(np.float32)
    found = parity.approximate(y, y, Float())
    assert {m.name: m.value for m in found} == {"SQNR of runtime against simulator": np.inf}


def test_the_simulator_and_other_shapes_are_refused():
    with pytest.raises(DataError, match=r"shapes \[2, 3\] and \[2, 4\]"):
        parity.approximate(np.zeros((2, 3)), np.zeros((2, 4)), Float())


def test_the_quartiles_of_a_latency_are_read_from_how_it_says_them():
    taken = latency.latency([1.0, 2.0, 3.0, 4.0, 5.0], "here")
    assert latency.quartiles(taken.how) == (2.0, 4.0)
    assert latency.quartiles("from tensor lifetimes") is None

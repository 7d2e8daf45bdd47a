"""The example's figures, worked out again: each clip's error by Intact's own runner, the AUC by ranks."""

import re

import example_runs
import numpy as np
import pytest
import scipy.stats

from intact.data import arrays, input_specs
from intact.formats.tflite.read import read
from intact.measure.run_outputs import outputs_of
from intact.planning.targets import target

pytest.importorskip("tensorflow", reason="the example trains with Keras")
pytest.importorskip("sklearn", reason="the example takes its AUC from scikit-learn")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return example_runs.run("anomaly_detection", tmp_path_factory.mktemp("anomaly_detection"))


@pytest.fixture(scope="module")
def clips():
    with example_runs.modules(example_runs.EXAMPLES / "anomaly_detection", "data") as (data,):
        return data.mixed(400, seed=1)[0]


def by_ranks(faulty, odd):
    """The share of pairs in which the faulty machine is the odder one (Mann and Whitney)."""
    ranks = scipy.stats.rankdata(odd)
    n = faulty.sum()
    return (ranks[faulty].sum() - n * (n + 1) / 2) / (n * (len(odd) - n))


def rows(out):
    return example_runs.rows(out)[1:]


@pytest.mark.parametrize(("name", "file"), [("float", "float.tflite"), ("int8, Intact", "model.tflite")])
def test_errors_of_clips_are_those_of_the_written_file(out, clips, name, file):
    windows = clips.reshape(-1, 640)
    samples = arrays(windows).bind(input_specs(read(out / file)), None)
    (rebuilt,) = outputs_of(out / file, samples, target("mcu").kernels, lambda *_: None).values()
    expected = ((rebuilt - windows) ** 2).reshape(400, -1).mean(axis=1)
    np.testing.assert_allclose(np.load(out / "oddness.npz")[name], expected, rtol=1e-4)


def test_table_holds_the_auc_of_each_file(out):
    kept = np.load(out / "oddness.npz")
    fault = kept["fault"]
    table = {row[0]: row for row in rows(out)}
    for name in ("float", "int8, TFLite converter", "int8, Intact"):
        assert float(table[name][1]) == pytest.approx(by_ranks(fault > 0, kept[name]), abs=6e-5)
        for number, cell in enumerate(table[name][4:9], start=1):
            chosen = (fault == 0) | (fault == number)
            assert float(cell) == pytest.approx(by_ranks(fault[chosen] > 0, kept[name][chosen]), abs=6e-4)


def test_loss_is_within_its_interval_and_the_floor_is_told(out):
    table = {row[0]: row for row in rows(out)}
    auc = float(table["float"][1])
    for name in ("int8, TFLite converter", "int8, Intact"):
        loss, low, high = map(float, re.findall(r"-?\d+\.\d+", table[name][2]))
        assert low <= loss <= high
        assert loss == pytest.approx(auc - float(table[name][1]), abs=1.1e-4)
    told = (out / "table.md").read_text()
    assert ("not reproduced" in told) == (auc < 0.85)

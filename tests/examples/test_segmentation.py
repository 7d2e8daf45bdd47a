"""The segmentation example: its smallest budget runs, and its table holds what its files give."""

import re

import example_runs
import numpy as np
import pytest

from intact.runtime import litert

CLASSES, SCENES = 5, 64


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("tensorflow", reason="the example trains with Keras")
    pytest.importorskip("sklearn", reason="the example counts with scikit-learn")
    return example_runs.run("segmentation", tmp_path_factory.mktemp("segmentation"))


@pytest.fixture(scope="module")
def drawn():
    with example_runs.modules(example_runs.EXAMPLES / "segmentation", "data") as (data,):
        return dict(zip("xy", data.scenes(SCENES, seed=1), strict=True))


def mean_iou(classes, masks):
    """By sets of pixels, class by class."""
    shares = []
    for c in range(CLASSES):
        a, b = set(np.flatnonzero(classes == c)), set(np.flatnonzero(masks == c))
        shares.append(len(a & b) / len(a | b))
    return 100 * sum(shares) / CLASSES


def test_the_table_holds_the_miou_of_the_written_file(run, drawn):
    outputs = litert.run(run / "model.tflite", {litert.describe(run / "model.tflite").inputs[0].name: drawn["x"]})
    (scores,) = outputs.values()
    shown = re.search(r"\| Intact, int8 \| ([\d.]+) \|", (run / "table.md").read_text())
    assert float(shown[1]) == pytest.approx(mean_iou(scores.argmax(-1), drawn["y"]), abs=0.006)


def test_one_epoch_misses_the_floor_and_the_table_says_so(run):
    assert "not reproduced: missed" in (run / "table.md").read_text()


def test_every_pixel_of_a_scene_has_its_class(drawn):
    assert drawn["x"].shape == (SCENES, 64, 64, 3)
    assert 0 <= drawn["x"].min() <= drawn["x"].max() <= 1
    assert set(np.unique(drawn["y"])) == set(range(CLASSES))

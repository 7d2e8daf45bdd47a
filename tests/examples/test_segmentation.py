"""The segmentation example: its smallest budget runs, and its table holds what its files give."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from intact.runtime import litert

FOLDER = Path(__file__).parents[2] / "examples" / "segmentation"
CLASSES, SCENES = 5, 64


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pytest.importorskip("tensorflow", reason="the example trains with Keras")
    pytest.importorskip("sklearn", reason="the example counts with scikit-learn")
    out = tmp_path_factory.mktemp("segmentation")
    command = [sys.executable, FOLDER / "recipe.py", "--budget", "test", "--out", out]
    subprocess.run(command, check=True, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, capture_output=True)
    return out


@pytest.fixture(scope="module")
def test_scenes():
    code = f"import sys, numpy as np, data; x, y = data.scenes({SCENES}, seed=1); np.savez(sys.stdout.buffer, x=x, y=y)"
    made = subprocess.run([sys.executable, "-c", code], cwd=FOLDER, check=True, capture_output=True).stdout
    return dict(np.load(io.BytesIO(made)))


def mean_iou(classes, masks):
    """By sets of pixels, class by class."""
    shares = []
    for c in range(CLASSES):
        a, b = set(np.flatnonzero(classes == c)), set(np.flatnonzero(masks == c))
        shares.append(len(a & b) / len(a | b))
    return 100 * sum(shares) / CLASSES


def test_the_table_holds_the_miou_of_the_written_file(run, test_scenes):
    outputs = litert.run(run / "model.tflite", {litert.describe(run / "model.tflite").inputs[0].name: test_scenes["x"]})
    (scores,) = outputs.values()
    shown = re.search(r"\| Intact, int8 \| ([\d.]+) \|", (run / "table.md").read_text())
    assert float(shown[1]) == pytest.approx(mean_iou(scores.argmax(-1), test_scenes["y"]), abs=0.006)


def test_one_epoch_misses_the_floor_and_the_table_says_so(run):
    assert "not reproduced: missed" in (run / "table.md").read_text()


def test_every_pixel_of_a_scene_has_its_class(test_scenes):
    assert test_scenes["x"].shape == (SCENES, 64, 64, 3)
    assert 0 <= test_scenes["x"].min() <= test_scenes["x"].max() <= 1
    assert set(np.unique(test_scenes["y"])) == set(range(CLASSES))

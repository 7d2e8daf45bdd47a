"""The example on a hundred drawn pictures: what its table says is worked out again from the files that it wrote."""

import re

import example_runs
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("tensorflow", reason="the example trains with Keras")
pytest.importorskip("sklearn", reason="the example takes photos of something else from scikit-learn")
pytestmark = pytest.mark.timeout(900)
CLASSES, EACH = 10, 10


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder per class: one color each, in noise."""
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for label, color in enumerate(draw.integers(60, 196, (CLASSES, 3))):
        (folder / f"{label}").mkdir()
        for n in range(EACH):
            pixels = np.clip(color + draw.normal(0, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{label}" / f"{n}.png")
    return folder


@pytest.fixture(scope="module")
def out(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mobilenet_v2_cifar10")
    return example_runs.run("mobilenet_v2_cifar10", folder, "--train", pictures, "--test", pictures)


def right(file, pictures):
    """Per cent of the pictures that ``file`` has right, one at a time in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    runtime = Interpreter(str(file))
    runtime.allocate_tensors()
    taken, given = runtime.get_input_details()[0], runtime.get_output_details()[0]
    scale, zero_point = taken["quantization"]
    hits = []
    for path in pictures.glob("*/*.png"):
        x = np.asarray(Image.open(path), np.float32)[None] / np.float32(127.5) - 1
        if scale:
            x = np.clip(np.round(x / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
        runtime.set_tensor(taken["index"], x)
        runtime.invoke()
        hits.append(runtime.get_tensor(given["index"]).argmax() == int(path.parent.name))
    return 100 * np.mean(hits)


def cells(out):
    lines = (out / "table.md").read_text().splitlines()
    return {
        row[0]: row[1:] for row in ([c.strip() for c in line.strip("| ").split("|")] for line in lines if line.startswith("| "))
    }


def test_the_table_says_what_the_files_have_right(out, pictures):
    rows = cells(out)
    assert float(rows["float"][1]) == pytest.approx(right(out / "float.tflite", pictures), abs=1.0)
    last = rows["Intact, 200 photos of something else"]
    assert float(last[1]) == pytest.approx(right(out / "model.tflite", pictures), abs=1.0)
    assert float(rows["float"][1]) - float(last[1]) == pytest.approx(float(last[2].split()[0]), abs=0.011)


def test_every_claim_of_the_reports_has_its_rows(out):
    rows = cells(out)
    for photos in ("100 photos", "200 photos of something else"):
        assert {f"converter, {photos}", f"Intact, {photos}"} <= rows.keys()
    assert rows["converter, 100 photos"][0] == "76.50, lost 4.50; 73.30, lost 5.90"


def test_a_float_network_below_its_floor_is_not_called_reproduced(out):
    said = (out / "table.md").read_text()
    assert float(cells(out)["float"][1]) < 80
    assert "80.0 % of 100 photos: not reproduced" in said
    assert not (out / "run").exists()


def test_the_keras_file_with_its_optimizer_makes_a_larger_ratio(out):
    said = (out / "table.md").read_text()
    with_optimizer, without = map(float, re.search(r"([\d.]+)x of the \.keras file .*?([\d.]+)x of the float", said).groups())
    assert with_optimizer > 2 * without
    assert without == pytest.approx((out / "float.tflite").stat().st_size / (out / "model.tflite").stat().st_size, abs=0.006)

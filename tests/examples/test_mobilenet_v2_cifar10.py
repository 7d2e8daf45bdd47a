"""The example on a hundred drawn pictures: what its table says is worked out again from the files that it wrote."""

import re

import example_runs
import numpy as np
import pytest
from PIL import Image

import intact

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
    paths = sorted(pictures.glob("*/*.png"))
    pixels = (np.asarray(Image.open(path), np.float32) / np.float32(127.5) - 1 for path in paths)
    return 100 * np.mean(example_runs.classes(file, pixels) == [int(path.parent.name) for path in paths])


def test_the_table_says_what_the_files_have_right(out, pictures):
    rows = example_runs.by_name(out)
    (out / "float.tflite").write_bytes(intact.write_tflite(intact.load(out / "float.keras")))
    assert float(rows["float"][1]) == pytest.approx(right(out / "float.tflite", pictures), abs=1.0)
    for name, file in (("200 photos of something else", "model.tflite"), ("fine-tuned without labels", "run/model.tflite")):
        row = rows[f"Intact, {name}"]
        assert float(row[1]) == pytest.approx(right(out / file, pictures), abs=1.0)
        assert float(rows["float"][1]) - float(row[1]) == pytest.approx(float(row[2].split()[0]), abs=0.011)


def test_every_claim_of_the_reports_has_its_rows(out):
    rows = example_runs.by_name(out)
    for photos in ("100 photos", "200 photos of something else"):
        assert {f"converter, {photos}", f"Intact, {photos}"} <= rows.keys()
    assert rows["converter, 100 photos"][0] == "76.50, lost 4.50; 73.30, lost 5.90"


def test_a_float_network_below_its_floor_is_not_called_reproduced(out):
    said = (out / "table.md").read_text()
    assert float(example_runs.by_name(out)["float"][1]) < 80
    assert "80.0 % of 100 photos: not reproduced" in said


def test_the_keras_file_with_its_optimizer_makes_a_larger_ratio(out):
    said = (out / "table.md").read_text()
    with_optimizer, without = map(float, re.search(r"([\d.]+)x of the \.keras file .*?([\d.]+)x of the float", said).groups())
    assert with_optimizer > 2 * without
    assert with_optimizer == pytest.approx(
        (out / "float.keras").stat().st_size / (out / "model.tflite").stat().st_size, abs=0.006
    )


def test_the_reports_acceptance_is_judged_and_has_a_page(out):
    rows = example_runs.by_name(out)
    assert rows["size >= 4x"][0] == "fail"
    assert rows["integer only"][0] == "pass"
    page = (out / "report.html").read_text()
    for criterion in ("size &gt;= 4x", "integer only", "drop &lt;= 2"):
        assert criterion in page


@pytest.fixture(scope="module")
def training():
    with example_runs.modules(example_runs.EXAMPLES / "mobilenet_v2_cifar10", "training") as (module,):
        yield module


def test_weights_go_from_size_to_size(training, pictures, monkeypatch):
    """What one stage learned is what the next begins with."""
    stages = (training.Stage(32, 1, 1e-3), training.Stage(64, 1, 1e-3))
    monkeypatch.setitem(training.BUDGETS, "two", training.Budget(20, 0.35, (), stages))
    seen = []
    monkeypatch.setattr(training, "fit", lambda model, *_: seen.append(model))
    made = training.trained(pictures, "two")
    assert [model.input_shape[1] for model in seen] == [32, 64]
    for before, after in zip(seen[0].get_weights(), made.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_photos_are_the_same_at_each_call_and_of_all_classes(training, pictures):
    one, other = (list(training.read(pictures, 32, 40).as_numpy_iterator()) for _ in range(2))
    assert len(one) == 40
    assert all(np.array_equal(x, z) and y == v for (x, y), (z, v) in zip(one, other, strict=True))
    assert -1 <= min(x.min() for x, _ in one) < max(x.max() for x, _ in one) <= 1
    assert len({int(y) for _, y in one}) > 7


def test_what_stages_come_to_is_averaged_where_they_ask_for_it(training, pictures, monkeypatch):
    rates = iter((7.0, 1.0, 3.0))
    stages = tuple(training.Stage(32, 1, 0, averaged=averaged) for averaged in (False, True, True))
    monkeypatch.setitem(training.BUDGETS, "three", training.Budget(20, 0.35, (), stages))
    monkeypatch.setattr(training, "settle", lambda *_: None)

    def fit(model, *_):
        value = next(rates)
        model.set_weights([np.full_like(w, value) for w in model.get_weights()])

    monkeypatch.setattr(training, "fit", fit)
    assert all((w == 2).all() for w in training.trained(pictures, "three").get_weights())


def test_statistics_of_batch_norm_are_taken_anew(training):
    import keras  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.BatchNormalization(momentum=0.999)])
    pixels = np.random.default_rng(0).normal((1, 2, 3), 0.5, (10_000, 4, 4, 3)).astype(np.float32)
    training.settle(model, tf.data.Dataset.from_tensor_slices((pixels, np.zeros(10_000))))
    np.testing.assert_allclose(model.layers[0].moving_mean, [1, 2, 3], rtol=0.02)
    np.testing.assert_allclose(model.layers[0].moving_variance, [0.25] * 3, rtol=0.05)

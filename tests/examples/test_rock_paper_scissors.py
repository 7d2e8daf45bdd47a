"""The example on sixty drawn hands: its table against the files that it wrote, and what it says the report did."""

import zipfile

import example_runs
import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the example trains with PyTorch")
pytest.importorskip("litert_torch", reason="the report's recipe is litert-torch's")
pytest.importorskip("sklearn", reason="k-means is scikit-learn's")
pytestmark = pytest.mark.timeout(900)
EXAMPLE = example_runs.EXAMPLES / "rock_paper_scissors"


@pytest.fixture(scope="module")
def parts():
    with example_runs.modules(EXAMPLE, "hands", "network", "reported") as found:
        yield found


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return example_runs.run("rock_paper_scissors", tmp_path_factory.mktemp("rock_paper_scissors"))


def right(file, pictures, labels):
    """Per cent, one picture at a time."""
    return 100 * np.mean(example_runs.classes(file, pictures.transpose(0, 2, 3, 1)) == labels)


def test_the_table_says_what_float_and_int8_have_right(out, parts):
    hands, network, _ = parts
    pictures, labels = hands.drawn(60, 64, seed=1)
    exact = network.MobileNetV2(3).eval()
    exact.load_state_dict(torch.load(out / "float.pt"))
    with torch.inference_mode():
        of_float = 100 * np.mean(exact(torch.from_numpy(pictures)).argmax(1).numpy() == labels)
    rows = example_runs.by_name(out)
    assert float(rows["float"][1]) == pytest.approx(of_float, abs=1.7)  # one picture of 60
    assert float(rows["int8"][4]) == pytest.approx(right(out / "model.tflite", pictures, labels), abs=0.01)


def test_every_format_of_the_report_has_its_row(out):
    formats = {name.split(";")[0] for name in example_runs.by_name(out)}
    assert {"float", "int8", "linear int8", "linear int16", "k-means 8 bits", "k-means 4 bits", "k-means 2 bits"} <= formats


def test_indices_of_four_and_two_bits_are_packed_where_the_report_stores_bytes(out):
    rows = {
        name.split(";")[0]: [float(cell.rstrip("x")) for cell in row if cell.endswith("x")][-2:]
        for name, row in example_runs.by_name(out).items()
    }
    assert rows["k-means 4 bits"][1] > 6
    assert rows["k-means 2 bits"][1] > 10


def test_a_float_network_below_its_floor_is_not_called_reproduced(out):
    assert float(example_runs.by_name(out)["float"][1]) < 80
    assert "80.0 % of 60 pictures: not reproduced" in (out / "table.md").read_text()


def test_the_layers_are_those_that_compute_most(out):
    """The last convolution: 2 x 2 places, 320 to 1280 channels, two FLOPs a product."""
    assert example_runs.by_name(out)["CONV_2D 'features.18.0'"][0] == f"{2 * 4 * 320 * 1280 / 1e6:.2f}"
    listed = [line.strip("| ").split(" | ") for line in (out / "layers.md").read_text().splitlines()[2:]]
    assert len(listed) == 53  # 52 convolutions and a dense layer
    flops = [float(row[1]) for row in listed]
    assert flops == sorted(flops, reverse=True)
    macs = float(example_runs.by_name(out)["multiply-accumulates"][1].replace(",", ""))
    assert sum(flops) == pytest.approx(2e-6 * macs, abs=0.3)  # as many numbers rounded to a hundredth


def test_the_network_is_the_report_s(parts):
    _, network, _ = parts
    assert sum(weights.numel() for weights in network.MobileNetV2(3).parameters()) == 2_227_715


@pytest.mark.parametrize(("bits", "size"), [(8, 1), (16, 2)])
def test_a_line_rounds_by_half_a_step_at_most(parts, bits, size):
    weights = np.random.default_rng(0).normal(0, 0.1, (40, 30)).astype(np.float32)
    rounded, (stored, scale) = parts[2].line(bits)(weights)
    assert stored.dtype.itemsize == size
    assert np.abs(rounded - weights).max() <= 0.5001 * scale[0] + 1e-7
    assert np.abs(stored).max() == 2 ** (bits - 1) - 1


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_k_means_holds_a_byte_for_each_weight(parts, bits):
    weights = np.random.default_rng(0).normal(0, 0.1, (40, 30)).astype(np.float32)
    rounded, (indices, centres) = parts[2].k_means(bits)(weights)
    assert indices.nbytes == weights.size
    assert len(np.unique(rounded)) <= len(centres) == 2**bits
    assert np.array_equal(rounded, centres[indices].reshape(weights.shape))
    nearest = np.abs(weights.reshape(-1, 1) - centres.ravel()).min(1)
    assert np.abs(np.abs(rounded - weights).ravel() - nearest).max() < 1e-6


def test_the_report_s_photos_are_downloaded_once_and_read(parts, tmp_path, monkeypatch):
    hands, _, _ = parts
    for n, name in enumerate(hands.CLASSES):
        for part in ("rps", "rps-test-set"):
            path = tmp_path / "served" / part / name / "1.png"
            path.parent.mkdir(parents=True)
            Image.new("RGB", (300, 300), (85 * n, 0, 255)).save(path)
    for part in ("rps", "rps-test-set"):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as packed:
            for path in (tmp_path / "served" / part).rglob("*.png"):
                packed.write(path, path.relative_to(tmp_path / "served"))
    monkeypatch.setattr(hands, "ADDRESS", (tmp_path / "{}.zip").as_uri().replace("%7B%7D", "{}"))
    pictures, labels = hands.photographed(tmp_path / "photos", "train", 128)
    assert pictures.shape == (3, 3, 128, 128)
    assert labels.tolist() == [0, 1, 2]
    assert pictures[1, :, 0, 0].tolist() == pytest.approx([85 / 127.5 - 1, -1, 1])
    (tmp_path / "rps.zip").unlink()
    again, _ = hands.photographed(tmp_path / "photos", "train", 128)
    assert np.array_equal(again, pictures)

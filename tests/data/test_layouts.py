"""Folders of detectors and segmentation networks: a data.yaml, images beside masks, images alone."""

import builtins
import contextlib
import json

import numpy as np
import pytest
import small_graphs
from compare import assert_same
from images import pixels, write_image
from PIL import Image
from typer.testing import CliRunner

import intact
from intact import data
from intact.cli.app import app
from intact.data import InputSpec, Preprocessing, paths
from intact.errors import DataError, IntactError, MissingExtraError, OptionError
from intact.network.graph import Op, Tensor
from intact.ops.convolution import Conv2D

RGB = (InputSpec("x", (1, 8, 8, 3)),)


def names(samples):
    return [samples.name(i).rpartition("/")[2] for i in range(len(samples))]


# ---- YOLO -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def detector(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        for i in range(count):
            write_image(tmp_path / "images" / split / f"{split}{i}.png", pixels(i, (8, 16)))
            (tmp_path / "labels" / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "labels" / split / f"{split}{i}.txt").write_text("0 0.5 0.5 1 1\n")
    return tmp_path


def write(folder, text):
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train\nval: images/val\nnames: [a, b]\nnc: 2\n",
        "path: .\ntrain: [images/train]\nval: images/val\nnames:\n  0: a\n",
        "train: ../images/train\nval: ../images/val\n",
        "path: ../somewhere/else\ntrain: images/train\nval: images/val\n",
    ],
    ids=["plain", "path and list", "roboflow", "path elsewhere"],
)
def test_a_data_yaml_names_its_images(detector, text):
    path = write(detector, text)
    assert names(data.load(path).bind(RGB, None)) == ["train0.png", "train1.png", "train2.png"]
    reports = data.load(path, use="eval").bind(RGB, None)
    assert names(reports) == ["val0.png", "val1.png"]
    assert reports.labels is None
    assert [f.kind for f in reports.findings] == ["stretched"]


def test_a_data_yaml_may_name_a_list_of_files(detector):
    (detector / "train.txt").write_text("./images/train/train1.png\nimages/val/val0.png\n\n")
    path = write(detector, f"path: {detector}\ntrain: train.txt\n")
    assert names(data.load(path).bind(RGB, None)) == ["train1.png", "val0.png"]
    assert len(data.load(path, use="eval").bind(RGB, None)) == 2  # there is no val


def test_a_letterbox_is_no_remark(detector):
    path = write(detector, "train: images/train\n")
    samples = data.load(path, Preprocessing(resize="letterbox", pixels=(0, 255))).bind(RGB, None)
    assert samples.findings == ()
    assert_same(samples.batch([0])[0]["x"][0, 0], np.full((8, 3), 114, np.float32))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nc: 2\n", "names no images; it needs a line such as train: images/train"),
        ("train: images/none\n", "the images of 'train' are missing: there is no .*images/none"),
        ("train: labels/train\n", "the images of 'train' are missing: there are none in labels/train"),
        ("train: 3\n", "the images of 'train' are missing: there is no .*3; correct the entry"),
        ("train: {a: b}\n", "the entry 'train' holds something else than names of folders; give a folder of images"),
        ("train: [[images/train]]\n", "the entry 'train' holds something else than names of folders"),
        ("train: ~\nval: null\n", "names no images"),
        ("train: data.yaml\n", "give a folder of images, or a .txt that lists them"),
        ("- a\n", "is no data.yaml"),
        ("a: [\n", "cannot be read as YAML"),
        ("train: !!python/object/apply:os.system ['echo no']\n", "there is no .*echo no; correct the entry"),
    ],
)
def test_a_data_yaml_is_refused_in_words(detector, capfd, text, says):
    with pytest.raises(DataError, match=f"data.yaml: .*{says}"):
        data.load(write(detector, text))
    assert capfd.readouterr().out == ""


def test_aliases_do_not_multiply(detector):
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)) + "train: images/train\n"
    assert len(data.load(write(detector, bomb)).bind(RGB, None)) == 3


def test_without_the_package_a_line_is_typed(detector, monkeypatch):
    real = builtins.__import__

    def no_yaml(name, *args, **kwargs):
        if name == "yaml":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_yaml)
    with pytest.raises(MissingExtraError, match=r"pip install 'intact\[yaml\]'"):
        data.load(write(detector, "train: images/train\n"))


# ---- masks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def segmented(tmp_path):
    for i in range(3):
        write_image(tmp_path / "images" / f"{i}.jpg", pixels(i, (8, 16)))
        mask = np.zeros((8, 16), np.uint8)
        mask[:, 8:] = i
        write_image(tmp_path / "masks" / f"{i}.png", mask)
    return tmp_path


def test_masks_beside_images_are_targets(segmented):
    samples = data.folder(segmented, resize="letterbox").bind(RGB, None)
    assert names(samples) == ["0.jpg", "1.jpg", "2.jpg"]
    assert samples.labels is None
    assert samples.targets.shape == (3, 8, 8)
    assert_same(np.array(samples.targets[2, 3]), np.array([0, 0, 0, 0, 2, 2, 2, 2], np.uint8))
    assert set(samples.targets[:, 0].ravel()) == {255}
    assert_same(samples.take([2]).targets[0], np.array(samples.targets[2]))
    assert [f.kind for f in samples.findings] == ["masks"]


def test_white_is_class_one_where_there_is_only_black_and_white(segmented):
    for i in range(3):
        write_image(segmented / "masks" / f"{i}_mask.png", np.full((8, 16), 255, np.uint8))
        (segmented / "masks" / f"{i}.png").unlink()
    samples = data.folder(segmented, resize="letterbox").bind(RGB, None)
    assert_same(np.array(samples.targets[0, :, 0]), np.array([255, 255, 1, 1, 1, 1, 255, 255], np.uint8))


def test_images_in_other_formats_of_masks(segmented):
    Image.fromarray(np.full((8, 16), 255, np.uint8)).convert("1").save(segmented / "masks" / "0.png")
    assert set(data.folder(segmented).bind(RGB, None).targets[0].ravel()) == {1}
    write_image(segmented / "masks" / "1.png", pixels(0, (8, 16)))
    with pytest.raises(DataError, match=r"masks/1\.png: is a mask in colours"):
        data.folder(segmented).bind(RGB, None)


def test_an_image_without_a_mask_is_named(segmented):
    (segmented / "masks" / "1.png").unlink()
    with pytest.raises(DataError, match=r"images/1\.jpg has no mask of its name in masks"):
        data.folder(segmented)


def test_images_alone_in_a_folder_of_their_own_are_unlabelled(detector):
    samples = data.folder(detector).bind(RGB, 80)  # labels/ holds text
    assert len(samples) == 5
    assert samples.labels is None
    assert samples.targets is None


def test_folders_of_classes_stay_classes(tmp_path):
    for name in ("images", "videos"):
        write_image(tmp_path / name / "0.png", pixels(0))
    assert data.folder(tmp_path).bind(RGB, 2).class_names == ("images", "videos")


# ---- load -----------------------------------------------------------------------------------------------------------


def test_every_file_that_is_let_through_has_a_reader(tmp_path):
    for suffix in paths.FILES:
        (tmp_path / f"a{suffix}").write_bytes(b"1,2\n")
        with contextlib.suppress(IntactError):  # but no KeyError
            data.load(tmp_path / f"a{suffix}")


def test_a_label_is_for_tables(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,0\n2,1\n")
    assert_same(intact.data.load(tmp_path / "a.csv", label="b").bind((InputSpec("x", (1, 1)),), 2).labels, np.array([0, 1]))
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 2)))
    with pytest.raises(OptionError, match=r"--label names a column of a \.csv"):
        data.load(tmp_path / "a.npz", label="b")


def test_masks_make_an_iou_from_the_shell(segmented, tmp_path_factory):
    out = tmp_path_factory.mktemp("iou")
    w = np.random.default_rng(0).normal(size=(3, 1, 1, 3)).astype(np.float32)
    flow = (Tensor(0, "x", (1, 8, 8, 3)), Tensor(2, "y", (1, 8, 8, 3)))
    constants = (Tensor(1, "w", w.shape, data=w), Tensor(3, "b", (3,), data=np.zeros(3, np.float32)))
    net = small_graphs.graph((*flow, *constants), [Op(Conv2D(), (0, 1, 3), (2,))], (0,), (2,))
    (out / "net.tflite").write_bytes(intact.write_tflite(net))
    options = ["--data", segmented, "--eval", segmented, "--metric", "iou", "--resize", "letterbox", "--out", out / "run"]
    done = CliRunner().invoke(app, [str(a) for a in ("quantize", out / "net.tflite", *options, "--quiet")])
    assert done.exit_code == 0, done.output
    record = json.loads((out / "run" / "result.json").read_text())
    found = {m["name"]: m["value"] for m in record["measurements"] if m["of"] == "float"}
    samples = data.folder(segmented, resize="letterbox").bind(RGB, None)
    x, wanted = samples.batch(range(3))[0]["x"], np.array(samples.targets)
    made, known = (x @ w[:, 0, 0].T).argmax(-1), wanted < 3
    each = [((made == c) & (wanted == c))[known].sum() / ((made == c) | (wanted == c))[known].sum() for c in range(3)]
    iou = next(value for name, value in found.items() if "iou" in name.lower())
    assert abs(iou - np.mean(each)) < 1e-3

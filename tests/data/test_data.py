"""Data: preprocessing, class folders, arrays, iterables, labels, identity and splits."""

from __future__ import annotations

import io
import pickle
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from compare import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from images import image_folder, pixels, write_image
from PIL import Image

from intact import data
from intact.data import InputSpec, Preprocessing
from intact.data.pictures import decode
from intact.data.spec import classes_of
from intact.errors import DataError, OptionError
from intact.network.graph import Graph, Signature, Tensor
from intact.numbers.affine import Affine, Float, Index

RGB = (InputSpec("x", (1, 8, 8, 3)),)
GRAY = (InputSpec("x", (None, 8, 8, 1)),)
VECTOR = (InputSpec("x", (1, 4)),)
TWO = (InputSpec("left", (1, 4)), InputSpec("right", (1, 2)))


def kinds(samples):
    return tuple(f.kind for f in samples.findings)


def everything(samples):
    return samples.batch(range(len(samples)))


def noise(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(dtype)


# --- preprocessing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.0, 0.2, 1.0]),
        ({"pixels": (-1, 1)}, [-1.0, -0.6, 1.0]),
        ({"pixels": (0, 255)}, [0.0, 51.0, 255.0]),
        ({"mean": (0.5,), "std": (0.25,)}, [-2.0, -1.2, 2.0]),
        ({"mean": (0.5,)}, [-0.5, -0.3, 0.5]),
        ({"std": (0.5,)}, [0.0, 0.4, 2.0]),
    ],
)
def test_pixels_map_as_documented(options, expected):
    fitted = Preprocessing(**options).fit(InputSpec("x", (1, 1, 3, 1)))
    image = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
    assert_same(fitted.apply(image, "float32").ravel(), np.array(expected, np.float32), atol=1e-6)


@pytest.mark.parametrize("span", [(0, 1), (-1, 1), (0, 255), (-128, 127)])
def test_the_ends_of_the_range_are_exact(span):
    fitted = Preprocessing(pixels=span).fit(InputSpec("x", (1, 1, 2, 1)))
    ends = fitted.apply(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1), "float32").ravel()
    assert_same(ends, np.array(span, np.float32))


def test_channel_order_and_per_channel_mean():
    image = np.array([255, 0, 51], np.uint8).reshape(1, 1, 1, 3)
    fitted = Preprocessing(channels="bgr", mean=(0.1, 0.2, 0.3)).fit(InputSpec("x", (1, 1, 1, 3)))
    assert_same(fitted.apply(image, "float32").ravel(), np.array([0.1, -0.2, 0.7], np.float32), atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "layout", "size", "channels"),
    [
        ((1, 4, 6, 3), "nhwc", (4, 6), "rgb"),
        ((None, 4, 6, 1), "nhwc", (4, 6), "gray"),
        ((1, 3, 4, 6), "nchw", (4, 6), "rgb"),
        ((1, 3, 4, 3), "nhwc", (3, 4), "rgb"),
        ((1, 28, 28), "nhw", (28, 28), "gray"),
    ],
)
def test_fit_reads_size_layout_and_channels_off_the_input(shape, layout, size, channels):
    fitted = Preprocessing().fit(InputSpec("x", shape))
    assert (fitted.layout, fitted.size, fitted.channels) == (layout, size, channels)
    images = np.zeros((2, *size, fitted.planes), np.uint8)
    assert fitted.apply(images, "float32").shape == (2, *shape[1:])


@pytest.mark.parametrize(
    ("options", "spec", "error", "says"),
    [
        ({}, InputSpec("x", (1, 640)), DataError, r"does not fit input 'x' of shape \[n, 640\]; give the samples as arrays"),
        ({}, InputSpec("x", (1, 8, 8, 5)), DataError, r"1 or 3 channels.*\[n, 8, 8, 5\]"),
        ({"channels": "rgb"}, InputSpec("x", (1, 8, 8, 1)), OptionError, "channels 'rgb' does not fit"),
        ({"mean": (0.1, 0.2, 0.3)}, InputSpec("x", (1, 8, 8, 1)), OptionError, "mean has 3 numbers"),
        ({"resize": "crop:6"}, InputSpec("x", (1, 8, 8, 3)), OptionError, "give at least crop:8"),
        ({}, InputSpec("x", (1, 8, 8, 3), "uint8"), OptionError, "--pixels=0,255"),
        ({}, InputSpec("x", (1, 8, 8, 3), "int8"), OptionError, "--pixels=-128,127"),
    ],
)
def test_fit_refuses(options, spec, error, says):
    with pytest.raises(error, match=says):
        Preprocessing(**options).fit(spec)


@pytest.mark.parametrize(("dtype", "span"), [("uint8", (0, 255)), ("int8", (-128, 127)), ("int32", (0, 255))])
def test_integer_inputs_take_whole_pixels(dtype, span):
    fitted = Preprocessing(pixels=span).fit(InputSpec("x", (1, 1, 2, 1), dtype))
    assert_same(fitted.apply(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1), dtype).ravel(), np.array(span, dtype))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"pixels": (1, 0)}, "pixels 1,0 is not a range"),
        ({"pixels": (0, float("nan"))}, "is not a range"),
        ({"mean": (0.1, 0.2)}, "mean 0.1,0.2 must be one number, or three"),
        ({"mean": (123.7, 116.3, 103.5)}, "divide mean and std by 255"),
        ({"std": (0.0,)}, "std 0 must be above 0"),
        ({"std": (0.5,), "pixels": (-1, 1)}, "give one of them"),
        ({"channels": "rbg"}, "channels 'rbg' is not one of rgb, bgr, gray"),
        ({"resize": "crop:0"}, "resize 'crop:0' is not one of stretch"),
        ({"method": "best"}, "method 'best' is not one of bilinear"),
    ],
)
def test_preprocessing_refuses(options, says):
    with pytest.raises(OptionError, match=says):
        Preprocessing(**options)


@pytest.mark.parametrize(
    "value",
    [
        Preprocessing(),
        Preprocessing(pixels=(-1, 1), channels="bgr", resize="crop:256", method="bicubic").fit(InputSpec("x", (1, 3, 8, 8))),
        Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        Preprocessing.for_arrays({"x": "nchw to nhwc"}),
        Preprocessing.for_arrays({}),
    ],
)
def test_preprocessing_survives_json(value):
    assert Preprocessing.from_json(value.to_json()) == value


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"zoom": 2}, "unknown field 'zoom'"),
        ({"layout": "whcn"}, "layout or source that is not known"),
        ({"pixels": ["a", "b"]}, "not readable"),
        ({"resize": 3}, "not readable"),
    ],
)
def test_preprocessing_from_json_refuses(value, says):
    with pytest.raises(DataError, match=says):
        Preprocessing.from_json(value)


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (data.parse_pixels, "-1,1", (-1.0, 1.0)),
        (data.parse_pixels, " 0, 255", (0.0, 255.0)),
        (data.parse_mean, "0.485,0.456,0.406", (0.485, 0.456, 0.406)),
        (data.parse_mean, "0.5", (0.5,)),
        (data.parse_std, "0.229,0.224,0.225", (0.229, 0.224, 0.225)),
    ],
)
def test_options_parse(parse, text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (data.parse_pixels, "1", "--pixels '1' is not a range.*--pixels=-1,1"),
        (data.parse_pixels, "1,-1", "is not a range"),
        (data.parse_pixels, "a,b", "--pixels 'a,b' is not a list of numbers; type for example --pixels=-1,1"),
        (data.parse_pixels, "0,inf", "not finite"),
        (data.parse_mean, "1,2", "--mean '1,2' has 2 numbers"),
        (data.parse_std, "0,1,1", "--std '0,1,1' must be above 0"),
    ],
)
def test_options_refuse(parse, text, says):
    with pytest.raises(OptionError, match=says):
        parse(text)


# --- decoding --------------------------------------------------------------------------------------------------------


def decoded(path, spec=RGB[0], **options):
    return decode(io.BytesIO(path.read_bytes()), Preprocessing(**options).fit(spec))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tiff", ".ppm"])
def test_formats_decode(tmp_path, suffix):
    values = np.full((8, 8, 3), 128, np.uint8)
    assert_same(decoded(write_image(tmp_path / f"a{suffix}", values)), values)


def test_exif_orientation_is_respected(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn anticlockwise
    values = pixels(0)
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    assert_same(decoded(tmp_path / "a.png"), np.rot90(values, -1))


@pytest.mark.parametrize(
    ("stored", "spec", "expected"),
    [
        (pixels(0, planes=1), RGB[0], np.repeat(pixels(0, planes=1)[..., None], 3, 2)),
        (pixels(0, planes=1), GRAY[0], pixels(0, planes=1)[..., None]),
        (np.concatenate([pixels(0), pixels(1, planes=1)[..., None]], 2), RGB[0], pixels(0)),
        (np.full((8, 8), 257 * 7, np.uint16), GRAY[0], np.full((8, 8, 1), 7, np.uint8)),
        (np.full((8, 8), 65535, np.uint16), RGB[0], np.full((8, 8, 3), 255, np.uint8)),
        (np.full((8, 8), 129, np.uint16), GRAY[0], np.full((8, 8, 1), 1, np.uint8)),
    ],
    ids=["gray to rgb", "gray", "alpha dropped", "16 bit", "16 bit white", "16 bit rounds"],
)
def test_modes_convert(tmp_path, stored, spec, expected):
    assert_same(decoded(write_image(tmp_path / "a.png", stored), spec), expected)


def test_colour_becomes_gray_by_luma(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert_same(decoded(write_image(tmp_path / "a.png", red), GRAY[0]), np.full((8, 8, 1), 76, np.uint8))


def test_palette_with_transparency_converts(tmp_path):
    image = Image.fromarray(np.zeros((8, 8), np.uint8)).convert("P")
    image.putpalette([10, 20, 30] * 256)
    image.save(tmp_path / "a.png", transparency=b"\x00" * 8)
    assert_same(decoded(tmp_path / "a.png"), np.broadcast_to(np.array([10, 20, 30], np.uint8), (8, 8, 3)))


def ramp():
    """16 wide, 8 high: the left quarter red, the middle half green, the right quarter blue."""
    values = np.zeros((8, 16, 3), np.uint8)
    values[:, :4, 0] = values[:, 4:12, 1] = values[:, 12:, 2] = 255
    return values


def test_crop_takes_the_centre_and_stretch_takes_all(tmp_path):
    path = write_image(tmp_path / "a.png", ramp())
    assert_same(decoded(path, resize="crop"), ramp()[:, 4:12])
    assert decoded(path, method="nearest")[0, :, 0].tolist() == [255, 255, 0, 0, 0, 0, 0, 0]
    small = InputSpec("x", (1, 4, 4, 3))
    noisy = pixels(0, (8, 16))
    assert_same(decoded(write_image(tmp_path / "b.png", noisy), small, resize="crop:8"), noisy[2:6, 6:10])
    tall = write_image(tmp_path / "c.png", np.repeat(np.repeat(noisy, 2, 0), 2, 1).transpose(1, 0, 2))
    assert_same(decoded(tall, small, resize="crop:8", method="nearest"), noisy.transpose(1, 0, 2)[6:10, 2:6])


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "it is empty"), (b"not an image", "not an image"), (b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, "does not decode")],
)
def test_broken_images_are_named(tmp_path, content, says):
    image_folder(tmp_path)
    (tmp_path / "dog" / "1.png").write_bytes(content)
    samples = data.folder(tmp_path).bind(RGB, 2)
    with pytest.raises(DataError, match=rf"dog.1\.png.*{says}.*replace or delete the file"):
        everything(samples)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_images_are_named(tmp_path, suffix):
    path = write_image(tmp_path / f"a{suffix}", pixels(0, (64, 64)))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=rf"a\{suffix}: does not decode as an image"):
        everything(data.folder(tmp_path).bind(RGB, 2))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.full((8, 8), 0.5, np.float32), "holds fractions, not pixels"),
        (np.full((8, 8), 1 << 20, np.int32), "32-bit pixels"),
    ],
)
def test_images_that_are_not_pixels_are_refused(tmp_path, values, says):
    with pytest.raises(DataError, match=says):
        decoded(write_image(tmp_path / "a.tiff", values))


def test_resize_none_names_the_sizes(tmp_path):
    write_image(tmp_path / "a.png", pixels(0, (4, 6)))
    with pytest.raises(DataError, match=r"a\.png: is 4 x 6 pixels \(height x width\), the model takes 8 x 8"):
        everything(data.folder(tmp_path, resize="none").bind(RGB, 2))


def test_a_vanished_file_is_named(tmp_path):
    samples = data.folder(image_folder(tmp_path)).bind(RGB, 2)
    (tmp_path / "cat" / "0.png").unlink()
    with pytest.raises(DataError, match=r"cat.0\.png: no such file; it was there when the folder was listed"):
        everything(samples)


# --- class folders ---------------------------------------------------------------------------------------------------


def test_class_folders_give_images_labels_and_names(tmp_path):
    samples = data.folder(image_folder(tmp_path, ("dog", "cat"), 2), pixels=(0, 255)).bind(RGB, 2)
    inputs, labels = everything(samples)
    assert_same(labels, np.array([0, 0, 1, 1], np.int64))
    assert_same(inputs["x"][2], pixels(0).astype(np.float32))  # dog was written first, cat counts first
    assert samples.class_names == ("cat", "dog")
    assert samples.name(3).endswith("dog/1.png")
    assert samples.preprocessing.size == (8, 8)
    assert samples.findings == ()


def test_batches_are_the_same_in_any_order_and_from_the_cache(tmp_path):
    root = image_folder(tmp_path, per_class=20)
    first = everything(data.folder(root).bind(RGB, 2))[0]["x"]
    samples = data.folder(root).bind(RGB, 2)
    assert_same(samples.batch([39, 3, 3])[0]["x"], first[[39, 3, 3]])
    assert_same(samples.batch(range(40))[0]["x"], first)
    assert [len(labels) for _, labels in samples.batches(16)] == [16, 16, 8]


def test_large_files_decode_in_threads_to_the_same(tmp_path, monkeypatch):
    root = image_folder(tmp_path, per_class=40)
    inline = everything(data.folder(root).bind(RGB, 2))[0]["x"]
    monkeypatch.setattr("intact.data.stored._WORTH_A_THREAD", 0)
    monkeypatch.setattr("intact.data.stored.CACHE_BYTES", 500)  # room for two images
    samples = data.folder(root).bind(RGB, 2)
    assert_same(everything(samples)[0]["x"], inline)
    assert_same(everything(samples)[0]["x"], inline)


def test_a_flat_folder_is_unlabelled(tmp_path):
    write_image(tmp_path / "b.png", pixels(1))
    write_image(tmp_path / "a.PNG", pixels(0))
    samples = data.folder(tmp_path).bind(RGB, 10)
    assert samples.labels is None
    assert [samples.name(0)[-5:], samples.name(1)[-5:]] == ["a.PNG", "b.png"]


def test_hidden_files_are_ignored_and_others_reported(tmp_path):
    image_folder(tmp_path)
    (tmp_path / ".DS_Store").write_bytes(b"")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("x")
    samples = data.folder(tmp_path).bind(RGB, 2)
    assert len(samples) == 8
    assert [f.message for f in samples.findings] == [f"ignored 1 that are not images: {tmp_path / 'cat' / 'notes.txt'}"]


@pytest.mark.parametrize(("classes", "labelled"), [(2, True), (1, True), (3, False), (None, False)])
def test_labels_need_as_many_folders_as_outputs(tmp_path, classes, labelled):
    samples = data.folder(image_folder(tmp_path)).bind(RGB, classes)
    assert (samples.labels is not None) is labelled
    assert kinds(samples) == (() if labelled else ("unlabelled",))
    assert_same(samples.targets, np.repeat(np.arange(2), 4))


def test_another_number_of_classes_says_what_to_do(tmp_path):
    samples = data.folder(image_folder(tmp_path)).bind(RGB, 1000)
    assert "has 2 classes, the model 1000" in samples.findings[0].message
    assert "classes.txt" in samples.findings[0].message


@pytest.mark.parametrize("name", ["classes.txt", "labels.txt"])
def test_a_listing_gives_the_models_order(tmp_path, name):
    image_folder(tmp_path, per_class=1)
    (tmp_path / name).write_text("background\ndog\ncat\n")
    samples = data.folder(tmp_path).bind(RGB, 3)
    assert_same(samples.labels, np.array([2, 1]))
    assert samples.class_names == ("background", "dog", "cat")
    assert samples.findings == ()


def test_numbered_folders_count_alphabetically_and_say_so(tmp_path):
    samples = data.folder(image_folder(tmp_path, [str(i) for i in range(11)], 1)).bind(RGB, 11)
    assert samples.class_names[:3] == ("0", "1", "10")
    assert kinds(samples) == ("class-order",)


def empty_class(root):
    image_folder(root)
    (root / "emu").mkdir()


def nested(root):
    image_folder(root / "train")


def mixed(root):
    image_folder(root)
    write_image(root / "stray.png", pixels(0))


def only_text(root):
    (root / "x.txt").write_text("")


def listing(text):
    def make(root):
        image_folder(root)
        (root / "classes.txt").write_text(text)

    return make


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: None, "holds no images; give a folder"),
        (only_text, r"holds no images \(only x\.txt\)"),
        (empty_class, "class folder emu holds no images; put images in it or delete it"),
        (nested, r"train holds folders \(cat, dog\), not images; give .*train instead"),
        (mixed, r"holds both class folders \(cat, dog\) and images \(stray\.png\)"),
        (listing("cat\n"), "classes.txt does not list the class folder 'dog'"),
        (listing("cat\ncat\ndog\n"), "classes.txt lists 'cat' twice"),
    ],
)
def test_folders_refuse(tmp_path, make, says):
    make(tmp_path)
    with pytest.raises(DataError, match=says):
        data.folder(tmp_path)


def test_missing_folder_and_several_inputs(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        data.folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"images feed one input, the model has 2 \(left, right\)"):
        data.folder(image_folder(tmp_path)).bind(TWO, 2)


# --- arrays ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "spec", "move", "says"),
    [
        ((5, 8, 6, 3), (1, 8, 6, 3), lambda x: x, {}),
        ((5, 3, 8, 6), (1, 8, 6, 3), lambda x: x.transpose(0, 2, 3, 1), {"x": "nchw to nhwc"}),
        ((5, 8, 6, 3), (1, 3, 8, 6), lambda x: x.transpose(0, 3, 1, 2), {"x": "nhwc to nchw"}),
        ((5, 3, 3, 3), (1, 3, 3, 3), lambda x: x, {}),
        ((5, 49, 10), (1, 49, 10, 1), lambda x: x[..., None], {"x": "[49, 10] to [49, 10, 1]"}),
        ((5, 1, 4), (None, 4), lambda x: x[:, 0], {"x": "[1, 4] to [4]"}),
        ((5,), (1, 1), lambda x: x[:, None], {"x": "[] to [1]"}),
    ],
)
def test_arrays_fit_as_they_are_or_rearranged(shape, spec, move, says):
    x = noise(*shape)
    samples = data.arrays(x).bind((InputSpec("x", spec),), None)
    assert_same(everything(samples)[0]["x"], move(x))
    assert dict(samples.preprocessing.shapes) == says


def test_a_transposed_array_is_a_finding():
    samples = data.arrays(noise(2, 3, 8, 8)).bind(RGB, None)
    assert kinds(samples) == ("transposed",)


@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy, lambda x: torch.from_numpy(x).requires_grad_(), list])
def test_arrays_take_numpy_torch_and_lists(convert):
    x = noise(3, 4)
    assert_same(everything(data.arrays(convert(x)).bind(VECTOR, None))[0]["x"], x)


def test_bfloat16_tensors_and_wide_types_become_float32():
    x = torch.arange(4).reshape(1, 4)
    assert_same(everything(data.arrays(x.to(torch.bfloat16)).bind(VECTOR, None))[0]["x"], x.numpy().astype(np.float32))
    assert_same(everything(data.arrays(x.double()).bind(VECTOR, None))[0]["x"], x.numpy().astype(np.float32))


def test_several_inputs_go_by_name():
    x = {"right": noise(3, 2), "left": noise(3, 4), "other": noise(3, 9)}
    inputs, _ = data.arrays(x).bind(TWO, None).batch([2, 0])
    assert_same(inputs["left"], x["left"][[2, 0]])
    assert_same(inputs["right"], x["right"][[2, 0]])


def test_uint8_arrays_are_left_alone_with_a_finding():
    samples = data.arrays(noise(2, 8, 8, 3, dtype=np.uint8)).bind(RGB, None)
    assert kinds(samples) == ("uint8-values",)
    assert_same(everything(samples)[0]["x"], noise(2, 8, 8, 3, dtype=np.uint8).astype(np.float32))


def with_value(value, dtype=np.float32):
    x = np.ones((6, 4), dtype)
    x[3, 2] = value
    return x


@pytest.mark.parametrize(
    ("x", "inputs", "says"),
    [
        (noise(2, 5), VECTOR, r"samples of shape \[5\] \(sample 0\) do not fit input 'x' of shape \[n, 4\]"),
        (noise(4), VECTOR, r"for a single sample add an axis: x\[None\]"),
        (noise(2, 192), RGB, r"x\.reshape\(-1, 8, 8, 3\)"),
        (
            noise(9, 5, 4),
            (InputSpec("x", (5, 1, 4)),),
            r"the model's first axis, of 5, is where samples are counted: export it",
        ),
        (noise(9, 5, 3), (InputSpec("x", (5, 1, 4)),), "reshape or resize them first"),
        (noise(0, 4), VECTOR, "holds no samples"),
        (np.float32(3), VECTOR, "is a single number"),
        (noise(3, 4), TWO, "one array, but the model has 2 inputs; give a mapping with left, right"),
        ({"left": noise(3, 4), "wrong": noise(3, 2)}, TWO, "input 'right' is missing; found left, wrong"),
        ({"left": noise(3, 4), "right": noise(2, 2)}, TWO, r"different numbers of samples \(left 3, right 2\)"),
        (with_value(np.nan), VECTOR, "sample 3 of the arrays holds NaN or infinity"),
        (with_value(-np.inf), VECTOR, "sample 3 of the arrays holds NaN or infinity"),
        (with_value(1e300, np.float64), VECTOR, "sample 3 of the arrays holds NaN or infinity"),
        (with_value(0.5), (InputSpec("x", (1, 4), "int32"),), "sample 3 of the arrays holds values that int32 cannot hold"),
        (with_value(300, np.int32), (InputSpec("x", (1, 4), "uint8"),), "values that uint8 cannot hold"),
    ],
)
def test_arrays_refuse(x, inputs, says):
    with pytest.raises(DataError, match=says):
        data.arrays(x).bind(inputs, None)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.array([{}, 1], object), "pickled objects"),
        ([[1, 2], [3]], "x is not an array of numbers"),
        (np.array(["a"]), "dtype <U1"),
        (np.array([1j]), "dtype complex128"),
    ],
)
def test_what_is_not_numbers_is_refused(x, says):
    with pytest.raises(DataError, match=says):
        data.arrays(x)


def test_a_nan_beyond_the_first_chunk_is_named(monkeypatch):
    monkeypatch.setattr("intact.data.array._CHECK", 8)
    with pytest.raises(DataError, match="sample 3 of"):
        data.arrays(with_value(np.nan)).bind(VECTOR, None)


# --- labels ----------------------------------------------------------------------------------------------------------

ONE_HOT = np.eye(3)[[2, 0]]


@pytest.mark.parametrize(
    ("y", "classes", "expected"),
    [
        (np.array([2, 0]), 3, [2, 0]),
        (np.array([[2], [0]], np.uint8), 3, [2, 0]),
        (np.array([2.0, 0.0]), 3, [2, 0]),
        (ONE_HOT, 3, [2, 0]),
        (ONE_HOT.astype(np.int8), 3, [2, 0]),
        (ONE_HOT.astype(bool), 3, [2, 0]),
        (np.array([[0.2, 0.7, 0.1], [0.5, 0.3, 0.2]]), 3, [1, 0]),
        (np.array([True, False]), 1, [1, 0]),
        (np.array([1.0, 0.0]), 1, [1, 0]),
        (torch.tensor([2, 0]), 3, [2, 0]),
    ],
)
def test_labels_are_class_numbers(y, classes, expected):
    samples = data.arrays(noise(2, 4), y).bind(VECTOR, classes)
    assert_same(samples.batch([0, 1])[1], np.array(expected, np.int64))
    assert samples.findings == ()


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (np.array([0.5, 1.5]), 3),
        (np.array([34, 61]), 1),
        (np.array([[1, 1, 0], [0, 1, 0]]), 3),
        (np.zeros((2, 8, 8), int), 3),
        (np.array([1, 0]), None),
    ],
)
def test_other_labels_are_kept_for_a_metric(y, classes):
    samples = data.arrays(noise(2, 4), y).bind(VECTOR, classes)
    assert samples.batch([1])[1] is None
    assert_same(samples.take([1]).targets, y[[1]])
    assert kinds(samples) == ("unlabelled",)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (np.array([0, 3]), r"sample 1 of the arrays: label 3 is outside 0\.\.2, the 3 classes of the model; correct"),
        (np.array([-1, 7]), r"sample 0 .*label -1 .*\(2 samples in all\)"),
        (np.array([1, 3]), "labels must count from 0"),
        (np.array([0.0, 3.0]), "label 3 is outside"),
        (np.array([np.nan, 1]), "sample 0 of the arrays: its label is nan"),
        (np.array([1, 2, 0]), r"2 samples, but labels of shape \[3\]"),
        (np.int64(1), r"labels of shape \[\]"),
    ],
)
def test_labels_refuse(y, says):
    with pytest.raises(DataError, match=says):
        data.arrays(noise(2, 4), y).bind(VECTOR, 3)


# --- files of arrays -------------------------------------------------------------------------------------------------

X, Y = noise(6, 4), np.arange(6) % 3


@pytest.mark.parametrize(
    ("members", "labelled", "found"),
    [
        ({"x": X, "y": Y}, True, ()),
        ({"X": X, "Y": Y}, True, ()),
        ({"x": X}, False, ()),
        ({"x_test": X, "y_test": Y}, True, ()),
        ({"x_train": X + 1, "y_train": Y, "x_test": X, "y_test": Y}, True, ("unused-arrays",)),
        ({"images": X, "labels": Y}, True, ()),
        ({"data": X, "target": Y}, True, ()),
        ({"arr_0": X, "arr_1": Y}, True, ()),
        ({"anything": X}, False, ()),
        ({"anything": X, "label": Y}, True, ()),
    ],
)
def test_npz_keys(tmp_path, members, labelled, found):
    np.savez(tmp_path / "a.npz", **members)
    samples = data.npz(tmp_path / "a.npz").bind(VECTOR, 3)
    inputs, labels = everything(samples)
    assert_same(inputs["x"], X)
    assert (labels is not None) is labelled
    assert kinds(samples) == found


def test_npz_by_input_names(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", left=X, right=X[:, :2], y=Y)
    inputs, labels = everything(data.npz(tmp_path / "a.npz").bind(TWO, 3))
    assert_same(inputs["right"], X[:, :2])
    assert_same(labels, Y.astype(np.int64))


@pytest.mark.parametrize(
    ("inputs", "says"),
    [(VECTOR, r"a\.npz: holds p, q; name the arrays 'x', x and y"), (TWO, "holds p, q; name the arrays 'left' and 'right'")],
)
def test_npz_lists_the_keys_found(tmp_path, inputs, says):
    np.savez(tmp_path / "a.npz", p=X, q=X)
    with pytest.raises(DataError, match=says):
        data.npz(tmp_path / "a.npz").bind(inputs, 3)


def test_npy_is_mapped_and_finds_its_labels(tmp_path):
    np.save(tmp_path / "X_test.npy", X)
    np.save(tmp_path / "y_test.npy", Y)
    samples = data.npy(tmp_path / "X_test.npy").bind(VECTOR, 3)
    assert_same(samples.batch([4])[0]["x"], X[[4]])
    assert_same(samples.labels, Y.astype(np.int64))
    assert kinds(samples) == ("labels-file",)
    assert samples.name(4) == "sample 4 of X_test.npy"


def test_npy_alone_is_unlabelled_and_labels_can_be_named(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "b.npy", Y)
    assert data.npy(tmp_path / "a.npy").bind(VECTOR, 3).labels is None
    assert_same(data.npy(tmp_path / "a.npy", tmp_path / "b.npy").bind(VECTOR, 3).labels, Y.astype(np.int64))


class Bomb:
    def __reduce__(self):
        return print, ("this must never run",)


def pickled_npz(path):
    np.savez(path, x=np.array([Bomb()], object))


def pickled_npy(path):
    np.save(path, np.array([Bomb()], object), allow_pickle=True)


def pickle_file(path):
    path.write_bytes(pickle.dumps(Bomb()))


def cut(write, keep):
    def make(path):
        write(path)
        path.write_bytes(path.read_bytes()[:keep])

    return make


def good_npz(path):
    np.savez(path, x=X, y=Y)


def good_npy(path):
    np.save(path, X)


def renamed_npz(path):
    with path.open("wb") as file:
        np.savez(file, x=X)


def renamed_npy(path):
    with path.open("wb") as file:
        np.save(file, X)


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("a.npz", pickled_npz, "holds pickled Python objects, which are not loaded"),
        ("a.npy", pickled_npy, "holds pickled Python objects, which are not loaded"),
        ("a.npz", pickle_file, "is not a file that numpy.save or numpy.savez wrote"),
        ("a.npz", cut(good_npz, 100), "cannot be read as numpy arrays"),
        ("a.npy", cut(good_npy, 150), "cannot be read as numpy arrays"),
        ("a.npy", cut(good_npy, 20), "cannot be read as numpy arrays"),
        ("a.npz", lambda p: p.write_bytes(b""), "it is empty"),
        ("a.npz", lambda p: p.write_bytes(bytes(range(200))), "is not a file that numpy"),
        ("a.npz", lambda _: None, "no such file"),
        ("a.npz", renamed_npy, "is not an .npz archive"),
        ("a.npy", renamed_npz, "is not a single array"),
    ],
)
def test_files_refuse(tmp_path, capsys, name, make, says):
    path = tmp_path / name
    make(path)
    reader = {".npz": data.npz, ".npy": data.npy}[path.suffix]
    with pytest.raises(DataError, match=says) as caught:
        reader(path).bind(VECTOR, 3)
    assert name in str(caught.value)
    assert capsys.readouterr().out == ""


# --- load ------------------------------------------------------------------------------------------------------------


def test_load_takes_folders_and_files(tmp_path):
    image_folder(tmp_path / "photos")
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    np.save(tmp_path / "b.npy", X)
    assert len(data.load(tmp_path / "photos").bind(RGB, 2)) == 8
    assert len(data.load(tmp_path / "a.npz").bind(VECTOR, 3)) == 6
    assert len(data.load(tmp_path / "b.npy").bind(VECTOR, 3)) == 6


def test_preprocessing_is_used_for_images_and_reported_for_arrays(tmp_path):
    image_folder(tmp_path / "photos")
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    given_ = Preprocessing(pixels=(-1, 1))
    assert data.load(tmp_path / "photos", given_).bind(RGB, 2).preprocessing.pixels == (-1.0, 1.0)
    samples = data.load(tmp_path / "a.npz", given_).bind(VECTOR, 3)
    assert_same(everything(samples)[0]["x"], X)
    assert [(f.kind, f.message[:6]) for f in samples.findings] == [("unused-preprocessing", "pixels")]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nothing", "nothing: no such file or folder; give a folder with one folder of images"),
        ("a.xyz", "a.xyz: not data that can be read; give a folder"),
        ("a.png", "a single image is not enough: give its folder"),
        ("a.pkl", "a.pkl: not data that can be read"),
    ],
)
def test_load_refuses(tmp_path, name, says):
    (tmp_path / name).write_bytes(b"x") if "." in name else None
    with pytest.raises(DataError, match=says):
        data.load(tmp_path / name)


# --- iterables -------------------------------------------------------------------------------------------------------

IMAGES = noise(6, 8, 8, 3)


def loader(**options):
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(IMAGES.transpose(0, 3, 1, 2).copy()), torch.from_numpy(Y))
    return torch.utils.data.DataLoader(pairs, **options)


class Numbered:
    """What a Keras PyDataset and a torch Dataset look like: no __iter__, and no end in __getitem__."""

    def __len__(self):
        return 2

    def __getitem__(self, i):
        return IMAGES[(3 * i) % 6 : (3 * i) % 6 + 3], Y[(3 * i) % 6 : (3 * i) % 6 + 3]


@pytest.mark.parametrize(
    "make",
    [
        lambda: zip(IMAGES, Y, strict=True),
        lambda: [(IMAGES[:4], Y[:4]), (IMAGES[4:], Y[4:])],
        lambda: ((x, y, 1.0) for x, y in zip(IMAGES, Y, strict=True)),
        lambda: ({"image": x, "label": y} for x, y in zip(IMAGES, Y, strict=True)),
        lambda: (({"x": x}, y) for x, y in zip(IMAGES, Y, strict=True)),
        lambda: loader(batch_size=4),
        lambda: loader(batch_size=None),
        lambda: loader(batch_size=1),
        lambda: loader().dataset,
        Numbered,
    ],
    ids=["pairs", "batches", "weights", "label key", "input names", "loader", "unbatched", "batch 1", "dataset", "numbered"],
)
def test_iterables_give_the_same_samples(make):
    samples = data.iterable(make()).bind(RGB, 3)
    inputs, labels = everything(samples)
    assert_same(inputs["x"], IMAGES)
    assert_same(labels, Y.astype(np.int64))


def test_iterables_without_labels_and_with_labels_apart():
    assert data.iterable(iter(IMAGES)).bind(RGB, 3).labels is None
    assert_same(data.iterable(iter(IMAGES), labels=Y).bind(RGB, 3).labels, Y.astype(np.int64))


def test_several_inputs_in_an_iterable():
    left, right = noise(3, 4), noise(3, 2)
    by_name = data.iterable({"left": a, "right": b} for a, b in zip(left, right, strict=True)).bind(TWO, None)
    by_place = data.iterable([((left, right), Y[:3])]).bind(TWO, 3)
    assert_same(everything(by_name)[0]["right"], right)
    assert_same(everything(by_place)[0]["right"], right)
    assert len(by_place) == 3


def test_a_loaders_channel_axis_is_moved_and_recorded():
    samples = data.iterable(loader(batch_size=4)).bind(RGB, 3)
    assert samples.preprocessing.shapes == (("x", "nchw to nhwc"),)


def test_limit_ends_an_endless_iterable():
    endless = ((IMAGES[0], 0) for _ in iter(int, 1))
    assert len(data.iterable(endless, limit=5).bind(RGB, 3)) == 5


def test_bytes_end_an_endless_iterable(monkeypatch):
    monkeypatch.setattr("intact.data.iterables.MOST_BYTES", 10_000)
    with pytest.raises(DataError, match="if it is endless, give limit="):
        data.iterable((IMAGES[0], 0) for _ in iter(int, 1))


@pytest.mark.parametrize(
    ("it", "says"),
    [
        ([], "gave no samples; a generator that was used up"),
        ("photos/", "a str is not an iterable of samples"),
        ({"x": X}, "a dict is not an iterable of samples.*use arrays"),
        (3, "a int is not an iterable of samples"),
        ([(X[0], 1), X[0]], "element 1 has no label"),
        ([X[0], X], "element 1 is float32 of shape .6, 4., element 0 float32 of .4."),
        ([X[0], X[0].astype(int)], "element 1 is int64"),
        ([{"a": X[0]}, {"b": X[0]}], "element 1 has inputs b, the ones before it a"),
        ([("a", 1)], "element 0 is not an array of numbers"),
        ([(X[0], "cat")], "the label of element 0 is not an array"),
        ([{}], "element 0 is empty"),
    ],
)
def test_iterables_refuse(it, says):
    with pytest.raises(DataError, match=says):
        data.iterable(it)


@pytest.mark.parametrize(
    ("it", "labels", "says"),
    [
        ([(X[:2], 1), (X[2:4], 1)], None, "gives batches, but a single label for each"),
        ([(X[0], Y[:2]), (X[1], Y[:3])], None, "labels of the iterable's elements do not agree in shape"),
        ([noise(5), noise(5)], None, r"do not fit input 'x' of shape \[n, 4\]"),
        (list(X), Y[:2], r"6 samples, but labels of shape \[2\]"),
    ],
)
def test_iterables_refuse_when_bound(it, labels, says):
    with pytest.raises(DataError, match=says):
        data.iterable(it, labels=labels).bind(VECTOR, 3)


def test_labels_given_twice_are_refused():
    with pytest.raises(DataError, match="given twice"):
        data.iterable([(X[0], 1)], labels=Y[:1])


@pytest.fixture(scope="module")
def tf():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        return pytest.importorskip("tensorflow", reason="needs the extra [keras]")


@pytest.mark.filterwarnings("ignore")  # TensorFlow's own
@pytest.mark.parametrize("batch", [None, 4])
def test_tf_data(tf, batch):
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, Y))
    samples = data.iterable(dataset if batch is None else dataset.batch(batch)).bind(RGB, 3)
    inputs, labels = everything(samples)
    assert_same(inputs["x"], IMAGES)
    assert_same(labels, Y.astype(np.int64))


@pytest.mark.filterwarnings("ignore")
def test_an_endless_tf_data_needs_a_limit(tf):
    dataset = tf.data.Dataset.from_tensor_slices(IMAGES).repeat()
    with pytest.raises(DataError, match="repeats without end"):
        data.iterable(dataset)
    assert len(data.iterable(dataset, limit=8).bind(RGB, None)) == 8


@pytest.mark.filterwarnings("ignore")
def test_keras_dataset(tf):
    class Batches(tf.keras.utils.PyDataset):
        __len__ = Numbered.__len__
        __getitem__ = Numbered.__getitem__

    samples = data.iterable(Batches()).bind(RGB, 3)
    assert_same(everything(samples)[0]["x"], IMAGES)


# --- splits and identity ---------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 4), min_size=4, max_size=200), st.integers(0, 3))
def test_a_split_is_disjoint_complete_and_stratified(labels, seed):
    y = np.array(labels)
    parts = data.split(len(y), y, seed)
    assert_same(np.sort(np.concatenate(list(parts.values()))), np.arange(len(y)))
    counts = np.stack([np.bincount(y[p], minlength=5) for p in parts.values()])
    sizes = np.array([[len(p)] for p in parts.values()])
    # two cuts, each within one sample of its place in every class, and within one class of its place overall
    assert np.abs(counts - sizes * np.bincount(y, minlength=5) / len(y)).max() <= 1 + 2 * len(np.unique(y))


def test_a_large_split_is_in_proportion():
    y = np.repeat([0, 1, 2], [700, 200, 100])
    parts = data.split(1000, y, 0)
    assert [np.bincount(y[p]).tolist() for p in parts.values()] == [[175, 50, 25], [175, 50, 25], [350, 100, 50]]
    assert np.abs(np.bincount(y[parts["calibration"][:100]]) - [70, 20, 10]).max() <= 1


def test_a_split_follows_the_seed_and_the_documented_algorithm():
    assert_same(data.stratified_order(9, None, 3), np.random.Generator(np.random.PCG64(3)).permutation(9))
    assert_same(data.split(9, None, 3)["report"], data.split(9, None, 3)["report"])
    assert data.split(100, None, 3)["report"].tolist() != data.split(100, None, 4)["report"].tolist()


def test_parts_have_the_documented_sizes():
    assert [len(p) for p in data.split(10, None, 0).values()] == [2, 3, 5]
    assert [len(p) for p in data.split(4, None, 0).values()] == [1, 1, 2]


def test_splits_refuse():
    with pytest.raises(DataError, match=r"too few samples: 3 cannot be split into 25 % calibration.*give at least 4"):
        data.split(3, None, 0)
    with pytest.raises(OptionError, match="must be above 0 and sum to 1"):
        data.split(30, None, 0, {"a": 0.5, "b": 0.4})


def bound(n, seed=0, y=None, classes=None):
    return data.arrays(noise(n, 4, seed=seed), y).bind(VECTOR, classes)


def test_partition_of_one_set():
    parts = data.partition(bound(100, y=np.arange(100) % 2, classes=2), None, 0, 20)
    assert [len(p) for p in (parts.calibration, parts.selection, parts.report)] == [20, 25, 50]
    assert_same(np.bincount(parts.calibration.labels), np.array([10, 10]))
    assert parts.findings == ()


def test_partition_with_evaluation_data():
    parts = data.partition(bound(30), bound(40, seed=1), 0, 20)
    assert [len(p) for p in (parts.calibration, parts.selection, parts.report)] == [20, 10, 40]
    assert parts.findings == ()
    few = data.partition(bound(30), bound(40, seed=1), 0)
    assert [len(p) for p in (few.calibration, few.selection)] == [30, 0]
    assert [f.message for f in few.findings] == ["calibration uses 30 samples of the 500 asked for: all there are"]


def test_partition_refuses():
    with pytest.raises(OptionError, match="--calibration-samples 0 must be at least 1"):
        data.partition(bound(30), None, 0, 0)
    with pytest.raises(DataError, match="too few samples: 2"):
        data.partition(bound(2), None, 0)


def test_overlap_names_both():
    a, b = bound(6), bound(6).take([5, 2]).take([1, 0])
    assert data.overlap(b, a) == (("sample 2 of the arrays",) * 2, ("sample 5 of the arrays",) * 2)
    assert data.overlap(bound(6), bound(6, seed=1)) == ()


def test_a_sample_that_calibrates_and_reports_is_found(tmp_path):
    train, test = image_folder(tmp_path / "train"), image_folder(tmp_path / "test", per_class=2)
    parts = data.partition(data.folder(train).bind(RGB, 2), data.folder(test).bind(RGB, 2), 0, 8)
    message = next(f.message for f in parts.findings if f.kind == "overlap")
    assert message.startswith("4 of 8 calibration samples are also among the 4 that report")
    assert "train/cat/" in message
    assert "and 1 more" in message


def test_duplicates_within_one_folder_are_found(tmp_path):
    root = image_folder(tmp_path, per_class=20)
    same = [write_image(p, pixels(7)) for p in sorted(root.rglob("*.png"))]
    parts = data.partition(data.folder(root).bind(RGB, 2), None, 0)
    assert len(same) == 40
    assert [f.kind for f in parts.findings] == ["few-calibration-samples", "overlap"]
    assert "10 of 10 selection samples" in data.leaks(parts.selection, parts.report, "selection")[0].message


def test_the_fingerprint_follows_everything_that_counts(tmp_path):
    root = image_folder(tmp_path)
    base = data.folder(root).bind(RGB, 2)
    assert base.fingerprint() == data.folder(root).bind(RGB, 2).fingerprint()
    others = [
        base.take(range(7)),
        base.take(range(7, -1, -1)),
        data.folder(root, pixels=(-1, 1)).bind(RGB, 2),
        data.folder(root).bind(GRAY, 2),
        replace(base, labels=base.labels[::-1]),
        replace(base, targets=None),
    ]
    write_image(root / "cat" / "0.png", pixels(99))
    others.append(data.folder(root).bind(RGB, 2))
    assert len({base.fingerprint(), *(s.fingerprint() for s in others)}) == len(others) + 1


def test_identities_are_computed_once(tmp_path):
    root = image_folder(tmp_path)
    samples = data.folder(root).bind(RGB, 2)
    samples.digests()
    (root / "cat" / "0.png").unlink()
    assert len(samples.fingerprint()) == 64


def test_array_fingerprints_follow_values_and_dtype():
    x = noise(3, 4)
    prints = {data.arrays(v).bind(VECTOR, None).fingerprint() for v in (x, x + 1, x.astype(np.float64), x.reshape(3, 1, 4))}
    assert len(prints) == 4
    two = {"left": noise(3, 4), "right": noise(3, 2)}
    swapped = {"left": noise(3, 4), "right": noise(3, 2)[::-1]}
    assert data.arrays(two).bind(TWO, None).fingerprint() != data.arrays(swapped).bind(TWO, None).fingerprint()


# --- from a graph ----------------------------------------------------------------------------------------------------


def test_specs_and_classes_of_a_graph():
    tensors = (
        Tensor(0, "serving_default_x:0", (None, 8, 8, 3)),
        Tensor(1, "q", (1, 4), Affine((0.5,), (3,))),
        Tensor(2, "i", (1, 4), Index("int32")),
        Tensor(3, "out", (None, 10), Float()),
    )
    graph = Graph({t.id: t for t in tensors}, (), (0, 1, 2), (3,), (Signature("s", (("x", 0),), (("y", 3),)),))
    assert data.input_specs(graph) == (
        InputSpec("x", (None, 8, 8, 3)),
        InputSpec("q", (1, 4)),
        InputSpec("i", (1, 4), "int32"),
    )
    assert data.class_count(graph) == 10
    assert data.class_count(replace(graph, outputs=(3, 3))) is None
    assert data.class_count(replace(graph, outputs=(0,))) is None


@pytest.mark.parametrize(("numbers", "classes"), [(None, 2), (1, 2), (2, 2), (10, 10)])
def test_a_single_number_tells_two_classes_apart(numbers, classes):
    assert classes_of(numbers) == classes


# --- real images -----------------------------------------------------------------------------------------------------


def test_real_images(shared, tmp_path):
    with tarfile.open(shared / "data" / "cifar10-test.tar.xz") as archive:
        first = (m for m in archive if m.name.endswith(("0001.jpg", "0002.jpg")))
        archive.extractall(tmp_path, [next(first) for _ in range(4)], filter="data")
    samples = data.folder(tmp_path / "test", pixels=(-1, 1)).bind((InputSpec("x", (1, 32, 32, 3)),), 10)
    x = everything(samples)[0]["x"]
    with Image.open(samples.name(0)) as image:
        assert_same(x[0], (np.asarray(image) / 127.5 - 1).astype(np.float32), atol=1e-6)
    assert kinds(samples) == ("unlabelled",)

"""What people have in their hands is taken as it is: every form gives the same samples and labels."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from compare import assert_same
from frames import HuggingFace
from images import image_folder, pixels
from nets import images, mobile
from PIL import Image

import intact
from intact.data import InputSpec, samples_from
from intact.errors import DataError, OptionError

ONE = (InputSpec("image", (1, 8, 8, 3)),)
TWO = (InputSpec("left", (1, 4)), InputSpec("right", (1, 2)))
VECTOR = (InputSpec("x", (1, 4)),)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 8, 8, 3)).astype(np.float32), np.arange(12) % 3
NCHW = torch.from_numpy(X.transpose(0, 3, 1, 2).copy())
LEFT, RIGHT = RNG.normal(size=(6, 4)).astype(np.float32), RNG.normal(size=(6, 2)).astype(np.float32)


def bound(source, inputs=ONE, classes=3):
    samples = samples_from(source).bind(inputs, classes)
    return samples, *samples.batch(range(len(samples)))


class Numbered(torch.utils.data.Dataset):
    """A torch Dataset: one sample and label by number."""

    def __len__(self):
        return len(Y)

    def __getitem__(self, i):
        if i >= len(Y):
            raise IndexError
        return NCHW[i], int(Y[i])


class Foreign:
    """An array of another library."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values


def batches():
    yield X[:8], Y[:8]
    yield X[8:], Y[8:]


def loader(**options):
    return torch.utils.data.DataLoader(Numbered(), **options)


# ---- one input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: X,
        lambda: NCHW,
        lambda: list(X),
        X.tolist,
        lambda: Foreign(X),
        lambda: {"image": X},
        lambda: {"x": X},
        lambda: iter(X),
        lambda: (x for x in X),
        lambda: lambda: ([x[None]] for x in X),
        lambda: functools.partial(iter, [[x[None]] for x in X]),
        lambda: lambda: X,
        lambda: intact.data.arrays(X),
    ],
    ids=[
        "array",
        "tensor",
        "list",
        "nested",
        "foreign",
        "name",
        "x",
        "iterator",
        "generator",
        "representative",
        "partial",
        "function",
        "data",
    ],
)
def test_samples_alone(make):
    samples, inputs, labels = bound(make())
    assert_same(inputs["image"], X)
    assert labels is None
    assert samples.targets is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: (X, Y),
        lambda: (NCHW, torch.from_numpy(Y)),
        lambda: (X, Y.tolist()),
        lambda: (X, np.array(["ant", "bee", "cow"])[Y]),
        lambda: (X, np.eye(3)[Y]),
        lambda: (list(X), Y),
        lambda: ({"image": X}, Y),
        lambda: {"image": X, "label": Y},
        lambda: {"x": X, "y": Y},
        lambda: {"x_train": X, "y_train": Y},
        loader,
        lambda: loader(batch_size=5),
        lambda: loader(batch_size=None),
        Numbered,
        batches,
        lambda: batches,
        lambda: [(x, y) for x, y in zip(X, Y, strict=True)],
        lambda: [{"image": x, "label": y} for x, y in zip(X, Y, strict=True)],
    ],
    ids=[
        "arrays",
        "tensors",
        "list-of-labels",
        "names",
        "one-hot",
        "list-of-samples",
        "by-name",
        "labels-by-name",
        "x-y",
        "train",
        "loader",
        "batches",
        "unbatched",
        "dataset",
        "generator",
        "function",
        "pairs",
        "rows",
    ],
)
def test_samples_with_labels(make):
    _, inputs, labels = bound(make())
    assert_same(inputs["image"], X)
    assert_same(labels, Y.astype(np.int64))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_paths_and_what_numpy_loads(tmp_path, save):
    save(tmp_path / "a.npz", x=X, y=Y)
    with np.load(tmp_path / "a.npz") as loaded:
        for source in (tmp_path / "a.npz", str(tmp_path / "a.npz"), loaded):
            _, inputs, labels = bound(source)
            assert_same(inputs["image"], X)
            assert_same(labels, Y.astype(np.int64))
    assert len(samples_from(str(image_folder(tmp_path / "photos"))).bind(ONE, 2)) == 8


# ---- several inputs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "labelled"),
    [
        (lambda: (LEFT, RIGHT), False),
        (lambda: [LEFT, RIGHT], False),
        (lambda: [torch.from_numpy(LEFT), RIGHT], False),
        (lambda: {"right": RIGHT, "left": LEFT}, False),
        (lambda: {"right": RIGHT, "left": LEFT, "y": Y[:6]}, True),
        (lambda: ((LEFT, RIGHT), Y[:6]), True),
        (lambda: ([LEFT, RIGHT], Y[:6]), True),
        (lambda: ({"right": RIGHT, "left": LEFT}, Y[:6]), True),
        (lambda: lambda: ([a[None], b[None]] for a, b in zip(LEFT, RIGHT, strict=True)), False),
        (lambda: lambda: ({"left": a[None], "right": b[None]} for a, b in zip(LEFT, RIGHT, strict=True)), False),
        (
            lambda: (
                lambda: (("serving_default", {"left": a[None], "right": b[None]}) for a, b in zip(LEFT, RIGHT, strict=True))
            ),
            False,
        ),
        (lambda: lambda: (((a, b), y) for a, b, y in zip(LEFT, RIGHT, Y, strict=False)), True),
    ],
    ids=[
        "tuple",
        "list",
        "tensors",
        "names",
        "names-y",
        "pair",
        "pair-of-list",
        "pair-of-names",
        "lists",
        "mappings",
        "signature",
        "pairs",
    ],
)
def test_several_inputs(make, labelled):
    _, inputs, labels = bound(make(), TWO)
    assert_same(inputs["left"], LEFT)
    assert_same(inputs["right"], RIGHT)
    assert (labels is not None) is labelled
    if labelled:
        assert_same(labels, Y[:6].astype(np.int64))


def test_a_pair_for_a_model_with_one_input_is_samples_and_labels():
    _, inputs, labels = bound((LEFT, Y[:6]), VECTOR)
    assert_same(inputs["x"], LEFT)
    assert_same(labels, Y[:6].astype(np.int64))


# ---- images in memory -----------------------------------------------------------------------------------------------

PHOTOS = [Image.fromarray(pixels(i, (8, 8 + i))) for i in range(6)]


@dataclass
class ClassLabel:
    names: list[str]


class Photos(torch.utils.data.Dataset):
    """torchvision's, without a transform."""

    def __len__(self):
        return len(PHOTOS)

    def __getitem__(self, i):
        return PHOTOS[i], i % 3


@pytest.mark.parametrize(
    "make",
    [
        lambda: (PHOTOS, Y[:6]),
        Photos,
        lambda: [(photo, i % 3) for i, photo in enumerate(PHOTOS)],
        lambda: HuggingFace({"img": PHOTOS, "id": list("abcdef"), "label": Y[:6].tolist()}),
        lambda: HuggingFace({"img": PHOTOS, "kind": Y[:6].tolist()}, kind=ClassLabel(["a", "b", "c"])),
        lambda: intact.data.huggingface(HuggingFace({"img": PHOTOS, "n": Y[:6].tolist()}), image="img", label="n"),
    ],
    ids=["lists", "torchvision", "pairs", "label", "ClassLabel", "named"],
)
def test_images_in_memory_are_resized(make):
    samples, inputs, labels = bound(make())
    assert inputs["image"].shape == (6, 8, 8, 3)
    assert_same(inputs["image"][0], pixels(0).astype(np.float32) / 255, atol=1e-6)
    assert_same(samples.batch([0])[0]["image"], inputs["image"][:1])  # from the cache
    assert_same(labels, Y[:6].astype(np.int64))
    assert "pixels-assumed" in {f.kind for f in samples.findings}
    assert len(np.unique(samples.digests())) == 6


def test_images_take_a_preprocessing():
    samples, inputs, _ = bound(intact.data.pil(PHOTOS, pixels=(-1, 1), resize="letterbox"))
    assert samples.findings == ()
    assert_same(inputs["image"][0], pixels(0).astype(np.float32) / 127.5 - 1, atol=1e-6)
    assert_same(inputs["image"][5, 0], np.full((8, 3), 114 / 127.5 - 1, np.float32), atol=1e-6)


def test_a_data_set_of_columns_of_numbers():
    table = HuggingFace({"left": LEFT.tolist(), "right": RIGHT.tolist(), "text": list("abcdef"), "label": Y[:6].tolist()})
    _, inputs, labels = bound(table, TWO)
    assert_same(inputs["right"], RIGHT)
    assert_same(labels, Y[:6].astype(np.int64))
    _, inputs, _ = bound(HuggingFace({"features": LEFT.tolist()}), VECTOR)
    assert_same(inputs["x"], LEFT)


# ---- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (3, "a list of|is a single number|a int holds no samples.*intact.data.iterable"),
        (None, "there are no samples; give data as arrays .*intact.data.iterable"),
        (object(), r"a object holds no samples; give data as arrays \(x, or x and y as a pair\)"),
        (torch.nn.ReLU(), "a ReLU holds no samples"),
        (b"bytes", "a bytes holds no samples"),
        (lambda n: [n], "the function takes arguments"),
        (
            {"train": HuggingFace({"x": [1]}), "test": HuggingFace({"x": [1]})},
            r"several splits \('train', 'test'\).*data\['train'\]",
        ),
        (((X, Y), (X[:3], Y[:3])), "looks like .*x_train.*evaluation=test"),
        ("nowhere/at/all", "nowhere/at/all: no such file or folder"),
        (HuggingFace({"a": PHOTOS, "b": PHOTOS}), r"several columns of images \(a, b\); say image="),
        (HuggingFace({"text": ["a"]}), "no column of images or numbers; it has text"),
        ([], "gave no samples"),
    ],
)
def test_what_holds_no_samples_is_refused(source, says):
    with pytest.raises(DataError, match=says):
        samples_from(source).bind(ONE, 3)


def test_a_tuple_of_three_is_neither():
    with pytest.raises(DataError, match="a tuple of 3 is neither a pair"):
        bound((X, Y, np.ones(12)))
    with pytest.raises(DataError, match="no column 'photo'"):
        intact.data.huggingface(HuggingFace({"a": PHOTOS}), image="photo")


# ---- the whole way --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "evaluation"),
    [
        (images(60), None),
        ((images(60), np.arange(60) % 4), None),
        (lambda: ([x[None]] for x in images(60)), None),
        (images(40), (images(30, seed=1), np.arange(30) % 4)),
    ],
    ids=["array", "pair", "representative", "evaluation"],
)
def test_quantize_takes_them(data, evaluation):
    result = intact.quantize(mobile(), data, evaluation=evaluation, measure=False)
    assert result.graph.is_quantized


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 3)
    )


def first_shape(source, module=None):
    """The shape that a module is traced on."""
    from_torch = intact.formats.torch
    chosen = from_torch.first_that_fits(net() if module is None else module, samples_from(source).examples())
    return None if chosen is None else tuple(chosen.shape)


@pytest.mark.parametrize(
    "make",
    [
        lambda: NCHW,
        lambda: (NCHW, Y),
        lambda: X,
        lambda: loader(batch_size=4),
        lambda: loader(batch_size=None),
        Numbered,
        lambda: [NCHW[:5], NCHW[5:]],
        lambda: (x for x in NCHW),
        lambda: lambda: ([x[None]] for x in NCHW),
        lambda: {"x": NCHW, "y": Y},
    ],
    ids=["tensor", "pair", "nhwc", "loader", "unbatched", "dataset", "batches", "generator", "representative", "mapping"],
)
def test_a_module_is_traced_on_the_first_sample(make):
    assert first_shape(make()) == (1, 3, 8, 8)


def test_images_do_not_say_what_a_module_takes(tmp_path):
    assert first_shape(image_folder(tmp_path)) is None
    with pytest.raises(OptionError, match="give a sample"):
        intact.quantize(net(), intact.data.folder(tmp_path))


def test_quantize_a_module_with_its_loader():
    pytest.importorskip("litert_torch", reason="needs the extra [torch]")
    result = intact.quantize(net(), loader(batch_size=4), measure=False)
    assert result.float_graph[result.float_graph.inputs[0]].shape[1:] == (8, 8, 3)


@pytest.mark.parametrize("given", [str, lambda path: path], ids=["texts", "paths"])
def test_a_list_of_image_files(tmp_path, given):
    image_folder(tmp_path)
    files = [given(path) for path in sorted(tmp_path.rglob("*.png"))]
    _, inputs, labels = bound(files)
    assert_same(inputs["image"][0], pixels(0).astype(np.float32) / 255, atol=1e-6)
    assert labels is None
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        samples_from([*files, "gone.png"])


def test_channels_that_cannot_be_told_from_sides_are_asked_for():
    intact.data.check_channels((InputSpec("x", (1, 8, 8, 3)), InputSpec("y", (1, 1, 1, 1)), InputSpec("z", (1, 3, 3))))
    with pytest.raises(DataError, match=r"\['n', 3, 3, 3\] look alike with channels first and last; say which"):
        intact.data.check_channels((InputSpec("x", (1, 3, 3, 3)),))


@pytest.mark.filterwarnings("ignore")  # TensorFlow's own
def test_tensorflows_own(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = pytest.importorskip("tensorflow", reason="needs the extra [keras]")
    for source in (tf.constant(X), tf.data.Dataset.from_tensor_slices(X), tf.data.Dataset.from_tensor_slices(X).batch(5)):
        assert_same(bound(source)[1]["image"], X)
    for source in ((tf.constant(X), tf.constant(Y)), tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)):
        assert_same(bound(source)[2], Y.astype(np.int64))

"""The pixels that a model gets from images of every mode that people have; right values, made with Pillow."""

import io

import numpy as np
import pytest
from compare import assert_same
from images import pixels
from PIL import Image, ImageOps

from intact.data import InputSpec, Preprocessing, decoding
from intact.data.pictures import decode, decode_mask
from intact.errors import DataError, OptionError

RGB, GRAY = InputSpec("x", (1, 8, 8, 3)), InputSpec("x", (1, 8, 8, 1))


def stored(image, suffix=".png", **options):
    out = io.BytesIO()
    image.save(out, format=Image.registered_extensions()[suffix], **options)
    return out.getvalue()


def decoded(data, spec=RGB, **options):
    return decode(io.BytesIO(data), Preprocessing(**options).fit(spec))


def flat(*colour):
    return np.broadcast_to(np.array(colour, np.uint8), (8, 8, len(colour)))


# ---- modes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "colour", "suffix", "rgb", "gray"),
    [
        ("L", 77, ".png", (77, 77, 77), 77),
        ("LA", (77, 3), ".png", (77, 77, 77), 77),
        ("RGB", (255, 0, 0), ".png", (255, 0, 0), 76),
        ("RGBA", (10, 200, 30, 0), ".png", (10, 200, 30), 124),
        ("1", 1, ".png", (255, 255, 255), 255),
        ("CMYK", (0, 255, 255, 0), ".tiff", (255, 0, 0), 76),
        ("YCbCr", (76, 85, 255), ".jpg", (254, 0, 0), 76),
    ],
)
def test_modes(mode, colour, suffix, rgb, gray):
    data = stored(Image.new(mode, (8, 8), colour), suffix)
    assert_same(decoded(data), flat(*rgb))
    assert_same(decoded(data, GRAY), flat(gray))


def test_a_cmyk_jpeg_is_not_inverted():
    data = stored(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), ".jpg", quality=100)
    assert np.abs(decoded(data).astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\x80"])
def test_palettes_give_their_colours(transparency):
    image = Image.fromarray(np.tile(np.arange(8, dtype=np.uint8) % 2, (8, 1)), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    data = stored(image, **({} if transparency is None else {"transparency": transparency}))
    assert_same(decoded(data)[0, :2], np.array([[10, 20, 30], [40, 50, 60]], np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_and_not_clipped(suffix, order):
    values = np.zeros((8, 8), np.uint16)
    values[0] = [0, 128, 129, 257, 300, 32768, 65278, 65535]
    image = Image.fromarray(values.astype(order)) if suffix == ".tiff" else Image.fromarray(values)
    expected = np.array([0, 0, 1, 1, 1, 128, 254, 255], np.uint8)
    assert_same(decoded(stored(image, suffix), GRAY)[0, :, 0], expected)
    assert_same(decoded(stored(image, suffix))[0, :, 1], expected)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff", ".webp"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda x: x),
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (4, lambda x: x[::-1]),
        (5, lambda x: x.transpose(1, 0, 2)),
        (6, lambda x: np.rot90(x, -1)),
        (7, lambda x: x[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90),
    ],
)
def test_every_orientation_is_turned_upright(suffix, orientation, upright):
    values = np.zeros((16, 24, 3), np.uint8)
    values[:8, :8] = 255, 0, 0
    values[:8, 16:] = 0, 255, 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {"lossless": True} if suffix == ".webp" else {}
    data = stored(Image.fromarray(values), suffix, exif=exif, **options)
    wanted = upright(values)
    spec = InputSpec("x", (1, *wanted.shape))
    assert np.abs(decoded(data, spec).astype(int) - wanted).max() <= 4


# ---- sizes --------------------------------------------------------------------------------------------------------------


def test_a_letterbox_keeps_proportions_in_the_middle_of_gray():
    data = stored(Image.new("RGB", (16, 8), (255, 0, 0)))
    made = decoded(data, resize="letterbox")
    assert_same(made[2:6], np.broadcast_to(np.array([255, 0, 0], np.uint8), (4, 8, 3)))
    assert_same(made[[0, 1, 6, 7]], np.full((4, 8, 3), 114, np.uint8))


@pytest.mark.parametrize(
    ("size", "model", "first", "kept"),
    [
        ((1280, 720), (64, 64), (14, 0), (36, 64)),
        ((720, 1280), (64, 64), (0, 14), (64, 36)),
        ((8, 8), (16, 16), (0, 0), (16, 16)),
        ((10, 6), (5, 10), (0, 1), (5, 8)),
        ((9, 4), (8, 9), (2, 0), (4, 9)),
        ((500, 1), (8, 8), (3, 0), (1, 8)),
        ((20, 9), (10, 10), (3, 0), (4, 10)),
    ],
    ids=str,
)
def test_letterboxes_round_as_ultralytics_does(size, model, first, kept):
    made = decoded(stored(Image.new("RGB", size, (255, 255, 255))), InputSpec("x", (1, *model, 3)), resize="letterbox:0")
    rows, columns = (np.flatnonzero(made.any((1, 2))), np.flatnonzero(made.any((0, 2))))
    assert (rows[0], columns[0]) == first
    assert (len(rows), len(columns)) == kept
    # what its code computes: int(round(side * r)), then int(round(pad / 2 - 0.1)) before
    r = min(model[0] / size[1], model[1] / size[0])
    assert kept == (max(round(size[1] * r), 1), max(round(size[0] * r), 1))


@pytest.mark.parametrize(("resize", "value"), [("letterbox", 114), ("letterbox:0", 0), ("letterbox:255", 255)])
def test_the_border_has_its_value_in_every_mode(resize, value):
    for spec in (RGB, GRAY):
        made = decoded(stored(Image.new("L", (16, 8), 7)), spec, resize=resize)
        assert set(np.unique(made)) == {7, value}


@pytest.mark.parametrize("resize", ["letterbox:256", "letterbox:-1", "letterbox:", "stretch:3", "letterboxed"])
def test_other_words_for_resizing_are_refused(resize):
    with pytest.raises(OptionError, match=r"is not one of stretch, crop, crop:N .* letterbox, letterbox:N"):
        Preprocessing(resize=resize)


# ---- masks --------------------------------------------------------------------------------------------------------------


def masked(image, **options):
    return decode_mask(io.BytesIO(stored(image)), Preprocessing(**options).fit(RGB))


def test_masks_are_class_numbers_in_the_place_of_their_image():
    values = np.zeros((8, 16), np.uint8)
    values[:, 8:] = 3
    palette = Image.fromarray(values, "P")
    palette.putpalette([0, 0, 0] + [9, 9, 9] * 255)
    for image in (Image.fromarray(values), palette, Image.fromarray(values.astype(np.uint16))):
        assert_same(masked(image), np.repeat(np.array([[0, 3]], np.uint8), 4, 1).repeat(8, 0))
        boxed = masked(image, resize="letterbox")
        assert_same(boxed[2], np.array([0] * 4 + [3] * 4, np.uint8))
        assert_same(boxed[0], np.full(8, 255, np.uint8))


def test_masks_in_colours_or_of_many_classes_are_refused():
    with pytest.raises(DataError, match=r"is a mask in colours .RGB.; save class numbers"):
        masked(Image.fromarray(pixels(0)))
    with pytest.raises(DataError, match="holds class 300 in 16 bits"):
        masked(Image.fromarray(np.full((8, 8), 300, np.uint16)))


def test_a_pillow_without_a_format_reads_the_others(monkeypatch):
    values = flat(10, 20, 30)
    monkeypatch.setattr(decoding, "_formats", decoding._formats.__wrapped__)
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    assert_same(decoded(stored(Image.fromarray(values))), values)


def test_a_jpeg_of_several_images_is_its_first():
    """As phones write them; Pillow calls it MPO."""
    made, first = io.BytesIO(), Image.new("RGB", (8, 8), (200, 30, 30))
    first.save(made, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8), (30, 30, 200))])
    with Image.open(io.BytesIO(made.getvalue())) as opened:
        assert opened.format == "MPO"
    assert np.abs(decoded(made.getvalue()).astype(int) - (200, 30, 30)).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = stored(Image.fromarray(pixels(0, (8, 8))), suffix, exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert_same(decoded(data), expected)

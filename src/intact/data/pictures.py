"""From one image to the pixels that a model reads: upright, in its channels, in its size."""

from __future__ import annotations

from typing import IO, Final

import numpy as np
from PIL import Image

from intact.data.decoding import opened, upright
from intact.data.preprocessing import GRAY, Preprocessing, Size
from intact.errors import DataError

_FILTERS: Final = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}
#: What a mask holds where there is no image: no class, as in PASCAL VOC.
NO_CLASS: Final = 255
#: Pixels that become 8 bits at a time.
_BLOCK: Final = 1 << 22


def decode(file: IO[bytes], preprocessing: Preprocessing) -> np.ndarray:
    """An image file as uint8 ``[height, width, planes]`` of a fitted preprocessing; see :func:`converted`."""
    with opened(file) as image:
        return converted(image, preprocessing)


def converted(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """A Pillow image as uint8 ``[height, width, planes]`` of a fitted preprocessing: upright, converted, resized.

    Gray becomes RGB by repeating, RGB becomes gray by ITU-R 601 luma, transparency is dropped, 16 bits become 8 by
    ``round(value / 257)``, of an animation the first frame is taken. Raises DataError.
    """
    size = preprocessing.size
    assert size is not None, "preprocessing is not fitted"
    image = _eight_bits(upright(image))
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    mode = "L" if preprocessing.channels == "gray" else "RGB"
    image = image if image.mode == mode else image.convert(mode)  # which copies it
    resized = _resized(image, preprocessing.resize, size, _FILTERS[preprocessing.method], None)
    return np.asarray(resized).reshape(*size, preprocessing.planes)


def decode_mask(file: IO[bytes], preprocessing: Preprocessing, *, binary: bool = False) -> np.ndarray:
    """A mask's file as class numbers, uint8 ``[height, width]``, placed as :func:`decode` places its image.

    A palette's indices and gray values are class numbers; in a ``binary`` mask all but 0 is class 1. Nearest neighbours are
    taken; NO_CLASS where there is no image. Raises DataError for masks in colours.
    """
    size = preprocessing.size
    assert size is not None, "preprocessing is not fitted"
    with opened(file) as given:
        values = _class_numbers(given)
        image = Image.fromarray((values > 0).astype(np.uint8) if binary else values)
        return np.asarray(_resized(image, preprocessing.resize, size, Image.Resampling.NEAREST, NO_CLASS)).reshape(size)


def mask_values(file: IO[bytes]) -> list[int]:
    """The class numbers that a mask's file holds."""
    with opened(file) as given:
        return [value for value, count in enumerate(Image.fromarray(_class_numbers(given)).histogram()) if count]


def _class_numbers(image: Image.Image) -> np.ndarray:
    image = upright(image)
    if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
        raise DataError(
            f"is a mask in colours ({image.mode}); save class numbers as gray values, or as the indices of a palette"
        )
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > NO_CLASS):
        raise DataError(f"holds class {values.max()} in 16 bits; class numbers go up to {NO_CLASS}")
    return values.astype(np.uint8)


def _resized(image: Image.Image, resize: str, size: Size, method: Image.Resampling, padding: int | None) -> Image.Image:
    """``image`` in ``size`` by the rule ``resize``; ``padding`` instead of the rule's own."""
    height, width = size
    how, _, number = resize.partition(":")
    if how == "none" and image.size != (width, height):
        raise DataError(
            f"is {image.height} x {image.width} pixels (height x width), the model takes {height} x {width}; "
            "resize it, or leave out resize none"
        )
    if how == "letterbox":
        return _letterbox(image, size, method, padding if padding is not None else int(number or GRAY))
    if how != "crop":
        return image if image.size == (width, height) else image.resize((width, height), method)
    # torchvision's Resize and CenterCrop: the longer side is truncated, the offset rounded half to even.
    wanted = (int(number), int(number)) if number else size
    scale = max(wanted[0] / image.height, wanted[1] / image.width)
    new_height, new_width = max(int(image.height * scale + 1e-6), wanted[0]), max(int(image.width * scale + 1e-6), wanted[1])
    if image.size != (new_width, new_height):
        image = image.resize((new_width, new_height), method)
    top, left = round((new_height - height) / 2), round((new_width - width) / 2)
    return image.crop((left, top, left + width, top + height))


def _letterbox(image: Image.Image, size: Size, method: Image.Resampling, padding: int) -> Image.Image:
    """As large as fits with its proportions kept, in the middle of ``padding``; an odd row or column goes below or right.

    Worked: 1280 x 720 into 640 x 640 is 640 x 360 with 140 rows above and below. Source: LetterBox of Ultralytics YOLO
    (data/augment.py), which rounds so; its OpenCV filter does not average when it shrinks, Pillow's does.
    """
    height, width = size
    scale = min(height / image.height, width / image.width)
    new_width, new_height = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    if image.size != (new_width, new_height):
        image = image.resize((new_width, new_height), method)
    whole = Image.new(image.mode, (width, height), (padding,) * len(image.getbands()) if len(image.getbands()) > 1 else padding)
    whole.paste(image, (round((width - new_width) / 2 - 0.1), round((height - new_height) / 2 - 0.1)))
    return whole


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit gray as 8-bit gray; Pillow's own conversion would clip at 255."""
    if image.mode == "F":
        raise DataError("holds fractions, not pixels; give the samples as arrays (.npz or .npy)")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise DataError("holds 32-bit pixels, of which the range is not known; give the samples as arrays (.npz or .npy)")
    gray = np.empty(values.shape, np.uint8)
    step = max(_BLOCK // max(image.width, 1), 1)
    for start in range(0, len(values), step):
        gray[start : start + step] = (values[start : start + step].astype(np.int32) + 128) // 257
    return Image.fromarray(gray)

"""A sample as a small picture, where it is one: what a page shows of it."""

from __future__ import annotations

import base64
import io
from typing import Final

import numpy as np
from PIL import Image

from intact.data.samples import Samples
from intact.errors import IntactError

#: Pixels of the longer side.
_SIDE: Final = 64


def thumbnail(samples: Samples, index: int) -> str | None:
    """Sample ``index`` as the ``data:`` URL of a PNG of at most 64 x 64 pixels; None for what is no picture.

    That is what the only input of a model takes as [height, width] with 1 or 3 planes; its darkest number is shown black and
    its lightest white, in the order of colours that the preprocessing has.
    """
    if len(samples.inputs) != 1 or not _is_picture(samples.inputs[0].sample):
        return None
    try:
        given, _ = samples.batch([index])
    except IntactError:  # the file went meanwhile: no reason to lose what was measured on it
        return None
    x = next(iter(given.values()))[0].astype(np.float64)
    low, high = x.min(), x.max()
    pixels = ((x - low) * (255 / max(high - low, 1e-30))).round().astype(np.uint8)
    if samples.preprocessing.channels == "bgr":
        pixels = pixels[..., ::-1]
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[2] in (1, 3) and min(shape[:2]) > 1

"""A sample as a picture of 64 pixels at most, where it is one."""

import base64
import io

import numpy as np
import pytest
from images import image_folder
from PIL import Image

import intact
from intact.data.spec import InputSpec
from intact.data.thumbnails import thumbnail


def bound(x):
    return intact.data.arrays(x).bind((InputSpec("x", (None, *x.shape[1:])),), None)


def opened(url):
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.mark.parametrize(("planes", "mode"), [(1, "L"), (3, "RGB")])
def test_darkest_black_and_lightest_white(planes, mode):
    x = np.zeros((2, 100, 50, planes), np.float32) - 3
    x[1, :50] = 7
    image = opened(thumbnail(bound(x), 1))
    assert (image.mode, image.size) == (mode, (32, 64))
    assert np.asarray(image)[0, 0].min() == 255
    assert np.asarray(image)[-1, 0].max() == 0


def test_colours_in_their_order(tmp_path):
    folder = tmp_path / "photos"
    image_folder(folder, ("a",), per_class=1)
    path = next(folder.rglob("*.*"))
    Image.new("RGB", (8, 8), (255, 0, 0)).save(path)
    shown = []
    for channels in ("rgb", "bgr"):
        samples = intact.data.folder(folder, channels=channels).bind((InputSpec("x", (None, 8, 8, 3)),), None)
        shown.append(np.asarray(opened(thumbnail(samples, 0)))[4, 4].tolist())
    assert shown[0] == shown[1]
    assert shown[0][0] > shown[0][2]


@pytest.mark.parametrize("shape", [(4, 10), (4, 10, 10), (4, 8, 8, 2), (4, 1, 9, 3)])
def test_what_is_no_picture(shape):
    assert thumbnail(bound(np.zeros(shape, np.float32)), 0) is None

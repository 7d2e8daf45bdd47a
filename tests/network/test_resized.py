"""A network for images of another size is the network that would have been built for it."""

import numpy as np
import pytest
from drafts import draft, normal

from intact.errors import ModelError
from intact.network.resized import image_size, resized
from intact.network.shapes import infer
from intact.ops.convolution import Conv2D
from intact.ops.matmul import FullyConnected
from intact.ops.reduction import Mean
from intact.ops.shaping import Reshape


def pooled(height, width):
    """Any size will do."""
    return draft(
        (height, width, 3),
        lambda d, x: d(Mean(), d(Conv2D(padding="same", stride=(2, 2)), x, normal(4, 3, 3, 3), np.zeros(4)), np.int32([1, 2])),
    )


def flattened(side):
    """The dense layer is for one size."""
    return draft(
        (side, side, 2),
        lambda d, x: d(
            FullyConnected(), d(Reshape(), x, np.int32([-1, side * side * 2])), normal(5, side * side * 2), np.zeros(5)
        ),
    )


def convolved(side):
    """The output has the size of the input."""
    return draft((side, side, 2), lambda d, x: d(Conv2D(padding="same"), x, normal(3, 1, 1, 2), np.zeros(3)))


def test_every_shape_is_that_of_the_network_built_for_the_size():
    made, built = resized(pooled(24, 16), (12, 20)), pooled(12, 20)
    assert infer(made) == infer(built)
    assert [t.shape for t in made.tensors.values()] == [t.shape for t in built.tensors.values()]
    assert image_size(made) == (12, 20)


def test_what_is_for_one_size_alone_is_refused():
    assert image_size(flattened(8)) == (8, 8)
    with pytest.raises(ModelError):
        resized(flattened(8), (4, 4))


def test_an_output_of_another_shape_is_refused():
    with pytest.raises(ModelError, match="has another shape for images of 4 x 4"):
        resized(convolved(8), (4, 4))


def test_what_takes_no_images_has_no_size():
    dense = draft((7,), lambda d, x: d(FullyConnected(), x, normal(5, 7), np.zeros(5)))
    assert image_size(dense) is None

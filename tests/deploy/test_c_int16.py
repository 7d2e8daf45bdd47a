"""The C of 16-bit activations, bit for bit the arithmetic of TensorFlow Lite Micro as the simulator has it."""


import numpy as np
import pytest
from c_networks import outputs_in_c
from compare import assert_same
from integer_cases import samples
from wide_cases import every_wide_kind

from intact.simulate.exact import IntegerProgram


def extreme(b, n):
    """Samples of which one is all lowest, one all highest and one both by turns."""
    given = samples(b, n)
    for x in given.values():
        ends = np.iinfo(x.dtype)
        x[0], x[1] = ends.min, ends.max
        x[2] = np.resize([ends.min, ends.max], x[2].shape)
    return given


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_kind_is_bit_exact(tmp_path, seed):
    b = every_wide_kind(seed)
    graph, x = b.graph(), extreme(b, 20)
    made, exact = outputs_in_c(graph, x, tmp_path), IntegerProgram(graph, "tflm")(x)
    for name in graph.output_names:
        assert_same(made[name], exact[name])

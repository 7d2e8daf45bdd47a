"""int16 activations to the last bit: what the simulator computes against what TensorFlow Lite Micro computes."""

import functools
import importlib.util

import numpy as np
import pytest
import run_files
from compare import assert_same
from nets import NETS
from plans import planned
from wide_cases import every_wide_kind, extreme

from intact.formats import tflite
from intact.planning.integer_graph import emit
from intact.rewrite.lowerings import lower
from intact.simulate.exact import INT16, IntegerProgram, exposed

no_tflm = pytest.mark.skipif(
    importlib.util.find_spec("tflite_micro") is None,
    reason="the microcontroller runtime is not installed; type: pip install tflite-micro",
)
SEEDS = (0, 1, 2)
LABELS = tuple(every_wide_kind(0).names)


@pytest.fixture(scope="module")
def of_the_runtime(tmp_path_factory):
    """A graph of every kind, its samples and what TensorFlow Lite Micro makes of them, all by name."""

    @functools.cache
    def computed(seed):
        b = every_wide_kind(seed)
        g, x = b.graph(), extreme(b, 24)
        given = [x[name] for name in g.input_names]
        (made,) = run_files.outputs([tflite.write(g)], [given], tmp_path_factory.mktemp("kinds"), "tflm")
        assert not isinstance(made, str), made
        return g, b.names, IntegerProgram(g, "tflm")(x), dict(zip(g.output_names, made, strict=True))

    return computed


@no_tflm
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("label", LABELS)
def test_every_kind_computes_what_the_kernels_compute(of_the_runtime, label, seed):
    g, ops, ours, theirs = of_the_runtime(seed)
    for i in ops[label].outputs:
        assert_same(ours[g[i].name], theirs[g[i].name])


def test_every_kind_whose_arithmetic_is_known_is_among_them():
    """SELECT_V2 reads bools, DEQUANTIZE makes real numbers, the shape of BROADCAST_TO holds the batch, SHAPE gives one; the
    LSTM has a file of its own."""
    named = {label.partition(" ")[0] for label in LABELS}
    assert INT16 - named == {"BROADCAST_TO", "DEQUANTIZE", "SELECT_V2", "SHAPE", "UNIDIRECTIONAL_SEQUENCE_LSTM"}


@no_tflm
@pytest.mark.parametrize("name", NETS)
def test_every_tensor_of_a_quantized_network(tmp_path, name):
    net = lower(NETS[name](), "mcu", "int16")
    g = exposed(emit(net, planned(net, scheme="int16x8", target="mcu")))
    (i,) = g.inputs
    x = np.random.default_rng(1).integers(-32768, 32768, (6, *g[i].shape[1:]), np.int16)
    (made,) = run_files.outputs([tflite.write(g)], [[x]], tmp_path, "tflm")
    assert not isinstance(made, str), made
    ours = IntegerProgram(g, "tflm")({g[i].name: x})
    for output, theirs in zip(g.output_names, made, strict=True):
        assert_same(ours[output], theirs)

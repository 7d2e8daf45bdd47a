"""What is faster in float on a CPU stays in float there, in islands as large as they should be and no larger."""

import numpy as np
import pytest
from drafts import draft, normal

from intact import data as samples_of
from intact import quantize
from intact.formats import tflite
from intact.ops.activation import Gelu, Neg, Rsqrt, Softmax
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add, Mul, SquaredDifference, Sub
from intact.ops.matmul import BatchMatMul
from intact.ops.pooling import AveragePool2D
from intact.ops.reduction import Mean
from intact.ops.shaping import Transpose
from intact.planning.integer_graph import emit
from intact.planning.islands import float_islands
from intact.planning.planner import make_plan
from intact.planning.targets import TARGETS
from intact.rewrite.lowerings import lower
from intact.run.settings import Settings
from intact.runtime import litert
from intact.simulate.calibrate import observe

SHAPE = (6, 6, 8)


def conv(d, x, seed=0):
    return d(Conv2D(padding="same"), x, normal(8, 3, 3, 8, seed=seed) / 8, normal(8, seed=seed))


def layer_norm(d, x):
    mean = d(Mean(keep_dims=True), x, [3])
    variance = d(Mean(keep_dims=True), d(SquaredDifference(), x, mean), [3])
    scale = d(Mul(), d(Rsqrt(), d(Add(), variance, 0.001)), normal(8))
    return d(Add(), d(Mul(), x, scale), d(Sub(), normal(8, seed=1), d(Mul(), mean, scale)))


def attention(d, x):
    scores = d(BatchMatMul(adj_y=True), d(Mul(), conv(d, x, 2), 0.3), conv(d, x, 3))
    return d(Transpose(), d(BatchMatMul(), d(Softmax(), scores), conv(d, x, 4)), [0, 2, 1, 3])


MIDDLES = {
    "layer norm": (layer_norm, {"MEAN", "SQUARED_DIFFERENCE", "ADD", "RSQRT", "MUL", "SUB"}),
    "attention": (attention, {"BATCH_MATMUL", "SOFTMAX", "MUL"}),
    "average pool": (lambda d, x: d(AveragePool2D((3, 3), (1, 1), "same"), x), {"AVERAGE_POOL_2D"}),
    "no kernel": (lambda d, x: d(Mul(), d(Neg(), x), 0.5), {"NEG", "MUL"}),
    "move between": (lambda d, x: d(Softmax(), d(Transpose(), d(Neg(), x), [0, 2, 1, 3])), {"NEG", "TRANSPOSE", "SOFTMAX"}),
    "move after": (lambda d, x: d(Transpose(), d(Softmax(), x), [0, 2, 1, 3]), {"SOFTMAX"}),
    "none": (lambda d, x: d(Add(), d(Gelu(), d(Mul(), x, x)), x), set()),
}


def between(middle):
    return draft(SHAPE, lambda d, x: conv(d, middle(d, conv(d, x)), 1) if middle is not None else conv(d, x))


def integer(net, **settings):
    low = lower(net, settings.get("target", "cpu"), "int8")
    x = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    seen = observe(low, lambda: [{low.input_names[0]: x}])
    return emit(low, make_plan(low, {i: o.extremes for i, o in seen.items()}, Settings(**settings).request()))


def in_float(net):
    return {op.kind.name for op in net.ops if all(net[i].is_float for i in op.outputs)} - {"DEQUANTIZE"}


@pytest.mark.parametrize("name", MIDDLES)
def test_an_island_is_as_large_as_it_should_be(name):
    middle, expected = MIDDLES[name]
    assert in_float(integer(between(middle))) == expected


@pytest.mark.parametrize("name", sorted(set(MIDDLES) - {"none", "move between", "move after", "no kernel"}))
def test_the_delegate_runs_it_in_one_partition(tmp_path, name):
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(integer(between(MIDDLES[name][0]))))
    assert litert.describe(path).partitions == 1
    assert litert.describe(path).outside == ()


@pytest.mark.parametrize("target", ["mcu"])
def test_a_device_without_float_has_no_islands(target):
    for name in ("layer norm", "attention", "average pool"):
        assert in_float(integer(between(MIDDLES[name][0]), target=target)) == set()
    assert float_islands(between(layer_norm), TARGETS[target], {0}, set()) == set()


def test_the_last_op_stays_in_integers():
    net = draft(SHAPE, lambda d, x: d(Softmax(), conv(d, x)))
    assert in_float(integer(net)) == set()
    assert integer(net).ops[-1].kind == Softmax()


def test_what_is_kept_by_wish_does_not_grow():
    net = draft(SHAPE, lambda d, x: conv(d, d(Mul(), d(Gelu(), conv(d, x)), 0.5), 1))
    assert in_float(integer(net, keep_float=("GELU",))) == {"GELU"}


def test_layer_norm_in_float_is_more_exact_and_is_said():
    net = between(layer_norm)
    x = np.random.default_rng(1).normal(size=(40, *SHAPE)).astype(np.float32)
    result = quantize(net, samples_of.arrays(x))
    assert result.reading("SQNR").measurement.value > 30
    (said,) = [f.message for f in result.findings if f.kind == "float ops"]
    assert "faster so" in said


def test_a_small_addend_stays_in_the_delegate(tmp_path):
    """XNNPACK adds what has steps of at least 2**-10 of the sum's; a finer one gains nothing."""

    def build(d, x):
        y = conv(d, x)
        return d(Add(), d(Sub(), y, d(Mul(), conv(d, y, 1), 1e-5)), np.full(8, 1e-6, np.float32))

    net = integer(draft(SHAPE, build))
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(net))
    assert litert.describe(path).partitions == 1
    for op in (op for op in net.ops if op.kind.name in ("ADD", "SUB")):
        least = net[op.output].format.scale[0] / 1024
        assert all(net[i].format.scale[0] >= least for i in op.reads)

"""A network that takes bytes and makes real numbers of them by CAST: a QUANTIZE of bytes that stand for themselves."""

import importlib.util

import numpy as np
import pytest
import run_files
from compare import assert_same
from drafts import normal
from small_graphs import graph

from intact import data as samples_of
from intact import quantize
from intact.errors import UnsupportedError
from intact.formats import tflite
from intact.network.graph import Op, Tensor
from intact.numbers.affine import Affine, Index
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Maximum
from intact.ops.quantization import Cast
from intact.planning.integer_graph import emit
from intact.planning.plan import Plan
from intact.planning.planner import make_plan
from intact.run.settings import Settings
from intact.simulate.calibrate import observe
from intact.simulate.exact import IntegerProgram

SHAPE = (None, 5, 4, 3)


def net(dtype="uint8", *, casts=1, also=False):
    """conv(CAST(x)) for each of ``casts``; ``also``: and MAXIMUM(x, x), which computes on the bytes as such."""
    w, b = normal(2, 1, 1, 3) / 100, normal(2)
    tensors = [Tensor(0, "x", SHAPE, Index(dtype)), Tensor(1, "w", w.shape, data=w), Tensor(2, "b", b.shape, data=b)]
    ops, outputs = [], []
    for n in range(casts):
        i = 10 + 2 * n
        tensors += [Tensor(i, f"real{n}", SHAPE), Tensor(i + 1, f"y{n}", (*SHAPE[:3], 2))]
        ops += [Op(Cast("float32"), (0,), (i,)), Op(Conv2D(), (i, 1, 2), (i + 1,))]
        outputs.append(i + 1)
    if also:
        tensors.append(Tensor(50, "largest", SHAPE, Index(dtype)))
        ops.append(Op(Maximum(), (0, 0), (50,)))
        outputs.append(50)
    return graph(tensors, ops, (0,), tuple(outputs))


def images(dtype="uint8", n=6):
    low, high = (0, 200) if dtype == "uint8" else (-100, 100)
    return np.random.default_rng(0).integers(low, high, (n, *SHAPE[1:])).astype(dtype)


def planned(g, **settings):
    seen = observe(g, lambda: [{"x": images(g[0].format.dtype)}])
    return make_plan(g, {i: o.extremes for i, o in seen.items()}, Settings(**settings).request())


def kinds(g):
    return [op.kind.name for op in g.ops]


@pytest.mark.parametrize(("dtype", "zero_point"), [("uint8", -128), ("int8", 0)])
@pytest.mark.parametrize("target", ["cpu", "mcu"])
def test_no_byte_is_lost(dtype, zero_point, target):
    g = net(dtype)
    integer = emit(g, planned(g, target=target))
    assert kinds(integer) == ["QUANTIZE", "CONV_2D"]
    assert integer[0].format == Affine((1.0,), (0,), dtype)
    assert integer[10].format == Affine((1.0,), (zero_point,))


@pytest.mark.parametrize("runtime", ["default", "reference", "tflm"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_the_runtimes_compute_what_we_do(tmp_path, runtime, dtype):
    if runtime == "tflm" and importlib.util.find_spec("tflite_micro") is None:
        pytest.skip("the microcontroller runtime is not installed; type: pip install tflite-micro")
    integer = emit(net(dtype), planned(net(dtype), target="cpu" if runtime == "default" else "mcu"))
    x = np.arange(60, dtype=np.int64).reshape(1, 5, 4, 3) * 4 - (0 if dtype == "uint8" else 120)
    x = x.astype(dtype)
    (made,) = run_files.outputs([tflite.write(integer)], [[x]], tmp_path, runtime)
    assert not isinstance(made, str), made
    (expected,) = IntegerProgram(integer, runtime)({"x": x}).values()
    assert_same(made[0], expected.numpy())


def test_every_reader_may_be_a_cast():
    integer = emit(net(casts=2), planned(net(casts=2)))
    assert kinds(integer) == ["QUANTIZE", "CONV_2D"] * 2


@pytest.mark.parametrize("options", [{"also": True}, {}])
def test_bytes_that_are_read_as_such_or_kept_stay(options):
    g = net(**options)
    plan = planned(g, keep_float=() if options else ("CAST",))
    integer = emit(g, plan)
    assert integer[0].format == Index("uint8")
    assert "CAST" in kinds(integer)
    if options:
        with pytest.raises(UnsupportedError, match=r"CAST 'real0' has no int8 kernel, and target mcu"):
            planned(g, target="mcu")


@pytest.mark.parametrize("scheme", ["float32", "float16", "dynamic", "int16x8"])
def test_other_schemes_keep_the_cast(scheme):
    g = net()
    assert "CAST" in kinds(emit(g, planned(g, scheme=scheme)))


def test_the_plan_can_be_replayed_and_the_whole_job_runs():
    g = net()
    plan = planned(g)
    assert tflite.write(emit(g, Plan.from_json(plan.to_json()))) == tflite.write(emit(g, plan))
    x = images(n=24)
    result = quantize(g, samples_of.arrays(x))
    assert result.graph[result.graph.inputs[0]].format.dtype == "uint8"
    assert result.reading("SQNR").measurement.value > 35

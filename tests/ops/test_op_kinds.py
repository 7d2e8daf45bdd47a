"""Every op kind against the real runtimes: float, int8 in both kernel sets of LiteRT, and int8 in TensorFlow Lite Micro."""

import dataclasses
import functools
import importlib.util

import numpy as np
import pytest
import run_files
from ai_edge_litert import schema_py_generated as schema
from compare import assert_same
from kind_files import gap, integer_cases, integer_graph, lowered, real, simulated, step, stored
from op_cases import ABBREVIATED, CASES, HARSH, UNEVEN, graph_of, samples

from intact.errors import UnsupportedError
from intact.formats import tflite
from intact.formats.tflite.op_rows import ROWS, row
from intact.network.verify import verify
from intact.numbers.affine import Affine
from intact.ops import KINDS
from intact.ops.base import SameAsInput
from intact.planning.integer_graph import emit
from intact.planning.planner import make_plan
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import TARGETS, Target
from intact.rewrite.clean import clean
from intact.run.settings import Settings
from intact.simulate.exact import IntegerProgram

#: They are looked at in test_recurrent, call after call.
KEEPS_STATE = {name for name in KINDS if row(name).kept}


def test_every_kind_has_a_case():
    assert {case.kind.name for case in CASES} == set(KINDS) - KEEPS_STATE


@pytest.mark.parametrize("name", ROWS)
def test_option_fields_exist_on_both_sides(name):
    fields = ROWS[name].fields
    assert set(fields) == {field.name for field in dataclasses.fields(KINDS[name])}
    options = vars(getattr(schema, ROWS[name].options)) if fields else {}
    for spec in fields.values():
        for field in fields_of(spec):
            assert field in options


def fields_of(spec):
    """The schema's fields: all that a spec holds but a choice's words."""
    return [value for value in vars(spec).values() if isinstance(value, str)]


@pytest.mark.parametrize("name", sorted(set(KINDS) - set(ROWS)))
def test_kinds_without_a_row_have_no_options(name):
    assert not dataclasses.fields(KINDS[name])


@pytest.fixture(scope="module")
def float_results(tmp_path_factory):
    graphs = [verify(graph_of(case)) for case in CASES]
    given = [stored(graph, case) for graph, case in zip(graphs, CASES, strict=True)]
    return run_files.outputs([tflite.write(g) for g in graphs], given, tmp_path_factory.mktemp("float"), "default")


@pytest.mark.parametrize("n", range(len(CASES)), ids=[case.id for case in CASES])
def test_float_semantics_are_the_runtimes(n, float_results):
    assert not isinstance(float_results[n], str), float_results[n]
    graph = graph_of(CASES[n])
    for i, made, expected in zip(graph.outputs, simulated(graph, CASES[n]), float_results[n], strict=True):
        assert_same(made, real(expected, graph[i].format), rtol=1e-5)


@pytest.mark.parametrize("case", ABBREVIATED, ids=lambda case: case.id)
def test_an_abbreviated_slice_is_the_runtimes_and_is_spelled_out(tmp_path, case):
    graph = verify(graph_of(case))
    full = clean(graph)
    given = list(samples(case).values())
    (before,), (after,) = run_files.outputs([tflite.write(g) for g in (graph, full)], [given] * 2, tmp_path, "default")
    (made,) = simulated(graph, case)
    assert_same(made, before)
    assert_same(after, before)
    (sliced,) = [op.kind for op in full.ops if op.kind.name == "STRIDED_SLICE"]
    assert (sliced.ellipsis_mask, sliced.new_axis_mask) == (0, 0)


# ---- int8 ---------------------------------------------------------------------------------------------------------------

#: How a case can be asked for; the second and third only matter to weights.
VARIANTS = {
    "plain": {},
    "per-tensor": {"weights": "per-tensor"},
    "w4a8": {"scheme": "w4a8"},
    "uint8": {"input_type": "uint8", "output_type": "uint8"},
    "float32": {"input_type": "float32", "output_type": "float32"},
}
RUNTIMES = {"cpu": ("default", "reference"), "mcu": ("reference", "tflm")}

#: LiteRT's reference kernels have no ELU, and read SUM's int8 as uint8 (pinned in test_integers): cpu's default ones are right.
ABSENT = {("cpu", "reference", "ELU"), ("cpu", "reference", "SUM")}

#: Kinds that share one scale and yet compute: an average of stored integers is rounded.
AVERAGES = {"AVERAGE_POOL_2D", "RESIZE_BILINEAR"}


def steps(kind):
    """How many steps of the output's scale a kernel may be off the simulator's rounded real numbers.

    None where integers are only moved or picked. One where they are computed: what a kernel rounds, in fixed point or from a
    table, is within a fraction of a step of the real result, so it may at most fall to the other side.
    """
    return 0 if isinstance(kind.range_rule, SameAsInput) and kind.name not in AVERAGES else 1


def runs():
    """Every case in every variant that is another file, in both runtimes that stand for the target."""
    for target, runtimes in RUNTIMES.items():
        for variant in VARIANTS:
            for runtime in runtimes:
                for case in integer_cases(target):
                    another = case.kind.weight is not None or variant not in ("per-tensor", "w4a8")
                    if another and (target, runtime, case.kind.name) not in ABSENT:
                        yield target, variant, runtime, case


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The graph of every case and what the runtime makes of its file; all cases of one variant share a child process."""

    @functools.cache
    def computed(target, variant, runtime):
        if runtime == "tflm" and importlib.util.find_spec("tflite_micro") is None:
            pytest.skip("the microcontroller runtime is not installed; type: pip install tflite-micro")
        cases = [case for t, v, r, case in runs() if (t, v, r) == (target, variant, runtime)]
        graphs = [integer_graph(case, Settings(target=target, **VARIANTS[variant]).request()) for case in cases]
        given = [stored(graph, case) for graph, case in zip(graphs, cases, strict=True)]
        made = run_files.outputs([tflite.write(g) for g in graphs], given, tmp_path_factory.mktemp(runtime), runtime)
        return {case.id: result for case, *result in zip(cases, graphs, made, strict=True)}

    return computed


@pytest.mark.parametrize(("target", "variant", "runtime", "case"), runs(), ids=lambda v: getattr(v, "id", v))
def test_int8_kernels_agree_with_the_simulator(ran, target, variant, runtime, case):
    graph, made = ran(target, variant, runtime)[case.id]
    assert not isinstance(made, str), made
    assert gap(graph, case, made) <= steps(case.kind) + 1e-3


@pytest.mark.parametrize("target", TARGETS)
def test_every_listed_kind_has_a_case(target):
    assert TARGETS[target].kinds("int8") - KEEPS_STATE <= {case.kind.name for case in integer_cases(target)}


@pytest.mark.parametrize(("target", "variant", "runtime", "case"), runs(), ids=lambda v: getattr(v, "id", v))
def test_exact_integers_are_the_kernels(ran, target, variant, runtime, case):
    graph, made = ran(target, variant, runtime)[case.id]
    ours = IntegerProgram(graph, runtime)(dict(zip(graph.input_names, stored(graph, case), strict=True)))
    for i, y, expected in zip(graph.outputs, ours.values(), made, strict=True):
        assert_same(y.numpy().reshape(graph[i].shape), expected)


# ---- what the rows leave out --------------------------------------------------------------------------------------------

COMPARISONS = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "NOT_EQUAL")
#: Kinds that a target neither computes in int8 nor lowers to such: the runtime that refuses the op, dies of it or is wrong.
NOWHERE = (
    *("ADD_N", "CEIL", "CONV_3D", "COS", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "ONE_HOT", "ROUND", "SCATTER_ND"),
    *("SIGN", "SIN", "ZEROS_LIKE"),
)
OUTSIDE = {
    "cpu": dict.fromkeys((*COMPARISONS, *NOWHERE, "CAST", "CUMSUM", "DIV", "NEG", "POW", "SQUARE"), "default"),
    "mcu": {
        **dict.fromkeys((*NOWHERE, "FILL", "RANK", "TOPK_V2"), "tflm"),
        "CUMSUM": "reference",  # that stand for the target in measurements
        **dict.fromkeys((*COMPARISONS, "CAST", "DIV", "EXP", "GELU", "LOG", "POW", "REDUCE_PROD", "RELU_0_TO_1"), "tflm"),
        **dict.fromkeys(("SPACE_TO_BATCH_ND", "SQRT", "SQUARE"), "tflm"),
        "ELU": "reference",  # that stand for the target in measurements
    },
}
#: Kernels that are right, and whose arithmetic is not written down: a float island is as right.
UNWRITTEN = {"cpu": {"REDUCE_PROD", "SQRT"}, "mcu": set()}
#: Nothing to quantize, or what emit puts between formats.
BOOLEAN = {"LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "REDUCE_ALL", "REDUCE_ANY"}
NOT_FOR_INT8 = {*BOOLEAN, "BROADCAST_ARGS", "RANGE", "QUANTIZE", "DEQUANTIZE"}


def forced(case, target, **changes):
    """The case with its op in int8, whether the target's row leaves it out or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Target, "kinds", lambda *_: frozenset(KINDS))
        return integer_graph(case, Request(scheme("int8"), dataclasses.replace(TARGETS[target], name="", **changes)))


@pytest.mark.parametrize("target", OUTSIDE)
def test_a_reason_is_known_for_every_kind_that_a_row_leaves_out(target):
    known = {*OUTSIDE[target], *UNWRITTEN[target], *NOT_FOR_INT8}
    assert known == set(KINDS) - TARGETS[target].kinds("int8") - lowered(target)


@pytest.mark.parametrize(("target", "name"), [(target, name) for target in OUTSIDE for name in OUTSIDE[target]])
def test_a_kind_that_a_row_leaves_out_is_refused_or_wrong(tmp_path, target, name):
    runtime = OUTSIDE[target][name]
    if runtime == "tflm":
        pytest.importorskip("tflite_micro", reason="the microcontroller runtime is not installed")
    cases = [case for case in (*CASES, *HARSH) if case.kind.name == name]
    graphs = [forced(case, target) for case in cases]
    given = [stored(graph, case) for graph, case in zip(graphs, cases, strict=True)]
    made = run_files.outputs([tflite.write(g) for g in graphs], given, tmp_path, runtime)
    results = zip(graphs, cases, made, strict=True)
    assert any(isinstance(y, str) or share_wrong(graph, case, y) > 0.05 for graph, case, y in results)


def share_wrong(graph, case, results):
    """How many elements are off by more than a step, or off at all where they are whole numbers or bools."""
    shares = []
    for i, made, expected in zip(graph.outputs, results, simulated(graph, case), strict=True):
        allowed = 1.001 * step(graph, i) if isinstance(graph[i].format, Affine) else 0.5
        far = np.abs(real(made, graph[i].format).astype(np.float64) - expected)
        shares.append(float((far > allowed).mean()))
    return max(shares)


@pytest.mark.parametrize(("target", "name"), [(target, name) for target, names in UNWRITTEN.items() for name in sorted(names)])
def test_a_kind_that_is_left_out_for_its_arithmetic_has_none(target, name):
    case = next(case for case in CASES if case.kind.name == name)
    graph = forced(case, target)
    with pytest.raises(UnsupportedError, match=f"the exact integer arithmetic of {name} is not known"):
        IntegerProgram(graph)(dict(zip(graph.input_names, stored(graph, case), strict=True)))


@pytest.mark.parametrize("runtime", ["default", "reference", "tflm"])
def test_the_newest_kernels_take_fully_connected_scales_per_channel(tmp_path, runtime):
    """With int8 weights. The microcontrollers' row still asks for one scale, as older kernels in the field do."""
    if runtime == "tflm":
        pytest.importorskip("tflite_micro", reason="the microcontroller runtime is not installed")
    graph = forced(UNEVEN, "mcu", per_channel=frozenset({"FULLY_CONNECTED"}))
    assert len(graph[graph.ops[0].inputs[1]].format.scale) == 5
    (made,) = run_files.outputs([tflite.write(graph)], [stored(graph, UNEVEN)], tmp_path, runtime)
    assert gap(graph, UNEVEN, made) <= 1 + 1e-3


# ---- float activations --------------------------------------------------------------------------------------------------


def small_weights(name):
    """Cases whose weight the scheme stores smaller, with the graph that is written."""
    cases = [case for case in CASES if case.kind.weight is not None]
    planned = [(graph, make_plan(graph, {}, Request(scheme(name), TARGETS["cpu"]))) for graph in map(graph_of, cases)]
    return [(case, emit(graph, plan)) for case, (graph, plan) in zip(cases, planned, strict=True) if plan.tensors]


def on_the_fly(case, graph):
    """What 8 bits for activations may cost an output: half a step of the largest times the sum of a channel's |weights|.

    Nothing where the weights are not integers.
    """
    weight = graph.ops[-1].kind.weight
    w, axis = graph[graph.ops[-1].inputs[weight.input]], weight.axis
    if w.data is None:
        return 0.0
    sums = np.abs(real(w.data, w.format)).sum(tuple(a for a in range(w.data.ndim) if a != axis))
    (x,) = samples(case).values()
    return float(np.abs(x).max()) / 127 / 2 * float(sums.max())


@pytest.mark.parametrize("runtime", ["default", "reference"])
@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("dynamic", {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}),
        ("dynamic-w4", {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}),
        ("float16", {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}),
    ],
)
def test_the_runtime_takes_small_weights_in_the_op_versions_written(tmp_path, name, kinds, runtime):
    cases, graphs = zip(*small_weights(name), strict=True)
    assert {case.kind.name for case in cases} == kinds
    made = run_files.outputs([tflite.write(g) for g in graphs], [list(samples(c).values()) for c in cases], tmp_path, runtime)
    for case, graph, results in zip(cases, graphs, made, strict=True):
        assert not isinstance(results, str), results
        (expected,) = simulated(graph, case)
        assert_same(results[0], expected, rtol=1e-5, atol=on_the_fly(case, graph) if name.startswith("dynamic") else 0.0)

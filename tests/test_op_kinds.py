"""Every op kind against the real runtimes: float, int8 in both kernel sets of LiteRT, and int8 in TensorFlow Lite Micro."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema

import run_files
from compare import assert_same
from intact.affine import Affine, dequantize_array, quantize_array
from intact.calibrate import observe
from intact.emit import emit
from intact.formats import tflite
from intact.formats.tflite_ops import ROWS, Pair
from intact.lower import LOWERINGS, lower
from intact.ops import KINDS
from intact.planner import make_plan
from intact.settings import Settings
from intact.simulate import Program
from intact.targets import TARGETS
from intact.verify import verify
from op_cases import CASES, graph_of, samples

#: Steps of the output's scale that a kernel may be off the simulator's rounded real numbers. One: a tie, or a requantization
#: in fixed point. More: kernels that chain roundings or interpolate in fixed point or in tables.
STEPS = {
    "BATCH_MATMUL": 1,
    "ELU": 1,
    "EXP": 1,
    "GELU": 1,
    "HARD_SWISH": 2,
    "LOG_SOFTMAX": 1,
    "L2_NORMALIZATION": 1,
    "RSQRT": 2,
    "SQUARED_DIFFERENCE": 1,
}


def test_every_kind_has_a_case():
    assert {case.kind.name for case in CASES} == set(KINDS)


@pytest.mark.parametrize("name", ROWS)
def test_option_fields_exist_on_both_sides(name):
    fields = ROWS[name].fields
    assert set(fields) == {field.name for field in dataclasses.fields(KINDS[name])}
    options = vars(getattr(schema, ROWS[name].options)) if fields else {}
    for spec in fields.values():
        for field in (spec.height, spec.width) if isinstance(spec, Pair) else (spec.name,):
            assert field in options


@pytest.mark.parametrize("name", sorted(set(KINDS) - set(ROWS)))
def test_kinds_without_a_row_have_no_options(name):
    assert not dataclasses.fields(KINDS[name])


def simulated(graph, case):
    with torch.inference_mode():
        return [y.numpy() for y in Program(graph)(samples(case)).values()]


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


def integer_graph(case, target="cpu", **settings):
    graph = lower(graph_of(case), target, "int8")
    seen = observe(graph, lambda: [samples(case)])
    return emit(
        graph, make_plan(graph, {i: o.extremes for i, o in seen.items()}, Settings(target=target, **settings).request())
    )


def stored(graph, case):
    """The samples as the integers that the graph's inputs take."""
    formats = [graph[i].format for i in graph.inputs]
    pairs = zip(samples(case).values(), formats, strict=True)
    return [quantize_array(x, fmt) if isinstance(fmt, Affine) else x for x, fmt in pairs]


def real(stored, fmt):
    """Stored numbers as real ones."""
    return dequantize_array(stored, fmt) if isinstance(fmt, Affine) else stored


def gap(graph, case, results):
    """How many steps of its scale each output is off the simulator's, at most."""
    worst = 0.0
    for i, made, expected in zip(graph.outputs, results, simulated(graph, case), strict=True):
        fmt = graph[i].format
        step = fmt.scale[0] if isinstance(fmt, Affine) else 1.0
        assert made.shape == expected.shape
        worst = max(worst, float(np.abs(real(made, fmt).astype(np.float64) - expected).max()) / step)
    return worst


def integer_cases(target):
    """What the target computes in int8, as it is or lowered."""
    lowered = {name for device, _, name in LOWERINGS if device == target}
    return [case for case in CASES if case.kind.name in TARGETS[target].integer | lowered]


INTEGER, MICRO = integer_cases("cpu"), integer_cases("mcu")


def test_only_known_kinds_are_listed_and_every_listed_kind_has_a_case():
    for cases, target in ((INTEGER, TARGETS["cpu"]), (MICRO, TARGETS["mcu"])):
        assert target.integer <= {case.kind.name for case in cases}


@pytest.fixture(scope="module")
def integer_results(tmp_path_factory):
    graphs = [integer_graph(case) for case in INTEGER]
    given = [stored(graph, case) for graph, case in zip(graphs, INTEGER, strict=True)]
    return graphs, run_files.outputs([tflite.write(g) for g in graphs], given, tmp_path_factory.mktemp("int8"), "default")


@pytest.mark.parametrize("n", range(len(INTEGER)), ids=[case.id for case in INTEGER])
def test_int8_kernels_agree_with_the_simulator(n, integer_results):
    graphs, results = integer_results
    assert not isinstance(results[n], str), results[n]
    assert gap(graphs[n], INTEGER[n], results[n]) <= STEPS.get(INTEGER[n].kind.name, 1) + 1e-3


@pytest.fixture(scope="module", params=["reference", "tflm"])
def micro_results(request, tmp_path_factory):
    if request.param == "tflm" and importlib.util.find_spec("tflite_micro") is None:
        pytest.skip("the microcontroller runtime is not installed; type: pip install tflite-micro")
    graphs = [integer_graph(case, "mcu") for case in MICRO]
    given = [stored(graph, case) for graph, case in zip(graphs, MICRO, strict=True)]
    return graphs, run_files.outputs([tflite.write(g) for g in graphs], given, tmp_path_factory.mktemp("micro"), request.param)


@pytest.mark.parametrize("n", range(len(MICRO)), ids=[case.id for case in MICRO])
def test_microcontroller_kernels_agree_with_the_simulator(n, micro_results):
    graphs, results = micro_results
    assert not isinstance(results[n], str), results[n]
    assert gap(graphs[n], MICRO[n], results[n]) <= STEPS.get(MICRO[n].kind.name, 1) + 1e-3

"""Which weights are planned by tables, how many tables, and that the plan replays."""

from dataclasses import replace

import numpy as np
import pytest
from compare import assert_same
from drafts import draft, normal
from nets import images, mobile
from plans import ranges_of

from intact.errors import OptionError
from intact.network.weighted import weighted
from intact.numbers.affine import Affine, Float, dequantize_array, quantize_weight
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.ops.matmul import FullyConnected
from intact.planning.integer_graph import emit
from intact.planning.plan import Plan
from intact.planning.planner import make_plan
from intact.planning.request import Request
from intact.planning.schemes import SCHEMES, scheme
from intact.planning.targets import target
from intact.remedies.student import Student
from intact.simulate.engine import Program


def planned(graph, name, *, on="cpu", **options):
    request = Request(scheme(name), target(on), **options)
    ranges = ranges_of(graph, images(8)) if request.scheme.is_integer else {}
    return make_plan(graph, ranges, request)


def weights(graph, made):
    return {op.output: made.at(found.weight.id, op.output) for op in graph.ops if (found := weighted(graph, op)) is not None}


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7])
def test_weights_have_so_many_numbers_and_activations_stay(bits):
    graph = mobile()
    made, plain = planned(graph, f"clusters{bits}"), planned(graph, "int8")
    integer = emit(graph, made)
    for op in integer.ops:
        found = weighted(integer, op)
        if found is not None:
            fmt = made.at(found.weight.id, op.output)
            rows = found.values.reshape(1, -1)
            if fmt.codebook.axis is not None:
                rows = np.moveaxis(found.values, fmt.codebook.axis, 0).reshape(len(fmt.codebook.values), -1)
            assert max(len(np.unique(row)) for row in rows) <= 2**bits
            assert found.weight.format == replace(fmt, codebook=None)
    assert {i: made.own(i) for i in made.tensors if not graph[i].is_constant} == {
        i: plain.own(i) for i in plain.tensors if not graph[i].is_constant
    }


@pytest.mark.parametrize(("bits", "closeness"), [(4, 0.1), (6, 0.03), (7, 0.02)])
def test_more_numbers_are_closer_to_float(bits, closeness):
    graph, x = mobile(), images(16)
    made = Program(emit(graph, planned(graph, f"clusters{bits}")))({"image": x})["scores"].numpy()
    assert_same(made, Program(graph)({"image": x})["scores"].numpy(), atol=closeness)


def test_eight_bits_of_a_table_are_int8():
    assert not planned(mobile(), "int8").diff(planned(mobile(), "clusters8"))


@pytest.mark.parametrize(
    ("bits", "channels", "tables"), [(4, 128, 8), (4, 100, 1), (2, 9, 8), (4, 9, 1), (2, 33, 1), (2, 64, 8)]
)
def test_a_channel_has_its_own_table_where_that_pays(bits, channels, tables):
    graph = draft((4, 4, channels), lambda d, x: d(Conv2D(padding="same"), x, normal(8, 1, 1, channels), np.zeros(8)))
    request = Request(scheme(f"clusters{bits}"), target("cpu"))
    ranges = {i: (-1.0, 1.0) for i in graph.tensors if not graph[i].is_constant}
    (fmt,) = weights(graph, make_plan(graph, ranges, request)).values()
    assert len(fmt.codebook.values) == tables


def test_depthwise_channels_have_their_tables_along_the_last_axis():
    graph = draft((4, 4, 6), lambda d, x: d(DepthwiseConv2D(padding="same"), x, normal(1, 3, 3, 6), np.zeros(6)))
    ranges = {i: (-1.0, 1.0) for i in graph.tensors if not graph[i].is_constant}
    (fmt,) = weights(graph, make_plan(graph, ranges, Request(scheme("clusters2"), target("cpu")))).values()
    assert (fmt.axis, fmt.codebook.axis, len(fmt.codebook.values)) == (3, 3, 6)


def test_one_scale_has_one_table():
    fmts = weights(mobile(), planned(mobile(), "clusters2", weights="per-tensor"))
    assert {len(fmt.codebook.values) for fmt in fmts.values()} == {1}


def test_wide_weights_have_none():
    graph = mobile()
    output = next(op.output for op in graph.ops if weighted(graph, op) is not None)
    fmts = weights(graph, planned(graph, "clusters2", wide_weights=(output,)))
    assert [fmt.codebook is None for fmt in fmts.values()] == [True, False, False]


def test_real_weights_have_real_tables_and_all_else_stays_float():
    graph = draft((4, 4, 32), lambda d, x: d(Conv2D(padding="same"), x, normal(16, 3, 3, 32), np.zeros(16)))
    made = planned(graph, "clusters3-float")
    (fmt,) = weights(graph, made).values()
    assert isinstance(fmt, Float)
    assert len(fmt.codebook.values[0]) == 8
    integer = emit(graph, made)
    assert {t.format for t in integer.tensors.values()} == {Float()}
    (found,) = (weighted(integer, op) for op in integer.ops)
    assert len(np.unique(found.values)) == 8


@pytest.mark.parametrize("name", ["clusters4", "clusters2-float", "w3a8", "w7a8"])
def test_a_plan_is_text_and_back(name):
    graph = draft((4, 4, 32), lambda d, x: d(Conv2D(padding="same"), x, normal(16, 3, 3, 32), np.zeros(16)))
    ranges = {i: (-1.0, 1.0) for i in graph.tensors if not graph[i].is_constant}
    made = make_plan(graph, ranges, Request(scheme(name), target("cpu")))
    again = Plan.from_json(made.to_json())
    assert not made.diff(again)
    assert again.to_json() == made.to_json()
    assert emit(graph, again.check(graph)).tensors.keys() == emit(graph, made).tensors.keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row["codebook"].update(bits=9), "not a plan"),
        (lambda row: row["codebook"].update(bits="4"), "not a plan"),
        (lambda row: row["codebook"].update(values=[[3, 1]]), "not a plan"),
        (lambda row: row["codebook"].update(axis=True), "not a plan"),
    ],
)
def test_a_broken_table_in_a_plan_is_refused(change, said):
    import json  # noqa: PLC0415

    document = json.loads(planned(mobile(), "clusters4").to_json())
    change(next(row for row in document["tensors"] if "codebook" in row))
    with pytest.raises(OptionError, match=said):
        Plan.from_json(json.dumps(document))


def test_tables_for_another_number_of_channels_are_for_another_model():
    graph = draft((4, 4, 9), lambda d, x: d(Conv2D(padding="same"), x, normal(4, 1, 1, 9), np.zeros(4)))
    ranges = {i: (-1.0, 1.0) for i in graph.tensors if not graph[i].is_constant}
    made = make_plan(graph, ranges, Request(scheme("clusters2"), target("cpu")))
    i = next(i for i, entry in made.tensors.items() if isinstance(entry.format, Affine) and entry.format.codebook)
    table = made.own(i).codebook
    fmt = replace(made.own(i), codebook=replace(table, values=table.values[:3]))
    broken = replace(made, tensors={**made.tensors, i: replace(made.tensors[i], format=fmt)})
    with pytest.raises(OptionError, match="3 tables for"):
        broken.check(graph)


@pytest.mark.parametrize(("name", "qmax"), [("w2a8", 1), ("w3a8", 3), ("w5a8", 15), ("w6a8", 31), ("w7a8", 63)])
def test_linear_widths_are_held_as_int8(name, qmax):
    graph = mobile()
    integer = emit(graph, planned(graph, name))
    for op in integer.ops:
        found = weighted(integer, op)
        if found is not None:
            dense = op.kind.name == "FULLY_CONNECTED"
            assert found.weight.format.dtype == ("int2" if dense and name == "w2a8" else "int8")
            assert (found.values.max(), found.values.min() >= (-2 if qmax == 1 else -qmax)) == (qmax, True)


@pytest.mark.parametrize(("name", "dtype"), [("cpu", "int2"), ("mcu", "int8"), ("openvino", "int8")])
def test_two_bits_lie_four_to_a_byte_where_the_target_has_kernels(name, dtype):
    graph = draft((8,), lambda d, x: d(FullyConnected(), x, normal(6, 8), normal(6)))
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    made = make_plan(graph, ranges_of(graph, x), Request(scheme("w2a8"), target(name)))
    integer = emit(graph, made)
    found = weighted(integer, integer.ops[0])
    assert found.weight.format.dtype == dtype
    assert_same(found.values, quantize_weight(graph[found.weight.id].data, made.own(found.weight.id)))


@pytest.mark.parametrize("bits", [9, 12, 16])
def test_widths_above_eight_are_computed_in_float_between_int8_activations(bits):
    graph, x = mobile(), images(32)
    made = planned(graph, f"w{bits}a8")
    integer, highest = emit(graph, made), 2 ** (bits - 1) - 1
    kinds = [op.kind.name for op in integer.ops]
    weighted_ops = [found for op in integer.ops if (found := weighted(integer, op)) is not None]
    assert [(kinds[n - 1], kinds[n + 1]) for n, op in enumerate(integer.ops) if weighted(integer, op)] == [
        ("DEQUANTIZE", "QUANTIZE")
    ] * len(weighted_ops)
    for found in weighted_ops:
        fmt, real = made.own(found.weight.id), graph[found.weight.id].data
        step = np.asarray(fmt.scale).reshape([-1 if a == fmt.axis else 1 for a in range(real.ndim)])
        q = found.values / step
        assert found.weight.format == Float()
        assert np.abs(found.values - real).max() <= step.max() / 2 * 1.01
        assert np.abs(np.rint(q)).max() == highest
        assert np.abs(q - np.rint(q)).max() < 0.01
    assert all(
        isinstance(integer[op.output].format, Affine) for op in integer.ops if op.kind.name in {"ADD", "MEAN", "QUANTIZE"}
    )
    close, plain = (
        Program(emit(graph, planned(graph, name)))({"image": x})["scores"].numpy() for name in (made.scheme, "int8")
    )
    exact = Program(graph)({"image": x})["scores"].numpy()
    assert np.abs(close - exact).mean() < 1.2 * np.abs(plain - exact).mean()


def test_what_is_computed_in_float_computes_what_its_integers_stand_for():
    graph, x = mobile(), images(16)
    made = planned(graph, "w12a8")
    student = Student(graph, made)
    taught = student(Program(graph).entered({"image": x}), graph.outputs)[graph.outputs[0]].detach().numpy()
    assert_same(Program(emit(graph, made))({"image": x})["scores"].numpy(), taught, atol=1e-6)


def test_widths_above_eight_need_a_target_with_floats():
    with pytest.raises(
        OptionError, match=r"w12a8 is study only: .* --target mcu computes in integers alone; type --target cpu"
    ):
        Request(scheme("w12a8"), target("mcu"))


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("size", [16, 32])
def test_weights_in_blocks_are_multiples_in_int8(bits, size):
    graph = mobile()
    made, highest = planned(graph, f"w{bits}a8-g{size}"), 2 ** (bits - 1) - 1
    integer = emit(graph, made)
    for op in integer.ops:
        found = weighted(integer, op)
        if found is None:
            continue
        fmt = made.at(found.weight.id, op.output)
        assert found.weight.format == replace(fmt, blocks=None)
        rows = np.moveaxis(found.values, fmt.axis, 0).reshape(found.values.shape[fmt.axis], -1).astype(int)
        for row, multiples in zip(rows, fmt.blocks.multiples, strict=True):
            for n, multiple in enumerate(multiples):
                block = row[n * size : (n + 1) * size]
                assert not (block % multiple).any()
                assert np.abs(block // multiple).max() <= highest


@pytest.mark.parametrize("name", ["w2a8", "w3a8", "w4a8"])
def test_smaller_blocks_lose_less_of_a_weight_of_uneven_size(name):
    graph = mobile()
    weight = next(found.weight for op in graph.ops if (found := weighted(graph, op)) is not None)
    rng = np.random.default_rng(0)
    uneven = (rng.standard_normal(weight.shape) * np.exp(rng.standard_normal((*weight.shape[:-1], 1)))).astype(np.float32)
    graph = replace(graph, tensors={**graph.tensors, weight.id: replace(weight, data=uneven)})

    def lost(scheme_name):
        fmt = planned(graph, scheme_name).own(weight.id)
        return float(np.square(dequantize_array(quantize_weight(uneven, fmt), fmt) - uneven).sum())

    assert lost(f"{name}-g16") < lost(f"{name}-g128") < 1.05 * lost(name)


def test_a_plan_with_blocks_is_read_back_and_its_multiples_are_checked():
    graph = mobile()
    made = planned(graph, "w4a8-g16")
    assert Plan.from_json(made.to_json()).diff(made) == ()
    assert "in 4-bit multiples for each 16" in str(made)
    i = next(i for i, entry in made.tensors.items() if isinstance(entry.format, Affine) and entry.format.blocks)
    blocks = made.own(i).blocks
    fmt = replace(made.own(i), blocks=replace(blocks, multiples=blocks.multiples[:3]))
    broken = replace(made, tensors={**made.tensors, i: replace(made.tensors[i], format=fmt)})
    with pytest.raises(OptionError, match="its blocks are not those of"):
        broken.check(graph)
    for damaged in (made.to_json().replace('"size": 16', '"size": 1'), made.to_json().replace('"size": 16', '"size": 16.0')):
        with pytest.raises(OptionError, match="not a plan that Intact wrote"):
            Plan.from_json(damaged)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("w17a8", "study only: no runtime has kernels for 17-bit weights"),
        ("w4a16", "study only"),
        ("w8a8", "type --scheme int8"),
        ("w8a16", "type --scheme int16x8"),
        ("clusters9", "clusters1 to clusters8"),
        ("clusters0", "clusters1 to clusters8"),
    ],
)
def test_widths_without_a_runtime_are_said_to_be_for_study(name, said):
    with pytest.raises(OptionError, match=said):
        scheme(name)


@pytest.mark.parametrize("name", ["clusters8", "clusters8-float"])
def test_no_runtime_for_microcontrollers_decodes_eight_bits(name):
    with pytest.raises(OptionError, match="at most 7 bits; type --scheme int8 for mcu, or --target cpu"):
        Request(scheme(name), target("mcu"))


def test_every_scheme_says_its_bits_and_whether_it_packs():
    bits = {name: (made.bits, made.packs) for name, made in SCHEMES.items()}
    assert bits["w4a8"] == (4, False)
    assert bits["int8"] == (8, False)
    assert bits["float16"] == (16, False)
    assert bits["w3a8"] == (3, True)
    assert bits["clusters2"] == bits["clusters2-float"] == (2, True)
    assert bits["clusters8"] == (8, False)

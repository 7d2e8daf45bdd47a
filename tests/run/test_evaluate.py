"""Two models side by side, whatever their files call inputs and outputs, in which order, and what they store."""

from dataclasses import replace

import numpy as np
import pytest
from drafts import Draft, draft, normal
from nets import images, mobile
from PIL import Image
from small_graphs import graph as graph_of
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import DataError, ModelError, OptionError
from intact.formats import tflite
from intact.measure.pairing import pair_inputs, pair_outputs, renamed
from intact.ops.elementwise import Sub
from intact.ops.matmul import FullyConnected

FILES = ("mine", "theirs")
#: "SQNR" where the numbers are the same.
SAME = np.inf


def heads(d, x):
    """Two outputs of one shape, and one of another."""
    return tuple(d(FullyConnected(), x, normal(n, 6, seed=n + k), normal(n, seed=k)) for k, n in enumerate((3, 3, 2)))


def net():
    return renamed(draft((6,), heads), {"x0": "rows"}, dict(zip(("x3", "x6", "x9"), ("left", "right", "small"), strict=True)))


def turned(graph, outputs, order, inputs=None):
    """``graph`` as another converter writes it: its outputs called and ordered otherwise."""
    names = dict(zip(graph.output_names, outputs, strict=True))
    graph = renamed(graph, inputs or {}, names)
    return replace(graph, outputs=tuple(graph.outputs[i] for i in order))


def rows(n=40):
    return np.random.default_rng(0).normal(size=(n, 6)).astype(np.float32)


def sqnr(found):
    return {r.measurement.name: r.measurement.value for r in found.readings if r.measurement.name.startswith("SQNR of")}


def made_up(graph):
    """Names as TensorFlow's converter makes them up: numbered in the model's order, and listed in another."""
    return turned(graph, ("output_0", "output_1", "output_2"), (2, 1, 0), {"rows": "keras_tensor"})


def test_other_names_in_another_order_are_the_same_numbers():
    found = intact.evaluate(net(), rows(), against=made_up(net()))
    assert {"SQNR of left", "SQNR of right", "SQNR of small"} <= sqnr(found).keys()  # not as numbers call them
    assert set(sqnr(found).values()) == {SAME}
    said = [f.message for f in found.findings if f.kind == "matched outputs"]
    assert said == [
        "outputs have other names and were matched by shape and in order: 'output_0' of Graph (2) is 'left' of "
        "Graph (1), 'output_1' of Graph (2) is 'right' of Graph (1), 'output_2' of Graph (2) is 'small' of Graph (1)"
    ]


def test_outputs_of_one_shape_go_by_their_names_first():
    other = turned(net(), ("left", "right", "small"), (1, 2, 0))
    assert pair_outputs(net(), other, FILES).names == {"right": "right", "small": "small", "left": "left"}
    found = intact.evaluate(net(), rows(), against=other)
    assert set(sqnr(found).values()) == {SAME}
    assert found.findings == ()


def test_a_name_of_another_shape_is_no_match():
    other = turned(net(), ("small", "left", "right"), (0, 1, 2))
    names = pair_outputs(net(), other, FILES).names
    assert names["right"] == "small"  # two numbers, as only this one has
    assert names == {"left": "left", "small": "right", "right": "small"}


def test_without_names_numbers_tell_outputs_of_one_shape_apart():
    other = turned(net(), ("a", "b", "c"), (1, 0, 2))
    assert pair_outputs(net(), other, FILES).names == {"b": "left", "a": "right", "c": "small"}
    found = intact.evaluate(net(), rows(), against=other)
    assert set(sqnr(found).values()) == {SAME}
    assert "by their numbers" in found.findings[0].message


def test_numbers_that_fit_neither_way_leave_the_order():
    x = {"p": rows(), "q": rows() + 1}
    pairing = pair_outputs(
        net(),
        turned(net(), ("a", "b", "c"), (0, 1, 2)),
        FILES,
        ({"left": -x["p"], "right": -x["q"]}, {"a": x["p"], "b": x["q"]}),
    )
    assert pairing.names == {"a": "left", "b": "right", "c": "small"}
    assert "in order" in pairing.said


def two_inputs():
    d = Draft(open_batch=True)
    plus, minus = d.input((6,)), d.input((6,))
    made = d(FullyConnected(), d(Sub(), plus, minus), normal(2, 6), normal(2))
    return renamed(graph_of(d.tensors, d.ops, (plus, minus), (made,)), {"x0": "plus", "x1": "minus"}, {})


@pytest.mark.parametrize("named", [("plus", "minus"), ("a", "b")])
def test_inputs_in_another_order_and_samples_named_as_either_file_does(named):
    graph = two_inputs()
    other = replace(renamed(graph, {"plus": "a", "minus": "b"}, {}), inputs=graph.inputs)
    x = dict(zip(named, (rows(), rows()[::-1].copy()), strict=True))
    found = intact.evaluate(graph, x, against=other)
    (value,) = {r.measurement.value for r in found.readings if r.measurement.name == "SQNR"}
    assert value == SAME
    assert "inputs have other names and were matched in order" in found.findings[0].message
    swapped = replace(graph, inputs=graph.inputs[::-1])
    assert pair_inputs(graph, swapped, FILES).names == {"minus": "minus", "plus": "plus"}
    (value,) = {
        r.measurement.value
        for r in intact.evaluate(swapped, dict(zip(("plus", "minus"), x.values(), strict=True)), against=graph).readings
        if r.measurement.name == "SQNR"
    }
    assert value == SAME


def test_names_that_neither_file_has_are_told_as_the_first_has_them():
    with pytest.raises(DataError, match="holds u, v; name the arrays 'plus' and 'minus'"):
        intact.evaluate(two_inputs(), {"u": rows(), "v": rows()}, against=renamed(two_inputs(), {"plus": "a"}, {}))


def test_other_networks_are_refused_with_both_lists():
    with pytest.raises(
        OptionError, match=r"inputs of the two cannot be matched: Graph \(1\) has 'plus' \[n, 6\], 'minus' \[n, 6\]"
    ) as e:
        intact.evaluate(two_inputs(), rows(), against=net())
    assert str(e.value).endswith("and Graph (2) has 'rows' [n, 6]; give --against a model of the same network")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A float network, and integer files of it that take bytes, signed and unsigned, and real numbers."""
    folder = tmp_path_factory.mktemp("evaluate")
    labels = np.arange(64) % 4
    np.savez(folder / "val.npz", x=images(64), y=labels)
    (folder / "float.tflite").write_bytes(tflite.write(mobile()))
    for kind in ("int8", "uint8", "float32"):
        made = intact.quantize(mobile(), images(64), input_type=kind, output_type=kind, measure=False)
        made.save(folder / f"{kind}.tflite")
    return folder


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_each_file_gets_the_samples_as_its_own_input_takes_them(files, kind):
    found = intact.evaluate(files / "int8.tflite", files / "val.npz", against=files / f"{kind}.tflite")
    agreed = next(r.measurement for r in found.readings if r.measurement.name.startswith("agreement"))
    assert (agreed.name, agreed.value) == (f"agreement with {kind}.tflite", 100)
    (value,) = {r.measurement.value for r in found.readings if r.measurement.name == "SQNR"}
    assert value == SAME


def test_files_of_other_sizes_take_the_same_pictures(tmp_path):
    for n in range(6):
        (tmp_path / "photos" / str(n % 2)).mkdir(parents=True, exist_ok=True)
        Image.fromarray((255 * np.random.default_rng(n).random((12, 12, 3))).astype(np.uint8)).save(
            tmp_path / "photos" / str(n % 2) / f"{n}.png"
        )
    small, large = mobile(side=8, classes=2), mobile(side=12, classes=2)
    found = intact.evaluate(small, str(tmp_path / "photos"), against=large)
    assert found.count == 6
    assert {r.measurement.name for r in found.readings} >= {"top-1 accuracy", "accuracy drop"}


def command(*args):
    done = CliRunner().invoke(app, [str(a) for a in args])
    return done.exit_code, " ".join(done.output.split())


def test_a_file_against_itself(files):
    code, said = command("benchmark", files / "int8.tflite", "--against", files / "int8.tflite", "--json")
    assert code == 0
    assert '"int8.tflite (1) against int8.tflite (2)"' in said


@pytest.mark.parametrize("name", ["evaluate", "benchmark"])
def test_a_tflite_by_another_name_is_one(files, tmp_path, name):
    (tmp_path / "weights.bin").write_bytes((files / "float.tflite").read_bytes())
    data = ["--data", files / "val.npz"] if name == "evaluate" else []
    assert command(name, tmp_path / "weights.bin", *data, "--quiet") == (0, "")


@pytest.mark.parametrize("name", ["gone.tflite", "gone.keras", "gone"])
def test_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(ModelError, match=rf"{name}: there is no such file"):
        intact.evaluate(tmp_path / name, np.zeros((4, 3), np.float32))


def test_input_shape_is_for_keras_models(files):
    code, said = command("benchmark", files / "float.tflite", "--input-shape", "8,8,3")
    assert (code, said) == (2, "error: --input-shape is for Keras and ONNX models that leave sizes open; leave it out")


def test_a_result_is_evaluated_and_diagnosed_as_it_is():
    result = intact.quantize(mobile(), images(64), keep_float="SOFTMAX", remedies=(), measure=False)
    assert [op.kind.name for op in result.graph.ops if not op.kind.converts and result.graph[op.output].is_float] == ["SOFTMAX"]
    found = intact.evaluate(result, images(64), against=mobile())
    assert {r.of for r in found.readings} == {"Result"}
    assert len(intact.diagnose(result, images(64), against=mobile()).activations) >= 6

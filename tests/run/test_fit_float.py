"""intact fit --instructions beside float32: what integers buy on a core without floating point and on one with it."""

import json
from dataclasses import replace

import numpy as np
import pytest
from firmware_nets import two_convolutions
from integer_cases import Builder
from lstm_nets import lstm
from typer.testing import CliRunner

from intact.cli.app import app
from intact.deploy.c.network import Text, write
from intact.deploy.cores import CORES
from intact.deploy.project import Vectors
from intact.errors import ChildError
from intact.formats import tflite
from intact.network.real import in_real_numbers
from intact.network.shapes import macs
from intact.numbers.affine import Index
from intact.ops import KINDS
from intact.progress import silent
from intact.run import fit_float, fit_lines
from intact.run.fit import fit
from intact.run.vectors import real_vectors, vectors
from intact.runtime.tools import ARM_COMPILER, EMULATOR

no_arm = pytest.mark.skipif(
    ARM_COMPILER.path is None or EMULATOR.path is None, reason="no gcc-arm-none-eabi and qemu-system-arm here"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.tflite"
    path.write_bytes(tflite.write(two_convolutions()))
    return path


@pytest.fixture(scope="module")
def fitted(model):
    return fit(model, instructions=True)


def compared(graph, change=None):
    """The comparison of a graph of one sample, with what the integers must give changed."""
    given = vectors(graph, None, 1)
    given = given if change is None else Vectors(given.inputs, change(given.outputs), "")
    return fit_float.comparison(graph, Text("net", "a test"), write(graph, Text("net", "a test")), given, silent)


@no_arm
def test_what_integers_buy(fitted):
    found = fitted.document["float"]
    assert found["tolerance"] == 1e-4
    assert found["lacking"] == []
    without, have = found["cores"]
    assert (without["core"], without["has_floats"]) == ("cortex-m3", False)
    assert (have["core"], have["has_floats"]) == ("cortex-m4", True)
    graph = two_convolutions()
    for row in (without, have):
        integer, in_float = row["integer"], row["float"]
        assert integer["ram"] == 2304
        assert in_float["ram"] == 4 * 2304
        numbers = 4 * (8 * 27 + 8 * 72 + 5 * 8 + 8 + 8 + 5)
        assert numbers < in_float["constants"] < numbers + 300  # and what each op is called with
        assert row["ratios"]["ram"] == 4
        for name in ("code", "constants", "instructions"):
            assert row["ratios"][name] == in_float[name] / integer[name]
        for one in (integer, in_float):
            assert one["right"] is True
            assert one["lacking"] == ""
            assert one["instructions_per_mac"] == one["instructions"] / macs(graph)
            assert one["stack"] < 2048
        assert integer["error"] == 0
        assert in_float["error"] < 1e-6
    assert without["ratios"]["instructions"] > 4  # a call for each product, and one for each sum
    assert have["ratios"]["instructions"] < without["ratios"]["instructions"] / 2
    assert have["integer"]["instructions"] == fitted.document["emulated"]["instructions"]
    assert json.loads(json.dumps(fitted.document)) == fitted.document


@no_arm
def test_the_table(fitted):
    at = fitted.lines.index("integers against the same network in float32: one sample on emulated cores")
    head, *rows = fitted.lines[at + 1 : at + 9]
    assert head.split() == ["code", "constants", "RAM", "instructions"]
    assert [row.split()[-4:][2:] for row in (rows[0], rows[1])] == [
        [f"{one['ram']:,}", f"{one['instructions']:,}"]
        for one in (fitted.document["float"]["cores"][0][numbers] for numbers in ("integer", "float"))
    ]
    assert rows[0].lstrip().startswith("cortex-m3, floats by library  integer")
    assert rows[3].lstrip().startswith("cortex-m4, computes floats    integer")
    assert "4.00 x" in rows[2]
    assert len({len(line) for line in (head, *rows[:6])}) == 1
    assert rows[6] == ""


def test_without_instructions_nothing_is_compared(model):
    assert fit(model).document["float"] is None


@no_arm
def test_it_can_be_left_out(model):
    made = fit(model, instructions=True, against_float=False)
    assert made.document["float"] is None
    assert made.document["emulated"]["exact"]
    done = CliRunner().invoke(app, ["fit", str(model), "--instructions", "--no-float"])
    assert done.exit_code == 0
    assert "emulated cortex-m4" in done.output
    assert "float32" not in done.output
    assert (
        "integers against the same network in float32" in CliRunner().invoke(app, ["fit", str(model), "--instructions"]).output
    )


@no_arm
def test_a_run_that_hangs_is_a_sentence_and_the_rest_stays(fitted, monkeypatch):
    run = fit_float.run

    def hanging(net, core, budget, inputs, *, seconds):
        if "a network in float32" in net.body and core.name == "cortex-m3":
            raise ChildError(f"not done after {seconds:g} seconds")
        return run(net, core, budget, inputs, seconds=seconds)

    monkeypatch.setattr(fit_float, "run", hanging)
    found = compared(two_convolutions())
    without, have = found["cores"]
    assert without["float"]["lacking"] == "not done after 240 seconds"
    assert without["float"]["instructions"] is without["float"]["right"] is without["ratios"]["instructions"] is None
    assert without["ratios"]["constants"] == have["ratios"]["constants"] > 2.5
    assert have["float"]["right"] is True
    assert "  cortex-m3, float: not done after 240 seconds" in fit_lines.lines(fitted.document | {"float": found})


@no_arm
def test_what_does_not_fit_the_emulated_machine_is_a_sentence(monkeypatch):
    small = {name: replace(CORES[name], flash=7_000) for name in ("cortex-m3", "cortex-m4")}
    monkeypatch.setattr(fit_float, "CORES", small)
    for row in compared(two_convolutions())["cores"]:
        assert row["integer"]["right"] is True
        assert row["float"]["code"] + row["float"]["constants"] > 5_000
        assert row["float"]["lacking"].startswith("the firmware does not fit: it lacks ")
        assert row["float"]["lacking"].endswith(" bytes of FLASH")


@no_arm
def test_what_is_not_right_is_said(fitted, monkeypatch):
    monkeypatch.setattr(fit_float, "TOLERANCE", 0.0)
    found = compared(two_convolutions(), lambda outputs: tuple(y ^ 1 for y in outputs))
    for row in found["cores"]:
        assert row["integer"]["right"] is False
        assert row["float"]["right"] is False
        assert 0 < row["float"]["error"] < 1e-6
    lines = list(fit_lines.lines(fitted.document | {"float": found}))
    for core in ("cortex-m3", "cortex-m4"):
        assert f"  {core}, integer: NOT right" in lines
        assert f"  {core}, float: NOT right" in lines


@no_arm
def test_ops_that_float_c_lacks_are_named_and_the_integer_figures_stay(tmp_path):
    path = tmp_path / "lstm.tflite"
    path.write_bytes(tflite.write(lstm(0, 3, state=False)))
    made = fit(path, instructions=True)
    found = made.document["float"]
    assert made.document["emulated"]["exact"] is True
    assert found["cores"] == []
    assert len(found["lacking"]) == 1
    assert found["lacking"][0].startswith("UNIDIRECTIONAL_SEQUENCE_LSTM ")
    assert found["lacking"][0].endswith(": there is no kernel for it")
    assert f"  float C lacks: {found['lacking'][0]}" in made.lines


@no_arm
def test_whole_numbers_must_be_the_same():
    b = Builder(np.random.default_rng(0))
    b.op(KINDS["ARG_MAX"]("int32"), b.flow(9), b.ints(1, shape=()), out=Index())
    for row in compared(b.graph())["cores"]:
        assert row["float"]["right"] is True
        assert row["float"]["error"] == 0


@pytest.mark.parametrize(
    ("made", "wanted", "off"),
    [
        (np.float32([1, 2]), np.float32([1, 2]), 0),
        (np.float32([1, 2.5]), np.float32([1, 2]), 0.25),
        (np.float32([np.nan, np.inf, 4]), np.float32([np.nan, np.inf, 5]), 0.2),
        (np.float32([np.nan, 1]), np.float32([1, 1]), np.inf),
        (np.float32([1, 1]), np.float32([np.inf, 1]), np.inf),
        (np.int32([1, 2]), np.int32([1, 2]), 0),
        (np.int32([1, 2]), np.int32([1, 3]), np.inf),
        (np.float32([0]), np.float32([0]), 0),
    ],
)
def test_how_far_an_output_is_off(made, wanted, off):
    """Of the largest finite number that is wanted: 2.5 instead of 2 is off by 0.5 / 2."""
    assert fit_float._off(made, wanted) == pytest.approx(off)


def test_what_stored_integers_stand_for_is_what_float32_is_given():
    graph = two_convolutions()
    stored = vectors(graph, None, 2)
    fmt = graph[graph.inputs[0]].format
    made = real_vectors(graph, in_real_numbers(graph), stored.inputs)
    np.testing.assert_allclose(
        made.inputs[0], (stored.inputs[0].astype(np.float32) - fmt.zero_point[0]) * fmt.scale[0], rtol=1e-6
    )
    assert made.outputs[0].shape == stored.outputs[0].shape
    np.testing.assert_allclose(made.outputs[0].sum(-1), 1, rtol=1e-6)  # of a softmax

"""A plan.json with its plan.npz gives the same file again, without looking for or learning anything, on whatever samples."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from nets import images
from remedy_nets import SIDE, chain, rescaled_channels
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.errors import OptionError
from intact.formats import tflite
from intact.measure.measurement import Measurement
from intact.search.evaluator import Loss
from intact.search.goal import Goal

pytestmark = pytest.mark.usefixtures("hasty")

RUN = CliRunner()
#: One channel of eight is a thousand times as large as the others: these keep few of the 256 steps.
UNLIKE = np.float32([1, 1, 1000, 1, 1, 1, 1, 1])
CASES = [
    "auto",
    "equalize,absorb,mixed,clip,ranges,bias,bias-analytic",
    "round",
    "bias,finetune",
    "clip",
    "none",
]


def net():
    """Equalizing it makes RELU of its RELU6."""
    return rescaled_channels(chain("relu6"), UNLIKE / 4000)


def labelled(n=200, seed=3):
    x = images(n, seed, SIDE)
    return x, next(iter(intact.Program(net())({net().input_names[0]: x}).values())).numpy().argmax(1)


def of_nothing(*_):
    raise AssertionError("something was looked for or learned")


@pytest.fixture
def nothing_is_learned(monkeypatch):
    for name in ("remedies.apply", "run.recover.apply", "run.recover.search", "run.recover.choose", "run.as_planned.observe"):
        monkeypatch.setattr(f"intact.{name}", of_nothing)


@pytest.mark.parametrize("remedies", CASES)
@pytest.mark.parametrize("scheme", ["int8", "w4a8"])
def test_the_same_bytes_on_other_samples(remedies, scheme, tmp_path, request):
    options = {"remedies": remedies, "time_budget": 8, "measure": False}
    first = intact.quantize(net(), images(64, 3, SIDE), scheme=scheme, **options)
    path = first.plan.save(tmp_path / "plan.json")
    adjusts = first.plan.remedied.names and remedies != "clip"
    assert (tmp_path / "plan.npz").exists() == bool(adjusts)
    request.getfixturevalue("nothing_is_learned")
    for plan in (path, str(path), first.plan, intact.Plan.load(path)):
        again = intact.quantize(net(), images(20, 8, SIDE), plan=plan, measure=False)
        assert again.model == first.model
        assert again.plan.to_json() == first.plan.to_json()
    names = ", ".join(first.plan.remedied.names)
    assert (f"took the constants that {names} adjusted from the plan" in again.steps) == bool(adjusts)


@pytest.mark.parametrize("limit", [{"max_drop": 1.0}, {"min_agreement": 99}])
def test_the_same_bytes_after_a_search(limit, tmp_path, request, monkeypatch):
    losses = iter([5.0, 4.0, 3.0, 0.0])
    monkeypatch.setattr(Goal, "loss", lambda *_: Measurement("accuracy drop", next(losses), "", None, None, "", 9))
    x, y = labelled()
    first = intact.quantize(net(), intact.data.arrays(x, y), scheme="w4a8", measure=False, **limit)
    assert first.taken == "equalize + clip + bias"
    path = first.plan.save(tmp_path / "plan.json")
    request.getfixturevalue("nothing_is_learned")
    assert intact.quantize(net(), images(20, 8, SIDE), plan=path, measure=False).model == first.model


def test_the_same_bytes_where_the_search_gave_the_input_up(tmp_path, request, monkeypatch):
    """Its input is float32 then, and so are the ops that read it; a type that was asked for stays."""
    monkeypatch.setattr("intact.search.ladder.input_share", lambda *_, **__: 0.9)

    def lost(self, name, model):
        del self, model
        value = 0.0 if "input" in name else 9.0
        return Loss(Measurement("disagreement with float", value, "%", value, value, "", 10_000))

    monkeypatch.setattr("intact.run.trial.Trial.judge", lost)
    options = {"min_agreement": 99, "time_budget": 30, "measure": False}
    first = intact.quantize(net(), images(64, 3, SIDE), **options)
    assert first.taken.startswith("float32 input: ")
    kinds = {first.graph[i].format.dtype for i in first.graph.inputs}
    assert kinds == {"float32"}
    path = first.plan.save(tmp_path / "plan.json")
    asked = intact.quantize(net(), images(64, 3, SIDE), input_type="int8", **options)
    assert not [c.name for c in asked.candidates if "input" in c.name]
    request.getfixturevalue("nothing_is_learned")
    again = intact.quantize(net(), images(40, 8, SIDE), plan=path, measure=False)
    assert again.model == first.model


def test_relu_for_relu6_comes_back(tmp_path):
    first = intact.quantize(net(), images(64, 3, SIDE), remedies="equalize", measure=False)
    assert next(op.kind for op in net().ops).activation == "relu6"
    assert first.graph.ops[1].kind.activation == "relu"
    again = intact.quantize(net(), images(9, 8, SIDE), plan=first.plan.save(tmp_path / "plan.json"), measure=False)
    assert [op.kind for op in again.graph.ops] == [op.kind for op in first.graph.ops]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A folder with plan.json and plan.npz of a network whose weights were learned."""
    path = tmp_path_factory.mktemp("learned")
    first = intact.quantize(net(), images(64, 3, SIDE), remedies="bias,round", time_budget=5, measure=False)
    first.plan.save(path / "plan.json")
    return path


def replayed(path, graph=None):
    return intact.quantize(graph or net(), images(20, 8, SIDE), plan=path / "plan.json", measure=False)


def copied(learned, tmp_path):
    for name in ("plan.json", "plan.npz"):
        (tmp_path / name).write_bytes((learned / name).read_bytes())
    return tmp_path


def test_weights_that_are_not_there_are_not_learned_again(learned, tmp_path):
    path = copied(learned, tmp_path)
    (path / "plan.npz").unlink()
    says = (
        "the plan is for weights that round made; plan.npz, which holds them, is not beside the plan: put it there; "
        "or leave out --plan and type --remedies bias,round"
    )
    with pytest.raises(OptionError, match=f"^{re.escape(says)}$"):
        replayed(path)


def test_constants_that_are_not_there_are_of_the_same_samples_only(tmp_path):
    x = images(64, 3, SIDE)
    first = intact.quantize(net(), x, remedies="equalize,bias", measure=False)
    path = first.plan.save(tmp_path / "plan.json")
    (tmp_path / "plan.npz").unlink()
    assert intact.quantize(net(), x, plan=path, measure=False).model == first.model
    with pytest.raises(
        OptionError,
        match=r"equalize and bias fitted to other samples than these; plan\.npz, which holds them, is not beside the plan: "
        "put it there; give the --data, --eval and --seed of that run, or leave out --plan and type --remedies equalize,bias",
    ):
        replayed(tmp_path)


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data[:0], lambda data: data[:99] + b"\0" + data[100:]])
def test_a_damaged_file_is_refused(learned, tmp_path, spoil):
    path = copied(learned, tmp_path)
    (path / "plan.npz").write_bytes(spoil((path / "plan.npz").read_bytes()))
    with pytest.raises(OptionError, match=r"damaged or of another run.*leave out --plan and type --remedies bias,round"):
        replayed(path)


def test_another_networks_constants_are_refused(learned):
    twice = net()
    w = twice[twice.ops[0].inputs[1]]
    other = replace(twice, tensors={**twice.tensors, w.id: replace(w, data=w.data * np.float32(2))})
    with pytest.raises(OptionError, match=r"another model than this, or of other weights; leave out --plan and type --remed"):
        replayed(learned, other)


def test_a_path_without_a_plan_is_said(tmp_path):
    with pytest.raises(OptionError, match=r"plan\.json cannot be read as a plan; give --plan a plan\.json from a run folder"):
        replayed(tmp_path)


def test_from_the_shell(tmp_path):
    x, y = labelled()
    (tmp_path / "net.tflite").write_bytes(tflite.write(net()))
    np.savez(tmp_path / "labelled.npz", x=x, y=y)
    np.save(tmp_path / "others.npy", images(20, 8, SIDE))
    args = ("quantize", tmp_path / "net.tflite", "--data", tmp_path / "labelled.npz", "--remedies", "bias", "--seed", "5")
    first, again, after = (tmp_path / name for name in ("first", "again", "after"))
    made = RUN.invoke(app, [str(a) for a in (*args, "--out", first)])
    assert made.exit_code == 0, made.stderr
    assert {"plan.json", "plan.npz"} < {p.name for p in first.iterdir()}
    assert json.loads((first / "plan.json").read_text())["adjusted"]["file"] == "plan.npz"
    args = ("quantize", tmp_path / "net.tflite", "--data", tmp_path / "others.npy", "--plan")
    done = RUN.invoke(app, [str(a) for a in (*args, first / "plan.json", "--out", again)])
    assert done.exit_code == 0, done.stderr
    for name in ("model.tflite", "plan.json", "plan.npz"):
        assert (again / name).read_bytes() == (first / name).read_bytes()
    (again / "plan.npz").write_bytes(b"something else")
    bad = RUN.invoke(app, [str(a) for a in (*args, again / "plan.json", "--out", after)])
    assert bad.exit_code == 2
    assert "plan.npz is damaged or of another run" in bad.stderr.replace("\n", "")
    assert not after.exists()
    plain = RUN.invoke(app, [str(a) for a in (*args[:-1], "--remedies", "none", "--out", first, "--overwrite")])
    assert plain.exit_code == 0, plain.stderr
    assert not (first / "plan.npz").exists()


def other_weights():
    graph = net()
    first = graph[graph.ops[0].inputs[1]]
    return replace(graph, tensors={**graph.tensors, first.id: replace(first, data=first.data * np.float32(1.5))})


def test_a_plan_of_other_weights_is_told(tmp_path):
    first = intact.quantize(net(), images(64, 3, SIDE), remedies="none", measure=False)
    path = first.plan.save(tmp_path / "plan.json")
    again = intact.quantize(other_weights(), images(9, 8, SIDE), plan=path, measure=False)
    assert [f.kind for f in again.findings if "other weights" in f.kind] == ["plan of other weights"]
    same = intact.quantize(net(), images(9, 8, SIDE), plan=path, measure=False)
    assert not [f for f in same.findings if "other weights" in f.kind]


def test_constants_are_not_changed_again_in_other_weights(tmp_path):
    x = images(64, 3, SIDE)
    path = intact.quantize(net(), x, remedies="bias", measure=False).plan.save(tmp_path / "plan.json")
    (tmp_path / "plan.npz").unlink()
    with pytest.raises(OptionError, match="other weights than these, which remedies changed as well; leave out --plan"):
        intact.quantize(other_weights(), x, plan=path, measure=False)


@pytest.mark.parametrize("plan", [b"plan.json", {}, 3, False, intact.Plan], ids=["bytes", "dict", "int", "bool", "class"])
def test_what_is_no_plan_is_refused_by_its_type(plan):
    with pytest.raises(OptionError, match=r"plan= takes a Plan or the path of a plan\.json, not \w+; a Result has its \.plan"):
        intact.quantize(net(), images(9, 8, SIDE), plan=plan, measure=False)


def test_no_remedies_at_all_are_an_order_too(learned):
    with pytest.raises(OptionError, match="--plan replays what was decided before"):
        intact.quantize(net(), images(9, 8, SIDE), plan=learned / "plan.json", remedies="none", measure=False)


def test_a_plan_is_not_deleted_before_it_is_replayed(learned, tmp_path):
    (tmp_path / "net.tflite").write_bytes(tflite.write(net()))
    np.save(tmp_path / "x.npy", images(20, 8, SIDE))
    common = ["quantize", str(tmp_path / "net.tflite"), "--data", str(tmp_path / "x.npy"), "--overwrite", "--quiet"]
    (tmp_path / "run").mkdir()
    run = copied(learned, tmp_path / "run")
    plan = ["--plan", str(run / "plan.json")]
    refused = RUN.invoke(app, [*common, *plan, "--out", str(run)])
    assert refused.exit_code == 2
    assert "--overwrite would delete" in refused.stderr
    refused = RUN.invoke(app, [*common, *plan, "--remedies", "bias", "--out", str(run)])
    assert (refused.exit_code, "--plan replays what was decided before" in refused.stderr) == (2, True)
    assert sorted(p.name for p in run.iterdir()) == ["plan.json", "plan.npz"]

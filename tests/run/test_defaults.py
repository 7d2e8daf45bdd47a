"""The cheap remedies that a run takes by itself, and plans that know of them."""

import json
import math

import numpy as np
import pytest
import torch
from drafts import draft, normal
from nets import images, mobile
from remedy_nets import SIDE, chain, rescaled_channels
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.data import input_specs
from intact.errors import OptionError
from intact.formats import tflite
from intact.measure import held_out
from intact.ops.matmul import FullyConnected
from intact.planning.plan import Plan
from intact.run.as_planned import mend_and_plan
from intact.run.defaults import Taken, _best, choose, samples_for
from intact.run.folder import RunFolder
from intact.run.settings import Settings

pytestmark = pytest.mark.usefixtures("hasty")

#: One channel of eight is a thousand times as large as the others: these keep few of the 256 steps.
UNLIKE = np.float32([1, 1, 1000, 1, 1, 1, 1, 1])


def unlike():
    return rescaled_channels(chain(), UNLIKE)


def start_of(graph, tmp_path, x, **options):
    settings = Settings(**options)
    samples = intact.data.arrays(x).bind(input_specs(graph), None)
    return mend_and_plan(graph, settings, samples, RunFolder(tmp_path), lambda *_: None), samples


def chosen(graph, tmp_path, n=64, **options):
    (tmp_path / ".stages").mkdir(exist_ok=True)
    start, samples = start_of(graph, tmp_path, images(n, 3, SIDE), **options)
    return choose(start, samples, lambda *_: None)


def decibels(result, graph, x):
    exact, made = (next(iter(intact.Program(g)({graph.input_names[0]: x}).values())).numpy() for g in (graph, result.graph))
    return 10 * math.log10(np.square(exact - exact.mean(0)).sum() / np.square(exact - made).sum())


# ---- what is taken ------------------------------------------------------------------------------------------------------


def test_channels_that_waste_their_range_are_equalized_unasked():
    x, held = images(64, 3, SIDE), images(64, 4, SIDE)
    by_default, plain = (
        intact.quantize(unlike(), x, evaluation=held, remedies=remedies, measure=False) for remedies in ("auto", "none")
    )
    assert decibels(by_default, unlike(), held) > decibels(plain, unlike(), held) + 10
    assert plain.steps == ()
    taken, *steps = by_default.steps
    assert taken.startswith("took equalize")
    assert taken.endswith("dB better at the output than without on samples held out")
    assert steps[0].startswith("equalized ")
    assert by_default.settings.remedies is None


def test_what_is_taken_is_what_it_is_by_name(tmp_path):
    names = chosen(unlike(), tmp_path).names
    x = images(64, 3, SIDE)
    unasked, asked = (
        intact.quantize(unlike(), x, evaluation=x, remedies=remedies, measure=False) for remedies in ("auto", names)
    )
    assert unasked.model == asked.model
    assert unasked.plan.remedied == asked.plan.remedied


def test_nothing_is_done_to_what_is_true_enough(tmp_path, monkeypatch):
    assert chosen(unlike(), tmp_path).gain > 0
    monkeypatch.setattr("intact.run.defaults._ENOUGH", -50.0)
    assert chosen(unlike(), tmp_path) == Taken()


@pytest.mark.parametrize("n", [1, 15])
def test_few_samples_hold_nothing_out(tmp_path, n):
    assert chosen(unlike(), tmp_path, n) == Taken()


@pytest.mark.parametrize("n", [16, 40, 64, 200])
def test_samples_that_are_enough(tmp_path, n):
    taken = chosen(unlike(), tmp_path, n)
    assert taken.names[0] == "equalize"
    assert taken.gain > 5


def test_other_schemes_have_them_too(tmp_path):
    assert chosen(unlike(), tmp_path, scheme="w4a8").names[0] == "equalize"
    assert chosen(unlike(), tmp_path, weights="per-tensor", target="mcu").names[0] == "equalize"


def smooth(count, seed):
    """Pictures whose neighbouring pixels are alike, as those of photos are."""
    few = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (count, 3, 3, 3)).astype(np.float32))
    return torch.nn.functional.interpolate(few, size=(SIDE, SIDE), mode="bilinear").permute(0, 2, 3, 1).numpy()


def test_where_an_output_stays_poor_rounding_makes_up_for_itself(tmp_path, monkeypatch):
    graph, taken = mobile(seed=6, side=SIDE), {}
    start, samples = start_of(graph, tmp_path, smooth(96, 2), scheme="w4a8")
    for below in (-math.inf, 20.0):
        monkeypatch.setattr("intact.run.defaults._POOR", below)
        taken[below] = choose(start, samples, lambda *_: None)
    assert "compensate" not in taken[-math.inf].names
    assert taken[20.0].names[-1] == "compensate"
    assert taken[20.0].gain > taken[-math.inf].gain + 3
    x, held = smooth(96, 2), smooth(64, 3)
    made = [
        intact.quantize(graph, x, evaluation=held, scheme="w4a8", remedies=remedies, measure=False)
        for remedies in ("auto", ("equalize", "clip", "bias"))
    ]
    assert "compensate" in made[0].plan.remedied.names
    assert decibels(made[0], graph, held) > decibels(made[1], graph, held) + 1


def test_a_scheme_in_float_has_none():
    result = intact.quantize(unlike(), images(64, 3, SIDE), scheme="float16", measure=False)
    assert result.steps == ()


def test_a_network_without_pairs_of_layers_is_not_equalized(tmp_path):
    graph = draft((6,), lambda d, x: d(FullyConnected(), x, normal(3, 6), normal(3)))
    start, samples = start_of(graph, tmp_path, normal(64, 6))
    assert "equalize" not in choose(start, samples, lambda *_: None).names


@pytest.mark.parametrize(("macs", "count"), [(1e6, 128), (3e8, 66), (4e9, 32), (2e10, 32)])
def test_large_networks_are_looked_at_with_fewer_samples(monkeypatch, macs, count):
    monkeypatch.setattr("intact.run.defaults.cost.macs", lambda _: type("M", (), {"value": macs}))
    samples = intact.data.arrays(images(500, 3, SIDE)).bind(input_specs(chain()), None)
    assert len(samples_for(None, samples)) == count


def test_the_largest_are_not_tried(monkeypatch, tmp_path):
    monkeypatch.setattr("intact.run.defaults._TOO_LARGE", 1.0)
    assert chosen(unlike(), tmp_path) == Taken()


@pytest.mark.parametrize(
    ("gains", "taken"),
    [
        ({}, Taken()),
        ({("bias",): {"y": 0.4}}, Taken()),
        ({("bias",): {"y": 0.6}}, Taken(("bias",), 0.6)),
        ({("bias",): {"y": 3.0, "z": -0.6}}, Taken()),
        ({("equalize",): {"y": 2.0}, ("bias",): {"y": 2.2}}, Taken(("bias",), 2.2)),
        ({("equalize", "bias"): {"y": 2.4}, ("equalize",): {"y": 2.0}}, Taken(("equalize",), 2.0)),
        ({("equalize", "bias"): {"y": 2.6}, ("equalize",): {"y": 2.0}}, Taken(("equalize", "bias"), 2.6)),
    ],
)
def test_more_remedies_have_to_gain_more(gains, taken):
    assert _best(gains) == taken


def test_every_sample_is_held_out_once():
    held = np.concatenate([held for held, _ in held_out.folds(18, 4, 18)])
    assert sorted(held) == list(range(18))
    for some, others in held_out.folds(18, 4, 3):
        assert len(some) <= 3
        assert sorted({*some, *others}) == list(range(18))
        assert not set(some) & set(others)


def test_no_sample_has_a_loud_voice():
    """Half the error is 6 dB; a single number that happens to be hit exactly says no more than 1 / 11 of its error would."""
    exact, before = np.zeros((5, 1)), np.ones((5, 1))
    halved = held_out.gain(np.zeros((5, 9)), np.ones((5, 9)), np.full((5, 9), 0.5))
    assert halved == pytest.approx(10 * math.log10(1.1 / 0.35))
    after = np.ones((5, 1))
    after[0] = 0.0
    assert held_out.gain(exact, before, after) == pytest.approx(10 * math.log10(5 / 4))
    assert held_out.gain(exact, after, before) == pytest.approx(-10 * math.log10(11) / 5)


def test_a_gain_of_many_does_not_outweigh_what_the_loudest_lose():
    """Nine small errors vanish and a large one doubles: by itself the mean of the samples would be 9 dB better."""
    before, after = np.ones((10, 1)), np.zeros((10, 1))
    before[0], after[0] = 10.0, 20.0
    assert held_out.gain(np.zeros((10, 1)), before, after) == pytest.approx(10 * math.log10(109 / 400))


def test_outputs_that_stay_the_same_have_no_voice():
    same = np.ones((4, 2))
    assert held_out.gain(np.zeros((4, 2)), same, same) is None
    assert held_out.mean_gains([{"a": None, "b": 2.0}, {"a": None, "b": None}]) == {"b": 1.0}
    assert held_out.clear_gain(held_out.mean_gains([{"a": None}])) is None


def test_rows_of_an_output_are_no_samples():
    """An output that lays the places of a sample in its batch gains what it gains, not so many times more."""
    exact, before, after = np.zeros((4, 50)), np.ones((4, 50)), np.full((4, 50), 0.5)
    rows = [x.reshape(200, 1) for x in (exact, before, after)]
    assert held_out.gain(*rows) == pytest.approx(held_out.gain(exact, before, after))


def test_copies_of_a_sample_are_one(tmp_path):
    x = np.repeat(images(8, 3, SIDE), 8, axis=0)
    start, samples = start_of(unlike(), tmp_path, x)
    assert choose(start, samples, lambda *_: None) == Taken()


# ---- plans --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("remedies", ["auto", "none", "bias", "equalize,clip,bias", "equalize,absorb,bias-analytic", "ranges"])
def test_a_plan_brings_its_remedies_along(remedies):
    x = images(64, 3, SIDE)
    first = intact.quantize(unlike(), x, remedies=remedies, measure=False)
    plan = Plan.from_json(first.plan.to_json())
    assert plan.remedied == first.plan.remedied
    again = intact.quantize(unlike(), x, plan=plan, measure=False)
    assert again.model == first.model
    assert again.plan.to_json() == first.plan.to_json()  # the digest of the constants too: they are the same bits


def test_a_plan_that_a_search_made_brings_them_too():
    x = images(160, 3, SIDE)
    graph = unlike()
    y = next(iter(intact.Program(graph)({graph.input_names[0]: x}).values())).numpy().argmax(1)
    first = intact.quantize(graph, intact.data.arrays(x, y), min_agreement=97, time_budget=60, measure=False)
    assert first.plan.remedied.names
    assert first.plan.remedied.skipped
    plan = Plan.from_json(first.plan.to_json())
    again = intact.quantize(graph, intact.data.arrays(x, y), plan=plan, measure=False)
    assert again.model == first.model


@pytest.mark.parametrize("other", ["samples", "order", "seed", "count"])
def test_a_plan_is_not_replayed_on_other_samples_than_its_constants_are_of(other):
    x = images(64, 3, SIDE)
    plan = Plan.from_json(intact.quantize(unlike(), x, measure=False).plan.to_json())
    options = {"seed": 1} if other == "seed" else {"calibration_samples": 9} if other == "count" else {}
    given = {"samples": images(64, 4, SIDE), "order": x[::-1].copy()}.get(other, x)
    with pytest.raises(OptionError, match=r"constants that equalize.* fitted to other samples than these.*leave out --plan"):
        intact.quantize(unlike(), given, plan=plan, measure=False, **options)


def test_a_plan_of_plain_constants_is_replayed_on_any_samples():
    plan = intact.quantize(unlike(), images(64, 3, SIDE), remedies="clip", measure=False).plan
    again = intact.quantize(unlike(), images(40, 4, SIDE), plan=plan, measure=False)
    assert again.plan.to_json() == plan.to_json()


@pytest.mark.parametrize("seed", [1, 2])
def test_ops_that_a_plan_keeps_in_float_do_not_change_how_it_is_replayed(seed):
    def build(d, x):
        for n in range(4):
            spread = np.exp(np.random.default_rng((seed, n)).normal(0, 1.5, (16, 1))).astype(np.float32)
            x = d(FullyConnected(activation="relu"), x, normal(16, d.shape(x)[-1], seed=10 * seed + n) * spread, normal(16))
        return d(FullyConnected(), x, normal(3, 16), normal(3))

    graph, x = draft((16,), build), normal(64, 16)
    options = {"weights": "per-tensor", "measure": False}
    first = intact.quantize(graph, x, remedies="equalize,mixed", **options)
    plan = Plan.from_json(first.plan.to_json())
    assert intact.quantize(graph, x, plan=plan, **options).model == first.model


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 0},
        {"samples": -5},
        {"samples": math.inf},
        {"samples": 20.7},
        {"samples": 10**30},
        {"skipped": -3},
        {"skipped": 10**25},
        {"names": "bias"},
        {"names": ["magic"]},
        {"digest": None, "samples": None},
    ],
)
def test_a_plan_that_someone_spoiled_is_no_plan(change):
    document = json.loads(intact.quantize(unlike(), images(16, 3, SIDE), remedies="bias", measure=False).plan.to_json())
    document["remedied"] |= change
    with pytest.raises(OptionError, match=r"not a plan that Intact wrote|no remedy is called 'magic'"):
        Plan.from_json(json.dumps(document))


def test_what_a_plan_decides_is_not_passed_over():
    x = images(64, 3, SIDE)
    plan = intact.quantize(chain(), x, scheme="w4a8", target="mcu", measure=False).plan
    again = intact.quantize(chain(), x, plan=plan, keep_float=["MEAN"], ranges="mse", measure=False)
    assert (again.settings.scheme, again.settings.target) == ("w4a8", "mcu")
    assert [f.message for f in again.findings if f.kind == "plan decides"] == [
        "--plan holds what --ranges, --keep-float would decide, which changed nothing"
    ]
    with pytest.raises(OptionError, match="the plan is for --scheme w4a8, and --scheme float16 is asked for"):
        intact.quantize(chain(), x, plan=plan, scheme="float16", measure=False)


def test_steps_speak_of_the_ranges_that_the_plan_has():
    """Moving averages are better before equalization here, and no longer after it."""
    for seed in range(4):
        x = images(64, seed, SIDE)
        x[::9] *= 4
        result = intact.quantize(unlike(), x, measure=False)
        moving = any("moving over" in entry.why for entry in result.plan.tensors.values())
        assert any("moving averages" in step for step in result.steps) == moving


def test_a_plan_does_not_hold_what_was_learned():
    x = images(40, 3, SIDE)
    first = intact.quantize(chain(), x, remedies="bias,round", time_budget=5, measure=False)
    with pytest.raises(
        OptionError, match=r"the plan is for weights that round made.*leave out --plan and type --remedies bias,round"
    ):
        intact.quantize(chain(), x, plan=Plan.from_json(first.plan.to_json()), measure=False)


# ---- the command --------------------------------------------------------------------------------------------------------


def test_from_the_shell(tmp_path):
    (tmp_path / "net.tflite").write_bytes(tflite.write(unlike()))
    np.save(tmp_path / "x.npy", images(120, 3, SIDE))
    common = ["quantize", str(tmp_path / "net.tflite"), "--data", str(tmp_path / "x.npy"), "--json"]

    def steps(*more):
        done = CliRunner().invoke(app, [*common, "--out", str(tmp_path / f"run{len(list(tmp_path.iterdir()))}"), *more])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["steps"]

    assert steps()[0].startswith("took equalize")
    assert steps("--remedies", "auto") == steps()
    assert steps("--remedies", "none") == []


def test_a_wrong_name_is_told_what_there_is():
    with pytest.raises(
        OptionError, match="no remedy is called 'automatic'; type --remedies with auto, none or some of: equalize"
    ):
        intact.Settings(remedies=("automatic",))


def test_an_interrupted_run_does_not_choose_again(tmp_path, monkeypatch):
    (tmp_path / "net.tflite").write_bytes(tflite.write(unlike()))
    np.save(tmp_path / "x.npy", images(120, 3, SIDE))
    args = ["quantize", str(tmp_path / "net.tflite"), "--data", str(tmp_path / "x.npy"), "--out", str(tmp_path / "run")]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("intact.run.recover.apply", stop)
        assert CliRunner().invoke(app, args).exit_code == 130
    with monkeypatch.context() as patch:
        patch.setattr("intact.run.recover.choose", stop)
        done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"][0].startswith("took equalize")


# ---- clip ---------------------------------------------------------------------------------------------------------------


def test_clip_begins_at_the_extremes_where_ranges_were_free():
    """Moving averages cut off what one sample in many reaches; what they cut off of a tensor that needs it, clip gives back."""
    x = normal(128, 6)
    x[::16] *= 8
    graph = draft((6,), lambda d, x: d(FullyConnected(), d(FullyConnected(), x, normal(8, 6), normal(8)), normal(3, 8, seed=1)))
    first, second = (
        intact.quantize(graph, x, evaluation=x, ranges=ranges, remedies="clip", input_type="float32", measure=False)
        for ranges in ("auto", "minmax")
    )
    assert first.model == second.model

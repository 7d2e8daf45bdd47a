"""Numbers of very different size in one tensor: mended exactly where that can be done, told where it cannot."""

import json
import re

import numpy as np
import pytest
import torch
from compare import assert_same
from drafts import draft, normal

import intact
from intact.data import input_specs
from intact.diagnosis.unlike_sizes import Mend
from intact.errors import OptionError
from intact.ops.activation import Logistic
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.matmul import FullyConnected
from intact.ops.shaping import Concatenation, Reshape, Slice, Split
from intact.planning.plan import Plan
from intact.rewrite.lowerings import lower
from intact.rewrite.mending import Step, mended
from intact.run.as_planned import mend_and_plan, ranges_taken, replayed
from intact.run.folder import RunFolder
from intact.run.settings import Settings
from intact.simulate.engine import Program

SCALES = np.float32([700, 0.5, 100, 1, 9, 0.9])
WIDE = {"input_type": "float32", "output_type": "float32"}


def conv(d, x, out, seed=0, gain=1.0, **options):
    w = gain * normal(out, 3, 3, d.shape(x)[-1], seed=seed) / 6
    return d(Conv2D(padding="same", **options), x, w, 0.1 * gain * normal(out, seed=seed))


def dense(d, x, out, seed=7, gain=1.0, **options):
    w = np.asarray(gain * normal(out, d.shape(x)[-1], seed=seed), np.float32)
    return d(FullyConnected(**options), x, w, np.asarray(gain * 0.1 * normal(out, seed=seed), np.float32))


def normalized(d, x):
    """A table whose columns are brought to one size by the network itself."""
    return dense(d, dense(d, d(Mul(), d(Sub(), x, SCALES / 2), 3.4 / SCALES), 16, activation="relu"), 1, 3)


def raw(d, x):
    """A table whose columns the first weights bring to one size."""
    w = (normal(16, 6) / SCALES).astype(np.float32)
    return dense(d, d(FullyConnected("relu"), x, w, normal(16)), 1, 3)


def branches(d, x):
    """A large branch and a sigmoid meet before weights to which both matter."""
    large, gate = conv(d, x, 4, 1, 300.0), d(Logistic(), conv(d, x, 4, 2))
    w = normal(3, 1, 1, 8, seed=4) * np.float32([1 / 300] * 4 + [1] * 4)
    return d(Conv2D(), d(Concatenation(3), large, gate), w, normal(3))


def head(d, x):
    """Boxes and scores, put together as one output."""
    boxes = d(Mul(), conv(d, x, 4, 1), np.float32([320, 320, 200, 200]))
    scores = d(Logistic(), conv(d, x, 3, 2))
    flat = (d(Reshape(), y, [-1, 64, d.shape(y)[-1]]) for y in (boxes, scores))
    return d(Concatenation(2), *flat)


def anchors(d, x):
    """Boxes and scores from one convolution."""
    gains = np.float32([100, 100, 50, 50, 0.5, 0.5])
    w = normal(6, 3, 3, 4, seed=5) * gains[:, None, None, None] / 6
    return d(Reshape(), d(Conv2D(padding="same"), x, w, gains * normal(6)), [-1, 64, 6])


def taken_apart(d, x):
    """One convolution of two parts, each with an end of its own."""
    gains = np.float32([100] * 4 + [0.5] * 4)
    w = normal(8, 3, 3, 4, seed=5) * gains[:, None, None, None] / 6
    boxes, scores = d(Split(2), np.int32(3), d(Conv2D(padding="same"), x, w, gains * normal(8)))
    return conv(d, boxes, 3, 2, 0.01), d(Logistic(), scores)


def sliced(d, x):
    gains = np.float32([100] * 4 + [0.5] * 2)
    w = normal(6, 3, 3, 4, seed=5) * gains[:, None, None, None] / 6
    y = d(Conv2D(padding="same"), x, w, gains * normal(6))
    boxes, scores = (d(Slice(), y, [0, 0, 0, at], [-1, -1, -1, n]) for at, n in ((0, 4), (4, 2)))
    return conv(d, boxes, 3, 2, 0.01), d(Logistic(), scores)


#: The network, the shape of a sample, what is asked for, and the least SQNR in dB of every output.
MENDED = {
    "normalized table": (normalized, (6,), WIDE, 35),
    "raw table": (raw, (6,), WIDE, 35),
    "branches": (branches, (8, 8, 4), {}, 28),
    "branches on a microcontroller": (branches, (8, 8, 4), {"target": "mcu"}, 28),
    "boxes and scores": (head, (8, 8, 4), WIDE, 30),
    "boxes and scores from one convolution": (anchors, (8, 8, 4), WIDE, 30),
    "taken apart": (taken_apart, (8, 8, 4), {}, 25),
    "sliced apart": (sliced, (8, 8, 4), {"target": "mcu"}, 25),
}


def given(shape, n=256):
    x = np.random.default_rng(3).uniform(0, 1, (n, *shape)).astype(np.float32)
    return x * SCALES if shape == (6,) else x - 0.5


def started(build, shape, tmp_path, **options):
    settings = Settings(**{"ranges": "minmax", **options})
    graph = lower(draft(shape, build), settings.target, "int8")
    samples = intact.data.arrays(given(shape)).bind(input_specs(graph), None)
    return graph, mend_and_plan(graph, settings, samples, RunFolder(tmp_path), lambda *_: None), samples


def outputs(graph, x):
    with torch.inference_mode():
        return [y.numpy() for y in Program(graph)({graph.input_names[0]: x}).values()]


def least_sqnr(exact, made):
    """Per column of each output, as a small column is lost beside large ones, the least."""
    found = []
    for y, z in zip(exact, made, strict=True):
        a, b = (v.reshape(-1, v.shape[-1]).astype(np.float64) for v in (y, z))
        found += list(10 * np.log10(a.var(0) / np.square(a - b).mean(0)))
    return min(found)


@pytest.mark.parametrize("case", MENDED)
def test_what_can_be_mended_exactly_is(case, tmp_path, monkeypatch):
    build, shape, options, least = MENDED[case]
    graph, start, _ = started(build, shape, tmp_path, **options)
    x = given(shape)
    exact = outputs(graph, x)
    for y, z in zip(exact, outputs(start.network.reference, x), strict=True):
        assert_same(z, y, atol=1e-5 * np.abs(y).max())  # powers of two: only the order of sums may differ
    assert start.network.log
    assert not start.findings
    assert least_sqnr(exact, outputs(start.network.integer(), x)) > least
    monkeypatch.setattr("intact.run.as_planned.find", lambda *_: Mend())
    _, plain, _ = started(build, shape, tmp_path / "plain", **options)
    gained = least_sqnr(exact, outputs(start.network.integer(), x)) - least_sqnr(exact, outputs(plain.network.integer(), x))
    assert gained > 10


@pytest.mark.parametrize(
    ("build", "shape", "options", "said"),
    [
        (normalized, (6,), {}, "input 'x0' holds columns of very different ranges: column 0 .*--input-type float32"),
        (normalized, (6,), {"target": "mcu"}, "scale them to one size before the network, or type --scheme int16x8"),
        (raw, (6,), {"output_type": "float32"}, "which leaves it 0.18 of 255 steps; --input-type float32"),
        (head, (8, 8, 4), {}, "output 'x.*' holds numbers of very different size.*--output-type float32 keeps"),
        (anchors, (8, 8, 4), {"target": "mcu"}, "give the model an output for each"),
    ],
)
def test_what_cannot_be_mended_is_said(build, shape, options, said, tmp_path):
    _, start, _ = started(build, shape, tmp_path, **options)
    (finding,) = start.findings
    assert re.search(said, finding.message)
    assert start.network.log == ()


def test_types_that_were_asked_for_are_not_chosen(tmp_path):
    _, start, _ = started(normalized, (6,), tmp_path, input_type="int8")
    assert start.findings
    assert start.otherwise() is None


def test_a_table_of_one_size_and_an_ordinary_network_are_left_alone(tmp_path):
    def ordinary(d, x):
        return dense(d, d(Add("relu"), dense(d, x, 8), normal(8)), 3, 2)

    graph, start, _ = started(ordinary, (5,), tmp_path, **WIDE)
    assert start.mend.steps == ()
    assert start.mend.float_ops == ()
    assert start.findings == ()
    assert start.network.reference is graph


@pytest.mark.parametrize("case", MENDED)
def test_a_plan_replays_what_was_mended(case, tmp_path):
    build, shape, options, _ = MENDED[case]
    graph, start, _ = started(build, shape, tmp_path, **options)
    plan = Plan.from_json(start.network.plan.to_json())
    again = replayed(graph, plan, start.settings).network
    x = given(shape, 8)
    for y, z in zip(outputs(start.network.integer(), x), outputs(again.integer(), x), strict=True):
        assert_same(z, y)


def test_steps_that_fit_another_model_are_refused(tmp_path):
    graph, start, _ = started(branches, (8, 8, 4), tmp_path)
    with pytest.raises(OptionError, match="the plan is for another model"):
        mended(graph, [Step("scale", 10**6, (3,))])
    document = json.loads(start.network.plan.to_json())
    document["steps"][0]["kind"] = "paint"
    with pytest.raises(OptionError, match="no rewrite is called 'paint'"):
        Plan.from_json(json.dumps(document))


def test_remedies_keep_what_was_mended():
    x = given((6,))
    data = intact.data.arrays(x)
    made = intact.quantize(draft((6,), normalized), data, remedies="bias", input_type="float32", measure=False)
    assert made.plan.steps == ()
    assert [op.kind.name for op in made.graph.ops[:3]] == ["MUL", "ADD", "QUANTIZE"]


def test_a_limit_chooses_the_types_by_itself(monkeypatch):
    monkeypatch.setattr("intact.run.trial._TIMED_SECONDS", 0.05)
    graph = draft((6,), normalized)
    x = given((6,), 400)
    y = outputs(graph, x)[0]
    y += (0.02 * y.std() * np.random.default_rng(4).normal(0, 1, y.shape)).astype(np.float32)

    def score(made, wanted):
        return 1.0 - float(np.abs(made.reshape(-1) - wanted.reshape(-1)).mean() / y.std())

    made = intact.quantize(graph, intact.data.arrays(x, y), metric=score, max_drop=0.05, measure=False)
    assert made.taken == "float32 input"
    assert [c.name for c in made.candidates] == ["as planned", "float32 input"]
    assert made.candidates[0].loss.value > 0.1
    assert not any(f.kind == "unlike columns" for f in made.findings)


# ---- which ranges -------------------------------------------------------------------------------------------------------


def outlying(rare):
    """Samples of which ``rare`` reach four hundred times as far as the others, in a network of two layers."""
    x = np.random.default_rng(1).normal(0, 1, (200, 64)).astype(np.float32)
    x[::rare] *= 400
    return draft((64,), lambda d, x: dense(d, dense(d, x, 64, activation="relu"), 4, 3)), x


@pytest.mark.parametrize(("rare", "chosen"), [(10**6, "minmax"), (100, "moving")])
def test_the_better_of_two_ranges_is_taken_and_said(rare, chosen, tmp_path):
    graph, x = outlying(rare)
    x[0] = x[1]  # the first sample begins the moving average
    samples = intact.data.arrays(x).bind(input_specs(graph), None)
    start = mend_and_plan(graph, Settings(), samples, RunFolder(tmp_path / "auto"), lambda *_: None)
    same = mend_and_plan(graph, Settings(ranges=chosen), samples, RunFolder(tmp_path / "same"), lambda *_: None)
    assert start.network.plan.tensors.keys() == same.network.plan.tensors.keys()
    assert all(start.network.plan.own(i) == same.network.plan.own(i) for i in same.network.plan.tensors)
    whys = {entry.why for entry in start.network.plan.tensors.values()}
    assert any(why.startswith(f"{chosen} over the calibration samples") for why in whys)
    assert any("dB better at the output than minmax" in why for why in whys) == (chosen == "moving")
    assert any("moving averages" in step for step in ranges_taken(start.network.plan)) == (chosen == "moving")


def test_too_few_samples_choose_nothing(tmp_path):
    graph, x = outlying(100)
    samples = intact.data.arrays(x[:20]).bind(input_specs(graph), None)
    start = mend_and_plan(graph, Settings(), samples, RunFolder(tmp_path), lambda *_: None)
    assert "minmax over the calibration samples" in {entry.why for entry in start.network.plan.tensors.values()}
    assert start.network.log == ()

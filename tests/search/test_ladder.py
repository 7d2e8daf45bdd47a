"""The ladder by itself: what it tries, in which order, when it stops, and what it takes. Losses are made up here."""

import time
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from nets import images, mobile
from remedy_nets import SIDE, chain, planner
from small_graphs import fully_connected

import intact
from intact.data import input_specs
from intact.errors import UnsupportedError
from intact.formats import tflite
from intact.measure.measurement import Measurement
from intact.numbers.affine import Float
from intact.planning.quantized import Quantized
from intact.progress import silent
from intact.remedies.base import Context
from intact.remedies.finetune import FineTune
from intact.remedies.ranges import RangeRefinement
from intact.remedies.rounding import LearnedRounding
from intact.rewrite.lowerings import lower
from intact.run.as_planned import context_of, mend_and_plan
from intact.run.settings import Settings
from intact.search.candidate import Candidate, front
from intact.search.evaluator import Evaluator, Loss
from intact.search.goal import Goal
from intact.search.ladder import Other, search
from intact.simulate.noise import Sensitivity, input_share, sensitivities, weight_share


def measured(value, half=1.0, n=125, unit="percentage points"):
    return Measurement("accuracy drop", value, unit, value - half, value + half, "made up", n)


@pytest.fixture(scope="module")
def planned():
    graph = lower(mobile(seed=5, side=SIDE), "cpu", "int8")
    samples = intact.data.arrays(images(64, 3, SIDE)).bind(input_specs(graph), None)
    plan = planner(Settings(scheme="w4a8"), samples)
    return Quantized(graph, graph, plan(graph)), samples, plan


@pytest.fixture(autouse=True)
def quick_learning(monkeypatch):
    """These tests are about choosing: what learns gives back what it got."""
    for remedy in (FineTune, LearnedRounding, RangeRefinement):
        monkeypatch.setattr(remedy, "apply", lambda self, network, *_: replace(network, log=(*network.log, self.name)))


@dataclass
class Fake(Evaluator):
    """Knows what every candidate loses: by its name, or by the number of ops that are kept ``how``, else 9.

    ``done``: what an earlier run made, by name, in 200 seconds each. ``half`` is half the interval of a loss, ``expected`` what
    is expected to be lost, by name. ``kept`` and ``told`` are what the search said.
    """

    learning: object
    context: Context
    losses: dict
    goal: Goal = Goal("drop", 1.0)
    mixes: bool = True
    how: str = "in float"
    half: float = 1.0
    expected: dict = field(default_factory=dict)
    divergence: dict = field(default_factory=dict)
    done: dict = field(default_factory=dict)
    kept: list = field(default_factory=list)
    told: list = field(default_factory=list)

    def judge(self, name, model):
        assert tflite.read(model).is_quantized
        kept = int(name.split(", ")[1].split()[0]) if self.how in name else None
        loss = measured(self.losses.get(name, self.losses.get(kept, 9.0)), self.half)
        return Loss(loss, self.expected.get(name), self.divergence.get(name))

    def time(self, model):
        del model
        return 1.0

    def remember(self, name, base, make):
        del base
        return (self.done[name], 200.0) if name in self.done else (make(), 0.0)

    def keep(self, model, about):
        self.kept.append((model, about))

    def tell(self, line):
        self.told.append(line)


class Nowhere:
    """A folder that keeps nothing."""

    common = None

    def arrays(self, name, make, of=None):
        del name, of
        return make()


def fake(planned, losses, seconds=600, **changes):
    _, samples, plan = planned
    return Fake(samples, Context(plan, deadline=time.monotonic() + seconds), losses, **changes)


def test_the_best_file_so_far_is_kept_each_time_a_better_one_is_found(planned):
    trial = fake(planned, {"as planned": 5.0, "bias": 7.0, "equalize + bias": 0.9})
    tried, taken = search(planned[0], trial)
    assert trial.kept == [(tried[0].model, str(tried[0]))] * 2  # before the second and the third are made
    assert taken is tried[2]


def test_what_was_tried_before_an_interruption_does_not_replace_the_best(planned):
    losses = {"as planned": 5.0, "bias": 1.5, "equalize + bias": 0.9}
    whole = search(planned[0], fake(planned, losses))[0]
    trial = fake(planned, losses, done={c.name: c.network for c in whole[:2]})
    search(planned[0], trial)
    assert [model for model, _ in trial.kept] == [whole[1].model]


def names(found):
    return [candidate.name for candidate in found[0]]


def test_the_first_that_meets_the_goal_is_taken_and_nothing_is_tried_after_it(planned):
    found = search(planned[0], fake(planned, {"equalize + bias": 0.9}))
    assert names(found) == ["as planned", "bias", "equalize + bias"]
    assert found[1].name == "equalize + bias"


def test_every_rung_builds_on_what_lost_least(planned):
    found = search(planned[0], fake(planned, {"bias": 5.0, "bias + round + bias": 4.0, "bias + round + bias + finetune": 0.5}))
    assert names(found) == [
        "as planned",
        "bias",
        "equalize + bias",
        "equalize + clip + bias",
        "bias, 1 op with 8-bit weights",
        "compensate",
        "bias + round + bias",
        "bias + round + bias + finetune",
    ]
    assert found[1].name == "bias + round + bias + finetune"
    assert all(c.why for c in found[0])


CLIPPED = {"equalize + clip + bias": 4.0, "clip + bias": 4.5, "equalize + clip + compensate": 3.5, "clip + compensate": 3.0}


@pytest.mark.parametrize(("bias", "equalized", "in_vain"), [(5.0, 6.0, True), (6.0, 5.0, False)])
def test_where_equalize_gains_nothing_by_itself_others_do_without_it_too(bias, equalized, in_vain):
    losses = {"bias": bias, "equalize + bias": equalized, **CLIPPED}
    tried = names(search_of(lower(chain(), "cpu", "int8"), losses))
    assert "equalize + clip + bias" in tried
    assert ("clip + bias" in tried, "clip + compensate" in tried) == (in_vain, in_vain)
    assert ("equalize + clip + compensate" in tried) is not in_vain


def test_where_equalize_changes_nothing_nothing_is_tried_twice():
    tried = names(search_of(lower(mobile(seed=5, side=SIDE), "cpu", "int8"), {"bias": 5.0, **CLIPPED}))
    assert "equalize + clip + compensate" in tried
    assert not {"clip + bias", "clip + compensate"} & set(tried)


def search_of(graph, losses):
    samples = intact.data.arrays(images(64, 3, SIDE)).bind(input_specs(graph), None)
    plan = planner(Settings(), samples)
    return search(Quantized(graph, graph, plan(graph)), fake((None, samples, plan), losses))


def test_what_compensated_weights_cost_is_seen_where_they_are_rounded_to_the_nearest(planned, monkeypatch):
    """On their grid they would seem to make no noise: all is measured on the network before, and learned from there."""
    asked, shares = [], []

    def noise(network, *_, **__):
        asked.append(network.remedies)
        return sensitivities(network, *_, **__)

    def share(network, *_, before):
        shares.append((network.remedies, before))
        return weight_share(network, *_, before=before)

    monkeypatch.setattr("intact.search.ladder.sensitivities", noise)
    monkeypatch.setattr("intact.search.ladder.weight_share", share)
    found = search(planned[0], fake(planned, {"bias": 5.0, "compensate": 4.0, "bias + round + bias": 3.0}))
    assert not [names for names in asked if "compensate" in names or "round" in names]
    ((remedies, before),) = shares
    assert remedies == ("compensate",)
    assert before is next(c.network.graph for c in found[0] if c.name == "as planned")
    assert "bias + round + bias" in names(found)


def test_what_makes_little_noise_gets_no_remedy_of_its_own(planned, monkeypatch):
    expected = {
        0.9: ["bias + round + bias", "bias + finetune"],
        0.4: ["ranges + bias", "bias + finetune", "bias + round + bias"],
        0.1: ["ranges + bias", "bias + finetune"],
    }
    for share, rungs in expected.items():
        monkeypatch.setattr("intact.search.ladder.weight_share", lambda *_, share=share, **__: share)
        found = search(planned[0], fake(planned, {"bias": 5.0}, mixes=False))
        assert names(found)[4 : 6 + len(rungs)] == ["bias, 1 op with 8-bit weights", "compensate", *rungs]
        assert not [n for n in names(found)[6 + len(rungs) :] if "8-bit" not in n]
        assert any(f"{100 * max(share, 1 - share):.0f} % of the noise" in c.why for c in found[0])


@pytest.mark.parametrize("enough", [1, 2, 3])
def test_the_fewest_ops_that_do_stay_in_float(planned, enough):
    """Doubled until the goal is met, then halved back: 1, 2, 4, 3 for three."""
    losses = {"bias": 5.0} | {n: 0.5 if n >= enough else 3.0 for n in range(1, 9)}
    found = search(planned[0], fake(planned, losses))
    assert found[1].name.endswith(f", {enough} {'op' if enough == 1 else 'ops'} in float")
    tried = [int(name.split(", ")[1].split()[0]) for name in names(found) if "in float" in name]
    assert tried == {1: [1], 2: [1, 2], 3: [1, 2, 4, 3]}[enough]
    in_float = [sum(t.is_float and not t.is_constant for t in c.network.integer().tensors.values()) for c in found[0]]
    assert in_float[0] == 0 < in_float[-1]


@pytest.mark.parametrize("enough", [1, 2])
def test_weights_get_eight_bits_before_anything_goes_to_float(planned, enough):
    """The network has two ops with weights of 4 bits: both are tried before a float one."""
    losses = dict.fromkeys(range(enough, 3), 0.5)
    found = search(planned[0], fake(planned, losses, how="8-bit"))
    assert found[1].name.endswith(f", {enough} {'op' if enough == 1 else 'ops'} with 8-bit weights")
    assert not [n for n in names(found) if "in float" in n]
    graph = found[1].network.integer()
    weights = [graph[op.inputs[op.kind.weight.input]].format.dtype for op in graph.ops if op.kind.weight is not None]
    assert weights.count("int8") == enough + 1  # the depthwise weights have 8 bits in any case


def weights(network):
    """The stored weights of a network's ops, by first output."""
    graph = network.integer()
    found = {op.output: graph[op.inputs[op.kind.weight.input]] for op in graph.ops if op.kind.weight is not None}
    return {i: (t.format.dtype, t.data) for i, t in found.items()}


def test_few_bytes_go_to_the_noisiest_weights_before_anything_is_learned(planned):
    """The classifier, of 32 numbers, may have 8 bits; the first convolution, of 216, would take too much of the file."""
    name = "bias, 1 op with 8-bit weights"
    found = search(planned[0], fake(planned, {"bias": 5.0, name: 4.0, name + " + round + bias": 0.5}))
    widened = next(c for c in found[0] if c.name == name)
    assert [dtype for dtype, _ in weights(widened.network).values()] == ["int4", "int8", "int8"]
    assert "16 bytes more" in widened.why
    assert len(widened.model) - len(found[0][1].model) <= 0.04 * len(found[0][1].model)


def test_what_is_learned_after_it_is_learned_with_those_widths(planned):
    name = "bias, 1 op with 8-bit weights"
    found = search(planned[0], fake(planned, {"bias": 5.0, name: 4.0, "mixed + bias + round + bias": 0.5}))
    assert found[1].name == "mixed + bias + round + bias"
    assert [dtype for dtype, _ in weights(found[1].network).values()] == ["int4", "int8", "int8"]


def test_rounding_is_not_learned_anew_for_wider_weights(planned, monkeypatch):
    """The ops that keep their 4 bits keep what they learned; the others have their own weights again, as 8 bits."""

    def learned(self, network, *_):
        graph = network.graph
        data = {op.inputs[1]: np.full_like(graph[op.inputs[1]].data, 0.5) for op in graph.ops if op.kind.weight is not None}
        asked.append(self.name)
        tensors = {**graph.tensors, **{i: replace(graph[i], data=x) for i, x in data.items()}}
        return replace(network, graph=replace(graph, tensors=tensors))

    asked = []
    monkeypatch.setattr(LearnedRounding, "apply", learned)
    monkeypatch.setattr("intact.search.ladder._MAY_ADD", 0.0)
    losses = {"bias": 5.0, "bias + round + bias": 4.0, 1: 0.5}
    found = search(planned[0], fake(planned, losses, how="8-bit"))
    assert found[1].name == "bias + round + bias, 1 op with 8-bit weights"
    assert asked == ["round"]
    rounded = next(c for c in found[0] if c.name == "bias + round + bias")
    (first, before), (_, after) = (zip(*weights(c.network).values(), strict=True) for c in (rounded, found[1]))
    assert first == ("int4", "int8", "int4")
    same = [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(same) == 2
    assert len(np.unique(after[same.index(False)])) > 1  # the weights that it had, not what was learned of them


def test_time_spent_before_an_interruption_counts(planned):
    losses = {"as planned": 5.0, "bias": 1.5}
    whole = search(planned[0], fake(planned, losses, mixes=False))[0]
    trial = fake(planned, losses, seconds=399, done={c.name: c.network for c in whole[:2]})
    found = search(planned[0], trial)
    assert names(found) == ["as planned", "bias"]
    assert [round(c.seconds, -1) for c in found[0]] == [200, 200]
    assert [line.endswith(", before the interruption") for line in trial.told] == [True, True, False]
    assert trial.told[-1] == "time is up"


@pytest.mark.parametrize("ranges", ["auto", "minmax"])
def test_another_start_is_planned_anew_as_it_was_itself(planned, ranges):
    """Also where clip begins at the extremes: the plan names the types and the rewrites of the network that it is for."""
    network, samples, _ = planned
    start, other = (
        mend_and_plan(network.reference, Settings(scheme="w4a8", ranges=ranges, input_type=kind), samples, Nowhere(), silent)
        for kind in (None, "float32")
    )
    trial = fake(planned, {"float32 input": 5.0, "float32 input: equalize + clip + bias": 0.5})
    trial.context = replace(context_of(start, samples), deadline=trial.context.deadline)
    tried, taken = search(start.network, trial, [Other("float32 input", other.network, context_of(other, samples))])
    assert taken.name == "float32 input: equalize + clip + bias"
    kinds = [{c.network.integer()[i].format.dtype for i in c.network.integer().inputs} for c in tried]
    assert kinds == [{"int8"}] + 4 * [{"float32"}]


def float_input(network, samples):
    """What begins with float32 inputs, and how often it was asked for."""
    asked = []

    def begin():
        asked.append(1)
        settings = Settings(scheme="w4a8", ranges="minmax", input_type="float32")
        start = mend_and_plan(network.reference, settings, samples, Nowhere(), silent)
        return Other("float32 input", start.network, context_of(start, samples))

    return begin, asked


@pytest.mark.parametrize(("share", "tried"), [(0.1, False), (0.4, True)])
def test_where_rounding_the_input_makes_the_noise_the_first_op_reads_it_in_float(planned, monkeypatch, share, tried):
    network, samples, _ = planned
    begin, asked = float_input(network, samples)
    monkeypatch.setattr("intact.search.ladder.input_share", lambda *_, **__: share)
    name = "float32 input: equalize + mixed + compensate"
    losses = {"equalize + bias": 5.0, "equalize + compensate": 4.0, name: 3.0, name + " + finetune": 0.5}
    found, taken = search(network, fake(planned, losses), float_input=begin)
    assert (name in names((found, taken)), len(asked)) == (tried, int(tried))
    if not tried:
        return
    made = next(c for c in found if c.name == name).network
    integer = made.integer()
    assert [integer[i].format.dtype for i in integer.inputs] == ["float32"]
    first = next(op for op in integer.ops if integer.inputs[0] in op.reads)
    assert isinstance(integer[first.output].format, Float)
    assert "40 % of the noise" in next(c for c in found if c.name == name).why
    assert taken.name == name + " + finetune"  # what follows begins there


def test_a_network_that_is_mostly_what_reads_the_input_stays_one_of_integers(monkeypatch):
    monkeypatch.setattr("intact.search.ladder.input_share", lambda *_, **__: 0.4)
    graph = fully_connected(signature=True, batch=None)
    x = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    samples = intact.data.arrays(x).bind(input_specs(graph), None)
    plan = planner(Settings(), samples)
    network = Quantized(graph, graph, plan(graph))
    begin, asked = float_input(network, samples)
    tried, _ = search(network, fake((network, samples, plan), {}), float_input=begin)
    assert not asked
    assert not [c.name for c in tried if "input" in c.name]


def test_a_float_input_that_gains_nothing_is_left_again(planned, monkeypatch):
    network, samples, _ = planned
    begin, _ = float_input(network, samples)
    monkeypatch.setattr("intact.search.ladder.input_share", lambda *_, **__: 0.4)
    found = search(network, fake(planned, {"equalize + bias": 5.0, "equalize + compensate": 4.0}), float_input=begin)
    after = names(found)[names(found).index("float32 input: equalize + mixed + compensate") + 1 :]
    assert after
    assert not [name for name in after if "input" in name]
    made = next(c for c in found[0] if c.name == after[-1]).network.integer()
    assert {made[i].format.dtype for i in made.inputs} == {"int8"}


def test_a_float_input_is_kept_where_few_samples_cannot_tell_and_probabilities_can(planned, monkeypatch):
    network, samples, _ = planned
    begin, _ = float_input(network, samples)
    monkeypatch.setattr("intact.search.ladder.input_share", lambda *_, **__: 0.4)
    monkeypatch.setattr("intact.search.ladder._AS_LARGE", 2.0)  # the first weights are much of so small a file
    name = "float32 input: equalize + mixed + compensate"
    losses = {"equalize + bias": 5.0, "equalize + compensate": 4.0, name: 4.3}
    trial = fake(planned, losses, goal=Goal("disagreement", 1.0), divergence={"equalize + compensate": 0.2, name: 0.1})
    found = search(network, trial, float_input=begin)
    assert name + " + finetune" in names(found)
    assert found[1].name == name


def test_what_rounding_inputs_makes_of_the_noise_is_worked_out(planned):
    """All of it where nothing else is rounded; none of it where inputs are not rounded."""
    network, samples, _ = planned
    inputs = {i: network.plan.tensors[i] for i in network.graph.inputs}
    alone = replace(network, plan=replace(network.plan, tensors=inputs, edges={}))
    assert input_share(alone, samples) == 1.0
    others = replace(network.plan, tensors={i: e for i, e in network.plan.tensors.items() if i not in inputs}, boundary={})
    assert input_share(replace(network, plan=others), samples) == 0.0
    assert 0.0 < input_share(network, samples) < 0.5


def test_where_nothing_mixes_nothing_is_kept_precise(planned):
    assert not [n for n in names(search(planned[0], fake(planned, {}, mixes=False))) if "float" in n]


def test_what_loses_least_is_taken_when_nothing_does(planned):
    found = search(planned[0], fake(planned, {"equalize + bias": 4.0}, mixes=False))
    assert found[1].name == "equalize + bias"


def test_a_remedy_that_cannot_be_applied_is_left_out_and_said(planned, monkeypatch):
    def refuse(*_):
        raise UnsupportedError("not here")

    monkeypatch.setattr(FineTune, "apply", refuse)
    trial = fake(planned, {1: 0.5})
    found = search(planned[0], trial)
    assert not [n for n in names(found) if "finetune" in n]
    assert any("finetune: left out, not here" in line for line in trial.told)
    assert found[1].name.endswith("1 op in float")


def test_without_time_the_network_as_planned_is_judged_and_nothing_else(planned):
    assert names(search(planned[0], fake(planned, {}, seconds=-1))) == ["as planned"]


def test_the_front_leaves_out_what_another_beats(planned):
    def candidate(name, lost, size, ms):
        return Candidate(name, "", planned[0], b"x" * size, measured(lost), None, ms, 0.0)

    tried = [candidate("a", 3, 10, 1.0), candidate("b", 2, 10, 1.0), candidate("c", 1, 10, 2.0), candidate("d", 2, 9, 1.02)]
    assert front(tried) == ("c", "d")


@pytest.mark.parametrize("kind", ["drop", "disagreement"])
def test_samples_that_can_show_nothing_are_counted(kind):
    """Worked: the upper end for nothing lost on n samples is about 3.84 / n, so 0.5 points take some 770 samples."""
    assert Goal(kind, 0.5).samples_for(5000) is None
    assert Goal(kind, 0.5).samples_for(100) == 765
    assert Goal(kind, 0.0).samples_for(5000) > 10**9


def test_a_lucky_estimate_is_not_believed(planned):
    """What the float network's confidence expects to be lost counts where it is more."""
    losses, expected = {"bias": 0.9, "equalize + bias": 0.4}, {"bias": 2.0, "equalize + bias": 0.5}
    found = search(planned[0], fake(planned, losses, expected=expected))
    assert found[1].name == "equalize + bias"
    assert "(2.00 expected, 1.13 together)" in str(found[0][1])


@pytest.mark.parametrize(
    ("measured", "expected", "score"),
    [
        ((-0.48, -1.72, 0.74), 1.5, 0.34),  # both say something: weighed
        ((-0.32, -2.14, 1.50), 5.0, 0.32),  # a confidence that expects much is trusted little
        ((0.30, 0.20, 0.40), 3.0, 0.30),  # labels that are sure decide
        ((0.30, 0.20, 0.40), None, 0.30),
        ((0.0, 0.0, 0.0), 0.0, 0.0),
        ((27.46, 26.2, 28.7), 0.19, 26.2),  # a network that is sure of its mistakes expects to lose nothing
        ((0.80, -2.75, 4.46), 0.1, 0.45),  # and a little that is expected is no surer than what was measured
        ((2.0, 1.0, 3.0), 0.0, 1.0),
        ((-2.0, -3.0, -1.0), -0.2, -1.1),
    ],
)
def test_measured_and_expected_losses_are_weighed_by_how_sure_they_are(planned, measured, expected, score):
    lost = Measurement("accuracy drop", measured[0], "percentage points", *measured[1:], "made up", 80)
    assert Candidate("a", "", planned[0], b"", lost, expected, 1.0, 0.0).score == pytest.approx(score, abs=0.006)


@pytest.mark.parametrize("expected", [0.0, 0.01, 0.19, 5.0, 60.0])
@pytest.mark.parametrize("value", [-3.0, 0.5, 27.46])
def test_no_score_is_below_what_the_measured_interval_allows(planned, value, expected):
    candidate = Candidate("a", "", planned[0], b"", measured(value), expected, 1.0, 0.0)
    assert candidate.score >= candidate.loss.low
    assert candidate.score >= min(value, expected)


@pytest.mark.parametrize(
    ("lost", "limit", "few"),
    [
        (measured(0.80, 3.6), 1.0, True),
        (measured(0.80, 3.6), 10.0, False),  # 125 samples show a loss of nothing to be below 3.1
        (measured(-0.48, 1.2, 1250), 0.5, False),
        (measured(0.80, 3.6, unit=""), 1.0, True),  # a metric of one's own
        (measured(0.80, 1.0, unit=""), 1.0, False),
        (measured(0.80, 3.6), 0.0, False),  # no number of samples would do
    ],
)
def test_few_samples_are_known_by_what_they_leave_open(lost, limit, few):
    assert Goal("drop", limit).are_few(lost) == few


def test_with_few_samples_the_search_goes_on_while_there_is_something_to_try(planned):
    """0.80 [-2.8, 4.4] is within a limit of 1 by the estimate only: three rungs further nothing is lost."""
    losses = {"as planned": 0.8, "bias": 0.8, "equalize + bias": 1.6, "equalize + clip + bias": 0.0}
    found = search(planned[0], fake(planned, losses, half=3.6))
    assert names(found) == list(losses)
    assert found[1].name == "equalize + clip + bias"
    losses["equalize + clip + bias"] = 0.9
    found = search(planned[0], fake(planned, losses, half=3.6))
    assert found[1].name == "as planned"  # of two that lose as little the cheaper
    assert len(found[0]) > 4


def test_of_what_few_samples_cannot_tell_apart_the_closest_probabilities_are_built_on(planned):
    """bias changes as many classes as equalize and bias, within the interval, and its probabilities are closer: it goes on."""
    losses = {"bias": 2.5, "equalize + bias": 2.0, "equalize + clip + bias": 4.0}
    far = {"as planned": 0.9, "bias": 0.1, "equalize + bias": 0.2, "equalize + clip + bias": 0.01}
    trial = fake(planned, losses, goal=Goal("disagreement", 1.0), divergence=far)
    assert "compensate" in names(search(planned[0], trial))
    assert "equalize + compensate" in names(search(planned[0], replace(trial, divergence={**far, "bias": 0.3})))
    surer = replace(trial, half=0.3)  # an interval that leaves 2.0 alone
    assert "equalize + compensate" in names(search(planned[0], surer))


def test_closer_probabilities_of_a_larger_network_do_not_count(planned):
    losses = {"equalize + bias": 2.0, 1: 2.5, 2: 2.5, 4: 2.5}
    trial = fake(planned, losses, goal=Goal("disagreement", 1.0), divergence={"equalize + bias": 0.2})
    everything = {candidate.name: 0.1 for candidate in search(planned[0], trial)[0] if "in float" in candidate.name}
    tried, taken = search(planned[0], replace(trial, divergence={**trial.divergence, **everything}))
    assert everything
    assert taken.name == "equalize + bias"
    assert taken is min(tried, key=lambda c: c.score)


def test_by_how_much_probabilities_part_is_worked_out():
    """0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75) = 0.1438 nats for one of two samples; a probability of 0 counts as 1/512."""
    p = np.float32([[0.5, 0.5], [0.75, 0.25]])
    goal = Goal("disagreement", 1.0)
    assert goal.divergence({"y": p}, {"y": np.float32([[0.25, 0.75], [0.75, 0.25]])}) == pytest.approx(0.1438 / 2, abs=1e-4)
    logits = np.log(p) + 3
    assert goal.divergence({"y": logits}, {"y": np.log(np.float32([[0.25, 0.75], [0.75, 0.25]]))}) == pytest.approx(
        0.0719, abs=1e-4
    )
    zero = goal.divergence({"y": p}, {"y": np.float32([[1, 0], [0.75, 0.25]])})
    assert zero == pytest.approx((np.log(1 + 1 / 512) + 0.5 * np.log(0.5) + 0.5 * np.log(256)) / 2, abs=1e-4)
    many = np.random.default_rng(0).normal(size=(50, 1000)).astype(np.float32)  # most of their probabilities are below 1/512
    assert goal.divergence({"y": 4 * many}, {"y": 4 * many}) == pytest.approx(0.0, abs=1e-9)
    assert goal.divergence({"y": 4 * many}, {"y": 3.9 * many}) > 0
    assert goal.divergence({"y": p[:, :1]}, {"y": p[:, :1]}) is None
    assert goal.divergence({"y": p.argmax(1)}, {"y": p.argmax(1)}) is None
    assert Goal("drop", 1.0).divergence({"y": p}, {"y": p}) is None


def test_what_is_expected_to_be_lost_is_worked_out():
    """Two of four samples change their class: from 0.6 to 0.3, and from 0.5 to 0.4 -> (0.3 + 0.1) / 4 = 10 points."""
    scores = np.float32([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6]])
    made = np.float32([[0.4, 0.5, 0.1], [0.4, 0.5, 0.1], [0.6, 0.3, 0.1], [0.1, 0.3, 0.6]])
    assert Goal("drop", 1.0).expected({"y": scores}, {"y": made}) == pytest.approx(10.0, abs=1e-4)
    logits = np.log(scores) + 3
    assert Goal("drop", 1.0).expected({"y": logits}, {"y": made}) == pytest.approx(10.0, abs=1e-4)
    assert Goal("disagreement", 1.0).expected({"y": scores}, {"y": made}) is None
    assert Goal("drop", 1.0).expected({"y": scores[:, :1]}, {"y": made[:, :1]}) is None


@pytest.mark.parametrize(
    ("loss", "shares", "tried"),
    [
        (9.0, [0.6] + [0.04] * 10, "1 op in float"),
        (9.0, [0.3, 0.3] + [0.04] * 10, "2 ops in float"),
        (9.0, [0.1] * 10, None),  # all make some of it
        (3.0, [0.6] + [0.04] * 10, None),  # learning may do
    ],
)
def test_few_ops_that_make_most_of_a_great_loss_are_kept_precise_before_anything_is_learned(
    planned, monkeypatch, loss, shares, tried
):
    outputs = [op.output for op in planned[0].graph.ops]

    def noise(*_, **__):
        return tuple(Sensitivity(str(n), outputs[n % 3], share, share) for n, share in enumerate(shares))

    monkeypatch.setattr("intact.search.ladder.sensitivities", noise)
    monkeypatch.setattr("intact.search.ladder.narrow_weights", lambda _: {})
    found = search(planned[0], fake(planned, dict.fromkeys(["as planned", "bias"], loss) | {"equalize + bias": loss + 1}))
    early = [n for n in names(found)[: names(found).index("as planned + finetune") if tried is None else 6] if "in float" in n]
    assert early == ([] if tried is None else [f"as planned, {tried}"])

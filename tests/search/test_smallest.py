"""The smallest network within a limit: which op keeps its bits, what that takes, and when the search ends."""

import json
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from nets import images, mobile
from typer.testing import CliRunner
from width_nets import one_needs_eight_bits, samples

import intact
from intact.cli.app import app
from intact.data import input_specs
from intact.errors import OptionError, UnsupportedError
from intact.formats import tflite
from intact.formats.tflite.packing import DECODED
from intact.measure.measurement import Measurement
from intact.planning.quantized import Quantized
from intact.planning.targets import TARGETS
from intact.planning.widths import INT4, INT8, Width, choosable, width_in, widths_of
from intact.remedies.base import Context
from intact.remedies.bias import BiasCorrection
from intact.remedies.finetune import FineTune
from intact.rewrite.lowerings import lower
from intact.run.as_planned import plan_of
from intact.run.settings import Settings
from intact.search.candidate import front
from intact.search.evaluator import Evaluator, Loss
from intact.search.goal import Goal
from intact.search.prices import prices
from intact.search.smallest import smallest
from intact.simulate.engine import Program

RUN = CliRunner()


@dataclass
class Judge(Evaluator):
    """Says what a file loses: the error of its outputs beside float's, in per cent of these."""

    learning: object
    context: Context
    reference: object
    goal: Goal
    packs: bool = False
    mixes: bool = True
    told: list = field(default_factory=list)
    kept: list = field(default_factory=list)
    done: dict = field(default_factory=dict)
    made: list = field(default_factory=list)

    def judge(self, name, model):
        del name
        batch, _ = self.learning.batch(np.arange(32))
        exact, made = (next(iter(Program(g)(batch).values())).numpy() for g in (self.reference, tflite.read(model)))
        lost = 100 * float(np.sqrt(np.square(made - exact).mean() / np.square(exact).mean()))
        return Loss(Measurement("error", lost, "%", lost - 0.01, lost + 0.01, "made up", 10_000))

    def time(self, model):
        return float(len(model))

    def remember(self, name, base, make):
        del base
        if name not in self.done:
            self.made.append(name)
            self.done[name] = make()
            return self.done[name], 0.0
        return self.done[name], 1.0

    def keep(self, model, about):
        del about
        self.kept.append(model)

    def tell(self, line):
        self.told.append(line)


def planned(target, graph=None):
    settings = Settings(target=target, ranges="minmax")
    graph = lower(graph or one_needs_eight_bits(), target, "int8")
    bound = samples().bind(input_specs(graph), None)

    def make(graph, precise=(), wide=()):
        return plan_of(graph, bound, settings, replace(settings.request(), wide_weights=wide), precise=precise).plan

    return Quantized(graph, graph, make(graph)), bound, make, settings.request()


def search(target="cpu", limit=1.2, seconds=300.0, graph=None, **changes):
    network, bound, make, request = planned(target, graph)
    context = Context(make, deadline=time.monotonic() + seconds)
    judge = Judge(bound, context, network.reference, Goal("drop", limit), packs=target == "mcu", **changes)
    return (*smallest(network, judge, request), judge)


@pytest.fixture
def untrained(monkeypatch):
    """These are about widths: what learns is left out."""

    def refuse(*_):
        raise UnsupportedError("not here")

    monkeypatch.setattr(FineTune, "apply", refuse)


def widths(candidate):
    network = candidate.network
    return [width_in(network.plan, one) for one in choosable(network.graph, network.plan).values()]


@pytest.mark.usefixtures("untrained")
def test_the_one_op_that_needs_eight_bits_keeps_them():
    tried, taken, said, _ = search()
    assert widths(taken) == [INT4, INT8, INT4]
    plain = tried[0]
    saved = (16 * 3 * 3 * 8 + 24 * 3 * 3 * 32) / 2
    assert plain.name == "as planned"
    assert plain.bytes - taken.bytes == pytest.approx(saved, abs=100)
    assert taken.loss.value <= 1.2
    narrower = [c for c in tried if widths(c) == [INT4, INT4, INT4]]
    assert all(c.loss.value > 1.2 for c in narrower)
    assert len(narrower) == 1
    assert taken.name == f"weights {saved:,.0f} bytes smaller"
    assert said.startswith(f"the smallest that met the limit: {taken.name}, {taken.bytes:,} bytes, ")
    held = {t.name: t.format.dtype for t in tflite.read(taken.model).constants() if t.format.dtype in {"int4", "int8"}}
    assert sorted(held.values()) == ["int4", "int4", "int8"]


@pytest.mark.usefixtures("untrained")
def test_an_interrupted_search_goes_on_from_what_it_had_tried():
    tried, taken, _, first = search("mcu", limit=2.5)
    again, same, _, second = search("mcu", limit=2.5, done=dict(list(first.done.items())[:3]))
    assert not set(second.made) & {c.name for c in tried[:3]}
    assert {c.name for c in tried[3:]} <= set(second.made)
    assert len(tried) > 3
    assert [c.name for c in again] == [c.name for c in tried]
    assert same.model == taken.model


@pytest.mark.usefixtures("untrained")
def test_what_is_at_hand_meanwhile_is_the_smallest_that_met_the_limit():
    tried, taken, _, judge = search(limit=2.1)
    sizes = [len(model) for model in judge.kept]
    assert sizes == sorted(sizes, reverse=True)
    met = [c for c in tried[:-1] if c.loss.value <= 2.1]
    assert sizes[-1] == min(len(c.model) for c in met) >= taken.bytes


@pytest.mark.usefixtures("untrained")
def test_a_wider_limit_makes_it_smaller_and_none_is_larger_than_plain():
    sizes = [search(limit=limit)[1].bytes for limit in (1.2, 2.1)]
    plain = search(limit=100.0)[0][0].bytes
    assert plain > sizes[0] > sizes[1]


@pytest.mark.usefixtures("untrained")
def test_microcontrollers_get_tables_of_few_numbers():
    tried, taken, _, _ = search("mcu")
    assert taken.packed
    assert taken.bytes == len(taken.packed) < min(len(taken.model), tried[0].bytes)
    found = widths(taken)
    assert any(width.clusters for width in found)
    assert found[1].bits > max(found[0].bits, found[2].bits)
    cpu = search("cpu")[1]
    assert taken.bytes < cpu.bytes


@pytest.mark.usefixtures("untrained")
def test_the_front_falls_from_the_smallest_on():
    tried, taken, _, _ = search("mcu", limit=2.5)
    ahead = sorted((c for c in tried if c.name in front(tried, timed=False)), key=lambda c: c.bytes)
    assert taken in ahead
    assert len(ahead) > 2
    assert all(a.score > b.score for a, b in pairwise(ahead))


def test_what_only_training_mends_is_trained(monkeypatch):
    """Training is made up here: it takes what was lost down to nothing, and is asked for once less is not met without."""

    def learned(_, network, *__):
        return replace(network, log=(*network.log, "trained"))

    def judged(self, name, model):
        measured = honest(self, name, model).measured
        lost = 0.1 if "finetune" in name else measured.value
        return Loss(replace(measured, value=lost, low=lost - 0.01, high=lost + 0.01))

    honest = Judge.judge
    monkeypatch.setattr(FineTune, "apply", learned)
    monkeypatch.setattr(Judge, "judge", judged)
    tried, taken, _, _ = search()
    assert widths(taken) == [INT4, INT4, INT4]
    assert taken.name.endswith("+ finetune")
    assert taken.network.log[-1] == "trained"
    assert taken.bytes < min(c.bytes for c in tried if "finetune" not in c.name and c.loss.value <= 1.2)


def test_what_was_learned_is_not_learned_anew_and_wider_weights_get_their_own_numbers_back(monkeypatch):
    """Training is made up: it sets what has tables to one number, so that what begins where can be told."""

    def learned(_, network, *__):
        begun.append(network)
        ops = choosable(network.graph, network.plan)
        narrow = [one.weight for one in ops.values() if width_in(network.plan, one) != INT8]
        data = {t.id: replace(t, data=np.full_like(t.data, 0.125 * len(begun))) for t in narrow}
        return replace(network, graph=replace(network.graph, tensors={**network.graph.tensors, **data}))

    begun = []
    monkeypatch.setattr(FineTune, "apply", learned)
    monkeypatch.setattr("intact.search.smallest._TRAINED_AWAY", 200.0)
    *_, judge = search("mcu", limit=1.2)
    first, second = begun[:2]
    wider = 0
    for one in choosable(first.graph, first.plan).values():
        before, now = (width_in(network.plan, one) for network in (first, second))
        held, own = (graph[one.weight.id].data for graph in (second.graph, judge.reference))
        if now.bits > before.bits:
            wider += 1
            assert np.array_equal(held, own)
        elif before != INT8:
            assert (held == 0.125).all()
    assert 0 < wider < 3


@pytest.mark.usefixtures("untrained")
def test_without_time_the_plain_network_is_taken_and_that_is_said():
    tried, taken, said, _ = search(seconds=-1.0)
    assert [c.name for c in tried] == ["as planned"]
    assert taken is tried[0]
    assert said == "nothing narrower than 8 bits was tried: time was up before any width was measured"


@pytest.mark.usefixtures("untrained")
def test_where_nothing_narrower_meets_the_limit_that_is_said():
    plain = search(limit=100.0, graph=all_fine())[0][0].loss.value
    tried, taken, said, _ = search(limit=1.0001 * plain, graph=all_fine())
    assert taken.name == "as planned"
    assert len(tried) > 1
    assert said == "nothing narrower than 8 bits met the limit"


def all_fine():
    """The network with fine weights alone."""
    graph = one_needs_eight_bits()
    draw = np.random.default_rng(5)
    tensors = {
        i: replace(t, data=(draw.choice([-1, 1], t.shape) * 2.0 ** draw.uniform(-6, 0, t.shape) * 0.3).astype(np.float32))
        if t.is_constant and len(t.shape) == 4
        else t
        for i, t in graph.tensors.items()
    }
    return replace(graph, tensors=tensors)


@pytest.mark.usefixtures("untrained")
def test_where_eight_bits_miss_the_limit_the_search_is_the_usual_one():
    tried, taken, said, _ = search(limit=1e-6)
    assert taken.loss.value == min(c.loss.value for c in tried)
    assert said == "no network of 8-bit weights met the limit, so that nothing narrower was looked for"
    assert not [c for c in tried if "smaller" in c.name]


@pytest.mark.usefixtures("untrained")
def test_networks_whose_biases_cannot_be_corrected_get_their_widths_all_the_same(monkeypatch):
    def refuse(*_):
        raise UnsupportedError("keeps a state")

    monkeypatch.setattr(BiasCorrection, "apply", refuse)
    tried, taken, _, judge = search()
    assert widths(taken) == [INT4, INT8, INT4]
    assert sum("left out, keeps a state" in line for line in judge.told) == 1
    assert len({c.name for c in tried}) == len(tried)


def test_noise_and_bytes_of_each_width_are_what_they_are():
    network, bound, make, request = planned("mcu")
    found = prices(network, request, bound, Context(make))
    coarse, fine, other = (found[output] for output in choosable(network.graph, network.plan))
    for each in (coarse, fine, other):
        by_width = {price.width: price for price in each}
        assert by_width[Width(clusters=1)].noise > by_width[Width(clusters=2)].noise > by_width[INT4].noise
    by_width = {price.width: price.bytes for price in fine}
    assert (by_width[INT8], by_width[INT4]) == (32 * 3 * 3 * 16, 16 * 3 * 3 * 16)
    indices, header_and_tables = 32 * 3 * 3 * 16 * 3 // 8, 16 + 32 * 8
    assert by_width[Width(clusters=3)] == indices + header_and_tables + 256
    assert min(price.bytes for price in coarse if price.width == INT8) < 16 * 3 * 3 * 8  # a table of its 15 numbers holds it
    int4 = [{p.width: p.noise for p in each}[INT4] for each in (coarse, fine, other)]
    assert int4[1] > 100 * max(int4[0], int4[2])
    assert {p.width for p in fine} <= set(widths_of(TARGETS["mcu"], "CONV_2D"))


def test_what_there_is_no_time_to_measure_is_told_from_what_was():
    """One measurement an op, then the deadline: the others follow from the weight's own error."""
    network, bound, make, request = planned("mcu")

    @dataclass(frozen=True)
    class Times(Context):
        def out_of_time(self):
            asked.append(1)
            return len(asked) > 3

    asked = []
    found = prices(network, request, bound, Times(make))
    asked.clear()
    exact = prices(network, request, bound, Context(make))
    assert found.keys() == exact.keys()
    output = list(found)[1]
    told, measured = ({p.width: p.noise for p in each[output]} for each in (found, exact))
    assert told.keys() == measured.keys()
    assert told[INT4] == measured[INT4]
    for width in (Width(clusters=3), Width(clusters=5)):
        assert told[width] == pytest.approx(measured[width], rel=0.5)
    asked[:] = [1] * 9
    assert prices(network, request, bound, Times(make)) == {}


def test_where_looking_for_tables_takes_too_long_the_smallest_weights_are_left_out(monkeypatch):
    network, bound, make, request = planned("mcu")
    clock = iter([0.0, 0.0, 1.0, 2.0, *[2.0] * 99])
    monkeypatch.setattr("intact.search.prices.time.monotonic", lambda: next(clock))
    found = prices(network, request, bound, Context(make, deadline=3.0))
    ops = choosable(network.graph, network.plan)
    assert list(found) == sorted(ops, key=lambda output: -ops[output].values.size)[:2]


def test_what_meets_the_limit_barely_is_followed_by_smaller_steps(monkeypatch):
    """Where little is lost a trained network is followed by one with 8 times the noise; just within, by one with 1.5 times."""

    def judged(self, name, model):
        measured = honest(self, name, model).measured
        value = lost[0] if "finetune" in name else measured.value
        return Loss(replace(measured, value=value, low=value - 0.01, high=value + 0.01))

    honest, lost, counts = Judge.judge, [0.0], []
    monkeypatch.setattr(FineTune, "apply", lambda _, network, *__: network)
    monkeypatch.setattr(Judge, "judge", judged)
    for lost[0] in (0.1, 1.1):
        tried, taken, _, _ = search("mcu")
        trained = [c.bytes for c in tried if "finetune" in c.name]
        assert trained == sorted(trained, reverse=True)
        assert taken.bytes == trained[-1]
        counts.append(len(trained))
    assert counts[0] < counts[1]


def test_targets_decode_what_files_can_be_packed_for():
    assert TARGETS["mcu"].decoded == DECODED
    assert widths_of(TARGETS["cpu"], "CONV_2D") == (INT8, INT4)
    assert widths_of(TARGETS["cpu"], "FULLY_CONNECTED") == (INT8, INT4, Width("int2"))
    assert widths_of(TARGETS["cpu"], "DEPTHWISE_CONV_2D") == (INT8,)
    assert INT4 not in widths_of(TARGETS["mcu"], "DEPTHWISE_CONV_2D")


# ---- from the outside ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("smallest")
    net, x = (
        one_needs_eight_bits(),
        next(iter(samples(600).bind(input_specs(one_needs_eight_bits()), None).batch(np.arange(600))[0].values())),
    )
    y = next(iter(Program(net)({"x0": x}).values())).numpy().argmax(-1)
    (path / "net.tflite").write_bytes(tflite.write(net))
    np.savez(path / "labelled.npz", x=x, y=y)
    return path


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("target", ["cpu", "mcu"])
def test_a_run_meets_the_limit_on_the_real_runtime_and_its_plan_makes_the_same_file(folder, target, monkeypatch):
    monkeypatch.setattr("intact.run.trial._TIMED_SECONDS", 0.1)
    out, again = folder / target, folder / f"{target} again"
    common = ("quantize", folder / "net.tflite", "--data", folder / "labelled.npz", "--target", target)
    ran = call(*common, "--minimize", "size", "--max-drop", "12", "--time-budget", "25s", "--out", out)
    assert ran.exit_code == 0, ran.stderr
    record, details = (json.loads((out / name).read_text()) for name in ("result.json", "details.json"))
    taken = next(c for c in record["candidates"] if c["name"] == record["taken"])
    file = "packed.tflite" if target == "mcu" else "model.tflite"
    assert taken["bytes"] == (out / file).stat().st_size < record["candidates"][0]["bytes"]
    assert record["verdict"]["loss"]["value"] <= 12
    assert record["taken"] in record["front"]
    assert "on the front of what was tried" in ran.stdout
    assert f"the smallest that met the limit: {record['taken']}" in ran.stdout
    assert "no other is better in one of loss and bytes" in (out / "result.md").read_text()
    assert not {"packed differs", "packed not run"} & {f["kind"] for f in record["findings"]} or target == "cpu"
    bits = [op["weight_bits"] for op in details["ops"] if op["weight_bits"] is not None]
    assert len(bits) == 3
    assert min(bits) < 8
    replayed = call(*common, "--plan", out / "plan.json", "--out", again)
    assert replayed.exit_code == 0, replayed.stderr
    for name in {"model.tflite", file}:
        assert (again / name).read_bytes() == (out / name).read_bytes()
    inspected = call("inspect", out / file)
    assert inspected.exit_code == 0, inspected.stderr
    page = call("report", out, "--out", out / "report.html")
    assert page.exit_code == 0, page.stderr
    assert "bits of a weight" in (out / "report.html").read_text()


def call(*args):
    return RUN.invoke(app, [str(a) for a in args])


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({}, "--minimize size needs a limit to stop at; type --max-drop 1 or, without labels, --min-agreement 99"),
        ({"max_drop": 1, "scheme": "w4a8"}, "--scheme w4a8 gives one to all; leave out --scheme"),
        ({"max_drop": 1, "scheme": "clusters4"}, "--scheme clusters4 gives one to all"),
        ({"max_drop": 1, "target": "openvino"}, "--target openvino runs none; type --target cpu or --target mcu"),
        ({"max_drop": 1, "target": "pytorch"}, "--target pytorch runs none"),
        ({"remedies": ("bias",)}, "leave out --remedies"),
        ({"max_drop": 1, "minimize": "latency"}, "--minimize latency is not known; type --minimize size"),
        ({"accept": ("size >= 4x",)}, "needs a limit to stop at"),
    ],
)
def test_what_cannot_be_minimized_is_refused_in_words(typed, said):
    with pytest.raises(OptionError) as error:
        Settings(**({"minimize": "size"} | typed))
    assert said in str(error.value)


def test_criteria_give_the_limit_too():
    goal = Settings(minimize="size", accept=("drop <= 1", "size >= 4x")).goal
    assert goal == Goal("drop", 1.0, by_estimate=True)
    assert Settings(minimize="size", min_agreement=98).goal == Goal("disagreement", 2.0, by_estimate=True)
    with pytest.raises(OptionError, match="leave out --remedies, --max-drop, --min-agreement and --minimize"):
        Settings(minimize="size", max_drop=1).replaying("int8", "cpu")


def test_an_accuracy_that_float_does_not_have_leaves_nothing_to_minimize():
    net, x = mobile(seed=2), images(160, 1)
    y = np.arange(160) % 4
    with pytest.raises(OptionError, match="which leaves nothing to lose; type a lower limit"):
        intact.quantize(net, intact.data.arrays(x, y), minimize="size", accept="accuracy >= 99 %")

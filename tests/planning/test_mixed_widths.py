"""int8 networks with some activations at 16 bits: what the runtimes compute, and that it helps where it is asked for."""

import numpy as np
import pytest
import run_files
from nets import NETS, images, mobile
from remedy_nets import SIDE, chain, rescaled_channels

import intact
from intact.formats import tflite
from intact.measure.measurement import Measurement
from intact.numbers.affine import Affine, dequantize_array, quantize_array
from intact.planning.integer_graph import emit
from intact.planning.mixed_widths import wide_ops
from intact.planning.plan import Plan
from intact.planning.planner import make_plan, mixed_plan
from intact.planning.targets import TARGETS
from intact.remedies.finetune import FineTune
from intact.remedies.rounding import LearnedRounding
from intact.rewrite.lowerings import lower
from intact.run.settings import Settings
from intact.search.goal import Goal
from intact.simulate.calibrate import observe
from intact.simulate.engine import Program
from intact.simulate.noise import without_softmax

RUNTIMES = ["default", "reference", "tflm"]


def mixed(graph, outputs, **options):
    """The plan of ``graph`` for microcontrollers with ``outputs`` at 16 bits."""
    x = images(64, 5, graph[graph.inputs[0]].shape[1])
    seen = observe(graph, lambda: [{graph.input_names[0]: x}])
    request = Settings(target="mcu", **options).request()
    return mixed_plan(graph, {i: o.extremes for i, o in seen.items()}, request, outputs)


def activations(graph):
    return [op.output for op in graph.ops if graph[op.output].is_float]


def dtypes(integer):
    return {t.format.dtype for t in integer.tensors.values() if isinstance(t.format, Affine) and t.data is None}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", NETS)
def test_any_one_activation_at_16_bits_runs_as_simulated(name, runtime, tmp_path):
    if runtime == "tflm":
        pytest.importorskip("tflite_micro", reason="no microcontroller runtime; type: pip install tflite-micro")
    net = lower(NETS[name](), "mcu", "int8")
    integers = [emit(net, mixed(net, outputs)) for outputs in ([], *([i] for i in activations(net)))]
    assert sum("int16" in dtypes(integer) for integer in integers) >= len(integers) // 2
    x = images(1, seed=3)
    source = integers[0][integers[0].inputs[0]].format
    files = [tflite.write(integer) for integer in integers]
    results = run_files.outputs(files, [[quantize_array(x, source)]] * len(files), tmp_path, runtime)
    assert not [r for r in results if isinstance(r, str)]
    gaps = []
    for integer, result in zip(integers, results, strict=True):
        out = integer[integer.outputs[0]].format
        expected = next(iter(Program(integer)({integer.input_names[0]: x}).values())).detach().numpy()
        gaps.append(np.abs(dequantize_array(result[0], out) - expected).max() / out.scale[0])
    # steps of single ops add up over a network; those of 16 bits add nothing to what 8 bits have
    assert max(gaps) <= gaps[0] + 2


def test_all_activations_at_16_bits_are_the_int16_network_inside():
    net = lower(mobile(seed=2), "mcu", "int8")
    plan = mixed(net, activations(net))
    assert {plan.own(i).dtype for i in activations(net)} == {"int16"}
    assert plan.outside(net.outputs[0]).dtype == plan.own(net.inputs[0]).dtype == "int8"
    assert Plan.from_json(plan.to_json()).to_json() == plan.to_json()


def test_nothing_asked_for_is_the_int8_plan():
    net = lower(mobile(seed=2), "mcu", "int8")
    x = images(64, 5)
    ranges = {i: o.extremes for i, o in observe(net, lambda: [{net.input_names[0]: x}]).items()}
    assert mixed(net, []).to_json() == make_plan(net, ranges, Settings(target="mcu").request()).to_json()


def test_an_activation_takes_along_its_readers_and_what_only_moves_numbers():
    net = mobile()
    target = TARGETS["mcu"]
    assert wide_ops(net, target, [3]) == {3, 6, 7}  # the convolution, and the depthwise convolution and ADD that read it
    assert wide_ops(net, target, [12]) == {12, 13}
    assert wide_ops(net, target, [0]) == set()  # a graph input is the caller's


def test_the_op_that_makes_the_noise_makes_less_at_16_bits():
    """One channel of the first convolution 300 times as large as the others, which the next layer takes back."""
    factors = np.where(np.arange(8) == 0, 300.0, 1.0).astype(np.float32)
    hard = lower(rescaled_channels(chain(), factors), "mcu", "int8")
    x, noise = images(64, 5, SIDE), {}
    for outputs in ((), (3,)):
        graphs = (hard, emit(hard, mixed(hard, outputs)))
        exact, made = (next(iter(Program(without_softmax(g))({g.input_names[0]: x}).values())).detach() for g in graphs)
        noise[outputs] = float((exact - made).square().mean())
    assert noise[(3,)] < noise[()] / 20


def test_the_remedy_widens_ops_of_a_microcontroller_and_says_so():
    net, x = mobile(seed=2), images(160, 1)
    result = intact.quantize(net, intact.data.arrays(x), target="mcu", remedies=["mixed"], measure=False)
    assert "int16" in dtypes(result.graph)
    assert {t.format.dtype for t in result.graph.tensors.values() if t.is_float} == set()


def test_the_search_for_a_microcontroller_widens_ops(monkeypatch):
    """The losses are made up: only candidates with ops at 16 bits lose little."""
    monkeypatch.setattr("intact.run.trial._TIMED_SECONDS", 0.1)
    monkeypatch.setattr(FineTune, "apply", lambda _self, network, *_: network)
    monkeypatch.setattr(LearnedRounding, "apply", lambda _self, network, *_: network)
    judged = []

    def loss(*_):
        judged.append(1)
        return Measurement("disagreement with float", 0.5 if len(judged) > 8 else 9.0, "%", 0.0, 10.0, "made up", 80)

    monkeypatch.setattr(Goal, "loss", loss)
    net, x = mobile(seed=2), images(160, 1)
    result = intact.quantize(net, intact.data.arrays(x), target="mcu", min_agreement=99, measure=False)
    assert result.candidates[-1].name.endswith("at 16 bits")
    assert "int16" in dtypes(result.graph)

"""Remedies that learn from samples: each does what its paper says, survives interruption, and says what it did."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from compare import assert_same
from nets import mobile
from remedy_nets import chain, float_outputs, mean_of_logits, noise, planned

import intact
from intact.data import input_specs
from intact.errors import OptionError, ResourceError
from intact.formats import tflite
from intact.numbers.affine import Affine, affine_from_range, dequantize_array, fake_quantize, quantize_array
from intact.ops.activation import Softmax
from intact.ops.convolution import Conv2D
from intact.planning.plan import Entry
from intact.planning.quantized import Quantized
from intact.planning.steps import stored_as_integers
from intact.remedies import apply, known
from intact.remedies.absorb import Absorb
from intact.remedies.bias import BiasCorrection
from intact.remedies.bias_analytic import AnalyticBiasCorrection
from intact.remedies.clip import Clip
from intact.remedies.clock import Clock
from intact.remedies.finetune import FineTune, _Run
from intact.remedies.mixed import MixedPrecision
from intact.remedies.ranges import RangeRefinement
from intact.remedies.rounding import LearnedRounding, blocks
from intact.simulate.engine import Program, device_named
from intact.simulate.noise import before_softmax, sensitivities, weight_share, without_softmax


def bytes_of(network):
    return tflite.write(network.integer())


def teacher_labels(network, samples):
    return float_outputs(network.reference, samples).argmax(-1)


# ---- learned rounding -----------------------------------------------------------------------------------------------------


def test_learned_weights_lie_on_their_grid_next_to_where_they_were():
    network, samples, context = planned(scheme="w4a8")
    learned = LearnedRounding(steps=150, layers=1).apply(network, samples, context)
    changed = 0
    for op, w in ((one.op, one.weight.id) for one in stored_as_integers(network.graph, network.plan)):
        fmt, before, after = network.plan.at(w, op.output), network.graph[w].data, learned.graph[w].data
        if learned.graph[w].data is network.graph[w].data:
            continue  # rounding to the nearest was no worse there
        assert_same(dequantize_array(quantize_array(after, fmt), fmt), after, atol=1e-6)
        step = np.asarray(fmt.scale).reshape([-1 if axis == fmt.axis else 1 for axis in range(before.ndim)])
        inside = np.abs(before) <= step * (7 if fmt.dtype == "int4" else 127)
        assert (np.abs(after - before) <= step * (1 + 1e-5))[inside].all()
        changed += int((quantize_array(after, fmt) != quantize_array(before, fmt)).sum())
    assert changed > 0


def test_learned_rounding_beats_nearest_and_repeats_itself():
    network, samples, context = planned(scheme="w4a8", weights="per-tensor")
    learned = LearnedRounding(steps=150).apply(network, samples, context)
    assert noise(learned, samples) < 0.7 * noise(network, samples)
    assert bytes_of(LearnedRounding(steps=150).apply(network, samples, context)) == bytes_of(learned)


def test_without_time_weights_round_to_the_nearest():
    network, samples, context = planned(scheme="w4a8")
    late = LearnedRounding().apply(network, samples, replace(context, deadline=0.0))
    assert bytes_of(late) == bytes_of(network)


def test_where_time_is_short_every_block_takes_fewer_steps(monkeypatch):
    """A clock that leaves time for 60 steps of each block, and remembers which part of the time left each was given."""
    network, samples, context = planned(scheme="w4a8", weights="per-tensor")
    ends = []

    class Short(Clock):
        def steps_that_fit(self, step):
            if step == 1:
                ends.append((self.deadline - self.before) / (deadline - self.before))
            return 60

    deadline = time.monotonic() + 600
    monkeypatch.setattr("intact.remedies.rounding.Clock", Short)
    steps = []
    context = replace(context, deadline=deadline, progress=lambda _what, done, total: steps.append(done / total))
    learned = LearnedRounding(layers=1).apply(network, samples, context)
    assert 0.5 * noise(network, samples) < noise(learned, samples) < noise(network, samples)
    assert len(steps) == 60 * len(ends)
    assert steps == sorted(steps)
    assert 0.2 < ends[0] < 0.5
    assert ends[1] < 0.999
    assert ends[-1] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("most", [1, 2, 3, 99])
def test_blocks_cover_every_op_once_and_hand_on_what_is_read_later(most):
    graph = mobile()
    weighted = {op.output for op in graph.ops if op.kind.weight is not None}
    found = blocks(graph, weighted, most)
    assert [op for block in found for op in block.ops] == list(graph.ops)
    known_ids = set(graph.inputs)
    for block in found:
        assert sum(op.output in weighted for op in block.ops) <= most
        assert set(block.inputs) <= known_ids
        known_ids |= set(block.outputs)
    assert set(graph.outputs) <= known_ids
    assert len(found) == {1: 3, 2: 2, 3: 1, 99: 1}[most]


def test_blocks_end_where_few_tensors_cross():
    """The first two convolutions stay together: between them the residual crosses too."""
    graph = mobile()
    weighted = {op.output for op in graph.ops if op.kind.weight is not None}
    assert [len(block.ops) for block in blocks(graph, weighted, 2)] == [4, 2]


# ---- ranges ---------------------------------------------------------------------------------------------------------------


def test_a_range_that_is_too_wide_shrinks():
    network, samples, context = planned()
    fmt = network.plan.own(6)
    wide = Affine((fmt.scale[0] * 64,), fmt.zero_point, fmt.dtype)
    entries = network.plan.tensors | {6: Entry(wide, "too wide", wide.range)}
    spoilt = replace(network, plan=replace(network.plan, tensors=entries))
    refined = RangeRefinement().apply(spoilt, samples, context)
    assert refined.plan.own(6).scale[0] < wide.scale[0] / 4
    assert noise(refined, samples) < noise(spoilt, samples) / 4
    assert "error of the output" in refined.log[-1]


def test_refined_ranges_never_lose_on_the_samples_they_saw():
    network, samples, context = planned(weights="per-tensor")
    refined = RangeRefinement().apply(network, samples, context)
    assert divergence(refined, samples) <= divergence(network, samples)


def test_only_a_softmax_of_beta_1_gives_way_to_what_it_reads():
    graph = mobile()
    *ops, softmax = graph.ops
    sharp = replace(graph, ops=(*ops, replace(softmax, kind=Softmax(beta=0.5))))
    assert before_softmax(graph, softmax.output) == softmax.inputs[0]
    assert before_softmax(sharp, softmax.output) == softmax.output


def divergence(network, samples):
    """KL from the float network's classes to the integer network's, simulated, before the softmax is rounded."""
    q, p = (
        torch.log_softmax(torch.from_numpy(float_outputs(without_softmax(g), samples)).double(), -1)
        for g in (network.integer(), network.reference)
    )
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.mark.parametrize("times", [1, 2, 4])
def test_clipping_gives_an_outlier_up_for_finer_steps(times):
    """Whatever the range was, rounding and clipping cost no tensor more than before."""
    network, samples, context = planned()
    fmt = network.plan.own(6)
    wide = affine_from_range(times * fmt.range[0], times * fmt.range[1])
    entries = network.plan.tensors | {6: Entry(wide, "an outlier", wide.range)}
    spoilt = replace(network, plan=replace(network.plan, tensors=entries))
    clipped = Clip().apply(spoilt, samples, context)
    values = {}
    Program(network.graph)(samples.batch(np.arange(96))[0], lambda t, y: values.update({t.id: y}))
    for i in (3, 6, 7):
        before, after = (
            float((fake_quantize(values[i], n.plan.own(i)) - values[i]).square().mean()) for n in (spoilt, clipped)
        )
        assert after <= 1.02 * before
    assert clipped.plan.own(6).scale[0] < 1.01 * fmt.scale[0]
    for i in (*network.graph.inputs, *network.graph.outputs):
        assert clipped.plan.own(i) == network.plan.own(i)
    assert "drew in" in clipped.log[-1]
    tflite.write(clipped.integer())


def test_no_range_is_clipped_to_less_than_a_quarter():
    network, samples, context = planned()
    fmt = network.plan.own(6)
    wide = affine_from_range(64 * fmt.range[0], 64 * fmt.range[1])
    entries = network.plan.tensors | {6: Entry(wide, "an outlier", wide.range)}
    clipped = Clip().apply(replace(network, plan=replace(network.plan, tensors=entries)), samples, context)
    assert clipped.plan.own(6).scale[0] == pytest.approx(wide.scale[0] / 4, rel=0.02)


def test_no_op_is_kept_by_a_ranking_that_time_cut_short():
    network, samples, context = planned(scheme="w4a8")
    late = MixedPrecision().apply(network, samples, replace(context, deadline=0.0))
    assert late.plan is network.plan
    assert "no time" in late.log[-1]


# ---- mixed precision ------------------------------------------------------------------------------------------------------


def test_the_ops_that_make_most_of_the_noise_stay_in_float():
    network, samples, context = planned(scheme="w4a8")
    rows = sensitivities(network, samples)
    mixed = MixedPrecision(share=0.5).apply(network, samples, context)
    kept = [op.output for op in network.graph.ops if not isinstance(mixed.plan.own(op.output), Affine)]
    assert rows[0].output in kept
    assert len(kept) < len(network.graph.ops)
    assert noise(mixed, samples) < noise(network, samples)


def test_clipping_begins_with_the_extremes_and_keeps_what_was_kept_precise():
    network, samples, context = planned(scheme="w4a8")
    asked = []

    def by_extremes(graph, precise, wide):
        asked.append((precise, wide))
        return context.make_plan(graph, precise, wide)

    first, last = network.graph.ops[0].output, network.graph.ops[-2].output
    mixed = MixedPrecision((first,), (last,)).apply(network, samples, context)
    found = Quantized.from_arrays(network, mixed.to_arrays())
    clipped = Clip().apply(found, samples, replace(context, by_extremes=by_extremes))
    assert asked == [((first,), (last,))]
    assert not isinstance(clipped.plan.own(first), Affine)
    assert isinstance(network.plan.own(first), Affine)


def test_the_noise_of_weights_and_of_activations_is_told_apart():
    four, samples, _ = planned(scheme="w4a8", weights="per-tensor")
    eight, _, _ = planned()
    assert weight_share(four, samples) > 0.9 > weight_share(eight, samples)


# ---- biases ---------------------------------------------------------------------------------------------------------------


def test_the_analytic_correction_takes_back_what_rounded_weights_add():
    """One layer, so nothing but its weights shifts its mean: corrected, the rest is the rounding of the output itself."""
    network, samples, context = planned(
        scheme="w4a8", weights="per-tensor", keep_float=("DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    )
    better = AnalyticBiasCorrection().apply(network, samples, context)
    assert better.log[-1].startswith("corrected 1 biases")
    weight, bias = (network.graph[i] for i in network.graph.ops[0].inputs[1:3])
    fmt = network.plan.at(weight.id, 3)
    error = dequantize_array(np.maximum(quantize_array(weight.data, fmt), -7), fmt) - weight.data
    batch, _ = samples.batch(np.arange(len(samples)))
    x = torch.as_tensor(batch["image"])
    shift = Conv2D(padding="same").compute(x, torch.from_numpy(error), None).reshape(-1, 8).double().mean(0).numpy()
    assert np.abs(shift).max() > 5e-4
    assert_same(better.graph[bias.id].data, (bias.data - shift).astype(np.float32), atol=1e-5)


def test_the_analytic_correction_lowers_the_mean_shift_but_less_than_the_empirical_one():
    network, samples, context = planned(scheme="w4a8")
    batch, _ = samples.batch(np.arange(len(samples)))
    exact = mean_of_logits(network.graph, batch)
    plain, analytic, empirical = (
        np.abs(mean_of_logits(q.integer(), batch) - exact).max()
        for q in (
            network,
            AnalyticBiasCorrection().apply(network, samples, context),
            BiasCorrection().apply(network, samples, context),
        )
    )
    assert empirical < analytic < plain


def pointwise_chain(bias):
    """``chain`` with a 1x1 depthwise convolution after the first, whose bias of ``bias`` keeps its channels above 0."""
    net = chain()
    w, dw = net[1].data.copy(), net[4].data[:, 1:2, 1:2, :].copy()
    b = np.full_like(net[2].data, bias)
    tensors = {**net.tensors, 1: replace(net[1], data=0.1 * w), 2: replace(net[2], data=b)}
    tensors[4] = replace(net[4], data=dw, shape=dw.shape)
    return replace(net, tensors=tensors)


def test_what_a_channel_never_falls_below_is_absorbed():
    network, samples, context = planned(pointwise_chain(9.0))
    absorbed = Absorb().apply(network, samples, context)
    assert absorbed.log[-1].startswith("absorbed the least value of 8 channels of 1 layers")
    assert_same(float_outputs(absorbed.graph, samples), float_outputs(network.graph, samples), atol=1e-5)
    assert absorbed.plan.own(3).scale[0] < 0.7 * network.plan.own(3).scale[0]


@pytest.mark.parametrize("graph", [pointwise_chain(-0.5), chain()])
def test_nothing_is_absorbed_below_zero_or_beside_padding(graph):
    network, samples, context = planned(graph)
    same = Absorb().apply(network, samples, context)
    assert same.log[-1] == "absorbed nothing: no channel stays above 0 on the samples"
    assert bytes_of(same) == bytes_of(network)


# ---- fine-tuning ----------------------------------------------------------------------------------------------------------


def labelled(network, samples, labels):
    x, _ = samples.batch(np.arange(len(samples)))
    return intact.data.arrays(x["image"], labels).bind(input_specs(network.graph), 4)


def test_labels_are_learned_from_where_the_float_network_gets_them_right():
    network, samples, context = planned(scheme="w4a8")
    right = teacher_labels(network, samples)
    with_labels = FineTune(epochs=1).apply(network, labelled(network, samples, right), context)
    assert "samples and their labels" in with_labels.log[-1]
    wrong = FineTune(epochs=1).apply(network, labelled(network, samples, (right + 1) % 4), context)
    without = FineTune(epochs=1).apply(network, samples, context)
    assert "labels" not in wrong.log[-1]
    assert bytes_of(wrong) == bytes_of(without) != bytes_of(with_labels)


@pytest.mark.parametrize("scheme", ["w4a8", "int8", "int16x8"])
@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
def test_gradients_in_parts_are_those_of_the_whole_batch(scheme, weights):
    """Weights rounded once and parts summed up: as if all of it were one pass."""
    network, samples, context = planned(scheme=scheme, weights=weights)
    run = _Run(FineTune(batch=48), network, samples, context)
    run._moves = dict
    draw = torch.Generator().manual_seed(0)
    for p in run.student.parameters():
        p.data += 0.05 * torch.randn(p.shape, generator=draw)
    index = run.learning[:48]
    assert run._gradients(index)
    in_parts = {name: p.grad for name, p in run.student.named_parameters()}
    run.student.zero_grad(set_to_none=True)
    run.most_at_once = 48
    (whole,) = run._parts(index, augment=False)
    run.loss(run._read(whole)).backward()
    compared = 0
    for name, p in run.student.named_parameters():
        assert (p.grad is None) == (in_parts[name] is None)
        if p.grad is not None:
            compared += 1
            assert_same(in_parts[name].numpy(), p.grad.numpy(), atol=1e-3 * float(p.grad.abs().max()) + 1e-7)
    assert compared > 10


def test_an_interrupted_fine_tune_goes_on_to_the_same_end(tmp_path):
    network, samples, context = planned(scheme="w4a8")
    how = FineTune(epochs=4, batch=16)
    whole = how.apply(network, samples, context)
    steps, kept = [], []

    def stop(_name, done, _total):
        steps.append(done)
        if done == 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        how.apply(network, samples, replace(context, folder=tmp_path, progress=stop, keep=kept.append))
    assert noise(kept[-1], samples) < noise(network, samples)
    del steps[:]
    resumed = how.apply(
        network, samples, replace(context, folder=tmp_path, progress=lambda _name, done, _total: steps.append(done))
    )
    assert steps[0] == 12  # six steps an epoch: two whole epochs were kept
    assert bytes_of(resumed) == bytes_of(whole)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", None])
def test_a_state_that_is_damaged_or_of_another_network_is_not_taken(tmp_path, damage):
    network, samples, context = planned(scheme="w4a8")
    how = FineTune(epochs=2, batch=32)
    whole = how.apply(network, samples, context)
    if damage is None:
        how.apply(*planned(scheme="w4a8", weights="per-tensor")[:2], replace(context, folder=tmp_path))
    else:
        (tmp_path / "finetune.pt").write_bytes(damage)
    assert bytes_of(how.apply(network, samples, replace(context, folder=tmp_path))) == bytes_of(whole)


def test_when_memory_runs_out_batches_get_smaller(monkeypatch):
    network, samples, context = planned(scheme="w4a8")
    real, sizes = FineTune(epochs=1, batch=32), []
    run = __import__("intact.remedies.finetune", fromlist=["_Run"])._Run
    loss = run.loss

    def limited(self, part, given):
        sizes.append(part.count)
        if torch.is_grad_enabled() and part.count > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return loss(self, part, given)

    monkeypatch.setattr(run, "loss", limited)
    done = real.apply(network, samples, context)
    assert "fine-tuned for 1 epochs" in done.log[-1]
    assert {8, 4, 2} <= set(sizes)


def test_memory_for_not_even_one_sample_is_an_error_that_says_what_to_do(monkeypatch):
    network, samples, context = planned(scheme="w4a8")
    run = __import__("intact.remedies.finetune", fromlist=["_Run"])._Run
    loss = run.loss

    def never(self, part, given):
        if torch.is_grad_enabled():
            raise torch.OutOfMemoryError("out of memory")
        return loss(self, part, given)

    monkeypatch.setattr(run, "loss", never)
    with pytest.raises(ResourceError, match="leave finetune out of --remedies"):
        FineTune(epochs=1).apply(network, samples, context)


def test_an_epoch_that_is_worse_goes_back_and_slows_down():
    network, samples, context = planned(scheme="w4a8")
    fast = FineTune(epochs=6, batch=16, rate=30.0, patience=3).apply(network, samples, context)
    assert "stopped after 3 epochs that were no better" in fast.log[-1]
    assert noise(fast, samples) <= noise(network, samples) * (1 + 1e-6)


def test_the_clock_counts_the_steps_that_fit(monkeypatch):
    now = iter(range(0, 1000, 2))
    monkeypatch.setattr("intact.remedies.clock.time.monotonic", lambda: float(next(now)))
    clock = Clock(deadline=112.0)
    counts = [clock.steps_that_fit(step) for step in range(1, 8)]
    assert counts[0] > 10**9  # not known yet
    assert counts[5] == 6 + int(0.85 * 100 / 2)  # at 12 s, 2 s a step


# ---- devices ------------------------------------------------------------------------------------------------------------


def test_devices():
    assert device_named("cpu") == "cpu"
    assert device_named("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(OptionError, match="--device with one of: auto, cpu, cuda"):
        device_named("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_a_gpu_that_is_not_there_is_said():
    with pytest.raises(OptionError, match="type --device cpu"):
        device_named("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["equalize", "ranges", "round", "bias", "finetune", "mixed"])
def test_remedies_learn_the_same_on_a_gpu(name):
    network, samples, context = planned(scheme="w4a8")
    here, there = (apply(known([name]), network, samples, replace(context, device=d)) for d in ("cpu", "cuda"))
    assert noise(there, samples) == pytest.approx(noise(here, samples), rel=0.5, abs=1e-6)

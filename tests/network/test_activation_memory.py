"""What the activations of a network take: worked numbers, plans that never overlap, and the real models'."""

import itertools

import numpy as np
import pytest
import small_graphs

from intact.formats import tflite
from intact.network import arena
from intact.numbers.affine import Affine


@pytest.mark.parametrize(("fmt", "item"), [(None, 4), (Affine((0.1,), (0,)), 1), (Affine((0.1,), (0,), "int16"), 2)])
def test_a_residual_block_holds_three_tensors(fmt, item):
    """x waits for the ADD while b is made from a."""
    found = arena.activation_memory(small_graphs.residual(fmt, size=8, channels=4))
    assert found.live_bytes == 3 * 8 * 8 * 4 * item
    assert found.at == "CONV_2D 'b'"
    assert found.arena_bytes == found.live_bytes


@pytest.mark.parametrize("seed", range(30))
def test_plans_never_overlap_and_are_aligned(seed):
    rng = np.random.default_rng(seed)
    buffers = []
    for i in range(25):
        first = int(rng.integers(0, 20))
        buffers.append(arena.Buffer(i, int(rng.integers(1, 5000)), first, first + int(rng.integers(0, 6))))
    offsets, size = arena.plan(tuple(buffers))
    for a, b in itertools.combinations(buffers, 2):
        apart = offsets[a.tensor] + a.bytes <= offsets[b.tensor] or offsets[b.tensor] + b.bytes <= offsets[a.tensor]
        assert apart or a.first > b.last or b.first > a.last
    assert all(offset % 16 == 0 for offset in offsets.values())
    live = max(sum(b.bytes for b in buffers if b.first <= n <= b.last) for n in range(30))
    assert live <= size == max(offsets[b.tensor] + b.bytes for b in buffers)


@pytest.mark.parametrize(
    ("name", "needed"), [("resnet8_cifar10", 55_984), ("vww_96", 103_680), ("kws", 24_272), ("ad01", 4_640)]
)
def test_activations_fit_what_a_microcontrollers_runtime_was_found_to_need(shared, name, needed):
    """The arenas (found by bisection) also hold the runtime's own tables, and nothing less than the activations."""
    found = arena.activation_memory(tflite.read(shared / "models" / f"{name}_int8.tflite"))
    assert found.live_bytes <= found.arena_bytes < needed


@pytest.mark.parametrize(
    ("integer", "floating", "peak"),
    [
        ("resnet8_cifar10_int8", "resnet8_cifar10", 3 * 16_384),
        ("vww_96_int8", "vww_96_float", 18_432 + 36_864),
        ("kws_int8", "kws_float", 2 * 8_000),
    ],
)
def test_peaks_of_real_models_by_hand(shared, integer, floating, peak):
    """ResNet8: three 32x32x16 tensors; VWW: 48x48x8 into 48x48x16; keyword spotting: 25x5x64 into the same."""
    found = [arena.activation_memory(tflite.read(shared / "models" / f"{n}.tflite")).live_bytes for n in (integer, floating)]
    assert found == [peak, 4 * peak]

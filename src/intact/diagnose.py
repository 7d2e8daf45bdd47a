"""Where the loss comes from, in words: per-op noise, wasted ranges, dead channels, and preprocessing that cannot be right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch

from intact.chance import contradiction
from intact.data import Samples
from intact.graph import Graph, Tensor
from intact.ops.base import Free
from intact.quantized import Quantized
from intact.sensitivity import Sensitivity, sensitivities
from intact.simulate import Batch, Program, map_batches

#: The largest channel of a tensor against its median channel, from which the others have less than 3 of 8 bits.
_UNEVEN: Final = 32.0
#: The range of a tensor against that of all samples but the most extreme hundredth.
_OUTLYING: Final = 4.0
#: The part of a tensor's channels that may always be zero before it is worth a word.
_DEAD: Final = 0.1
#: Symptoms that are told, the worst first.
_MOST: Final = 10
_SAMPLES: Final = 64
_BATCH: Final = 32


@final
@dataclass(frozen=True)
class Symptom:
    """What was found at a tensor, and what to do about it."""

    where: str
    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.advice}"


@final
@dataclass(frozen=True)
class Diagnosis:
    """The ops in the order of the noise that they make, and everything that looks wrong."""

    ops: tuple[Sensitivity, ...]
    symptoms: tuple[Symptom, ...]

    def to_json(self) -> dict[str, Any]:
        return {"ops": [vars(op) for op in self.ops], "symptoms": [vars(symptom) for symptom in self.symptoms]}


def diagnose(network: Quantized, samples: Samples, progress: Callable[[str, int, int], None] | None = None) -> Diagnosis:
    """The diagnosis of a planned network on samples; the simulator's, for it needs every op alone."""
    index = np.arange(min(_SAMPLES, len(samples)))
    batch, _ = samples.batch(index)
    ops = sensitivities(network, [batch], progress=progress, both_ways=True)
    # With wrong preprocessing every range is wrong too: one advice at a time.
    return Diagnosis(ops, _preprocessing(network, samples) or _ranges(network, samples))


def _ranges(network: Quantized, samples: Samples) -> tuple[Symptom, ...]:
    """Tensors whose range a few channels or a few samples take up, and channels that are always zero."""
    graph = network.graph
    highest, extremes = _magnitudes(graph, samples)
    found: list[tuple[float, Symptom]] = []
    for i, channels in highest.items():
        if not isinstance(graph.producers()[i].kind.range_rule, Free):
            continue  # what only moves numbers repeats its input's symptoms, and fixed scales fit their outputs
        where = graph.label(graph.producers()[i])
        alive = channels[channels > 0]
        dead = len(channels) - len(alive)
        if dead > _DEAD * len(channels) and len(channels) > 1:
            what = f"{dead} of {len(channels)} channels are always 0"
            found.append((dead / len(channels), Symptom(where, what, "they can be cut from the model")))
        if len(alive) > 1 and alive.max() > _UNEVEN * np.median(alive):
            worst, factor = int(channels.argmax()), alive.max() / np.median(alive)
            what = f"channel {worst} is {factor:.0f} times as large as the median channel, and all share one scale"
            found.append((factor, Symptom(where, what, "--remedies equalize, or look for a broken batch norm there")))
        usual = np.quantile(extremes[i], 0.99)
        if len(extremes[i]) >= 100 and usual > 0 and extremes[i].max() > _OUTLYING * usual:
            what = f"one sample in a hundred reaches {extremes[i].max() / usual:.1f} times the range of the others"
            found.append(
                (extremes[i].max() / usual, Symptom(where, what, "--ranges percentile or mse, or look at that sample"))
            )
    return tuple(symptom for _, symptom in sorted(found, key=lambda pair: -pair[0])[:_MOST])


def _magnitudes(graph: Graph, samples: Samples) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """The largest magnitude of each channel, [c], and of each sample, [n], of every activation that an op makes."""
    program, made = Program(graph), {op.output for op in graph.ops}

    def look(batch: Batch) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        channels: dict[int, np.ndarray] = {}
        rows: dict[int, np.ndarray] = {}

        def note(tensor: Tensor, y: torch.Tensor) -> None:
            if tensor.id in made and y.dim() > 1:
                size = y.abs()
                channels[tensor.id] = size.reshape(-1, y.shape[-1]).amax(0).numpy()
                rows[tensor.id] = size.reshape(len(y), -1).amax(1).numpy()

        program(batch, note)
        return channels, rows

    parts = list(map_batches(look, (batch for batch, _ in samples.batches(_BATCH))))
    ids = parts[0][0]
    return {i: np.max([c[i] for c, _ in parts], axis=0) for i in ids}, {
        i: np.concatenate([r[i] for _, r in parts]) for i in ids
    }


def _preprocessing(network: Quantized, samples: Samples) -> tuple[Symptom, ...]:
    found = contradiction(network.reference, samples)
    return () if found is None else (Symptom("input", found.what, found.advice),)

"""Finds the cheapest network that meets a limit: a ladder from cheap to dear, judged on the real runtime."""

from __future__ import annotations

import glob
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, final

import numpy as np

from intact.data import Samples
from intact.errors import OptionError
from intact.formats import tflite
from intact.measure import accuracy
from intact.measure.measurement import Measurement
from intact.quantized import Quantized
from intact.remedies import apply
from intact.remedies.base import Context
from intact.sensitivity import sensitivities

#: Ops kept in float, from one rung to the next.
_KEPT: Final = (1, 2, 4, 8)
_SENSITIVITY_SAMPLES: Final = 64


@final
@dataclass(frozen=True)
class Goal:
    """At most ``limit`` points of accuracy lost (``drop``), or per cent of samples with another class (``disagreement``)."""

    kind: Literal["drop", "disagreement"]
    limit: float

    def loss(self, float_outputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray], samples: Samples) -> Measurement:
        """How much is lost, with its interval."""
        name = next(iter(float_outputs))
        a, b = float_outputs[name], outputs[name]
        cut = accuracy.threshold(a)
        if self.kind == "disagreement":
            differ = accuracy.classes(a, cut) != accuracy.classes(b, cut)
            return accuracy.share(np.asarray(differ), "disagreement with float", "share of samples with another class")
        if samples.labels is None:
            raise OptionError(
                "--max-drop needs labels that fit the model, and the data has none; type --min-agreement 99 instead"
            )
        return accuracy.drop(accuracy.correct(a, samples.labels, cut), accuracy.correct(b, samples.labels, cut))


@final
@dataclass(frozen=True, eq=False)
class Candidate:
    """One network that was tried: its file, what it loses on the selection samples, and what it costs."""

    name: str
    network: Quantized
    model: bytes
    loss: Measurement | None
    latency_ms: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "steps": list(self.network.log),
            "loss": None if self.loss is None else self.loss.to_json(),
            "bytes": len(self.model),
            "latency_ms": self.latency_ms,
            "seconds": round(self.seconds, 1),
        }

    def __str__(self) -> str:
        lost = "" if self.loss is None else f"{self.loss}, "
        return f"{self.name}: {lost}{len(self.model):,} bytes, {self.latency_ms:.3g} ms, {self.seconds:.0f} s"


@final
@dataclass(frozen=True)
class Tools:
    """What the search is given: how to judge a file, time it and remember a step; the samples that remedies learn from."""

    goal: Goal
    judge: Callable[[str, bytes], Measurement]
    time: Callable[[bytes], float]
    remember: Callable[[str, Quantized, Callable[[], Quantized]], Quantized]
    replan: Callable[[Quantized, tuple[str, ...]], Quantized]
    tell: Callable[[Candidate], None]
    learning: Samples
    context: Context
    float_islands: bool


def search(start: Quantized, tools: Tools) -> tuple[tuple[Candidate, ...], Candidate]:
    """Everything tried, in order, and the one to take: the first that meets the goal, else the one that loses least."""
    tried: list[Candidate] = []
    for name, base, make in _ladder(start, tried, tools):
        if tried and tools.context.out_of_time():
            break
        began = time.monotonic()
        network = tools.remember(name, base, make)
        model = tflite.write(network.integer())
        loss = tools.judge(name, model)
        tried.append(Candidate(name, network, model, loss, tools.time(model), time.monotonic() - began))
        tools.tell(tried[-1])
        if loss.value <= tools.goal.limit:
            break
    return tuple(tried), _least(tried)


def _least(tried: list[Candidate]) -> Candidate:
    return min(tried, key=lambda c: float("inf") if c.loss is None else c.loss.value)


def _ladder(start: Quantized, tried: list[Candidate], tools: Tools) -> Iterator[tuple[str, Quantized, Callable[[], Quantized]]]:
    """Name, network to start from and how to make the next candidate, cheap ones first; each rung sees what was tried."""
    yield "as planned", start, lambda: start
    for names in (("bias",), ("equalize", "bias")):
        yield " + ".join(names), start, lambda names=names: apply(names, start, tools.learning, tools.context)  # type: ignore[misc]
    base = _least(tried)
    yield f"{base.name} + finetune", base.network, lambda: apply(["finetune"], base.network, tools.learning, tools.context)
    if not tools.float_islands:
        return
    # What training cannot mend may stay in float: the ops that make most of the noise, as few as do.
    flat = min((c for c in tried if "finetune" not in c.name), key=lambda c: float("inf") if c.loss is None else c.loss.value)
    index = np.arange(min(_SENSITIVITY_SAMPLES, len(tools.learning)))
    worst = sensitivities(flat.network, [tools.learning.batch(index)[0]], tools.context.device, tools.context.progress)
    graph = flat.network.graph
    for count in _KEPT:
        kept = tuple(glob.escape(graph[row.output].name) for row in worst[:count])
        yield f"{flat.name}, {count} ops in float", flat.network, lambda kept=kept: tools.replan(flat.network, kept)  # type: ignore[misc]

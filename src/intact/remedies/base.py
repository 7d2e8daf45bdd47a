"""What a remedy is: a published method that gives back accuracy which quantization took."""

from __future__ import annotations

import abc
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, TypeAlias, TypeVar, final

import numpy as np
import torch

from intact.data import Samples
from intact.network.graph import Graph
from intact.planning.plan import Plan
from intact.planning.quantized import Quantized
from intact.progress import Progress, silent
from intact.simulate.engine import Batch, Program, map_batches, run_batches
from intact.simulate.ranks import ALONE, Ranks

#: Calibrates a float graph and plans it, given first outputs of ops to keep precise, and of ops with weights of 8 bits.
MakePlan: TypeAlias = Callable[[Graph, tuple[int, ...], tuple[int, ...]], Plan]

Said = TypeVar("Said")

#: On so many samples, a rewrite may change the float output by this part of its spread: rounding, and no more.
_FEW: Final = 16
_UNCHANGED: Final = 1e-3
#: Rounding may change this part of the integers in an output, which are indices of the largest of nearly equal numbers.
_OTHER_INTEGERS: Final = 0.01


#: Arrays of a float graph on samples, by what they are called: those that a run beside this one made, else made now.
Shared: TypeAlias = Callable[[str, Graph, Samples, Callable[[], Mapping[str, np.ndarray]]], Mapping[str, np.ndarray]]


def _unkept(network: Quantized) -> None:
    del network


def _unshared(
    name: str, graph: Graph, samples: Samples, make: Callable[[], Mapping[str, np.ndarray]]
) -> Mapping[str, np.ndarray]:
    del name, graph, samples
    return make()


@final
@dataclass(frozen=True)
class Context:
    """What remedies need besides network and samples.

    ``precise``: how ``make_plan`` keeps ops precise, in words: in float, or at 16 bits on targets without floats.
    ``by_extremes`` plans as ``make_plan`` does, by the extremes, where that may choose narrower ranges; None where it may not.
    ``deadline`` is on the clock of ``time.monotonic``. ``folder``: where a remedy that takes long keeps its unfinished state.
    ``label_weight``: how much labels count, from 0 to 1, where a remedy learns from them besides the float network.
    ``keep`` takes the best network so far of a remedy that takes long, to be on disk should the run be interrupted. ``shared``
    gives what a float graph and samples alone decide.
    ``ranks``: the processes that learn together; their clocks differ, so that several have no deadline.
    """

    make_plan: MakePlan
    by_extremes: MakePlan | None = None
    precise: str = "in float"
    seed: int = 0
    device: str = "cpu"
    deadline: float = float("inf")
    progress: Progress = silent
    folder: Path | None = None
    label_weight: float = 0.1
    keep: Callable[[Quantized], None] = _unkept
    shared: Shared = _unshared
    ranks: Ranks = ALONE

    def out_of_time(self) -> bool:
        return time.monotonic() >= self.deadline


def look_at(  # noqa: PLR0913, PLR0917  # what to look at, and how to look
    graph: Graph,
    wanted: set[int],
    samples: Samples,
    context: Context,
    look: Callable[[torch.Tensor], Said],
    fold: Callable[[Said, Said], Said],
) -> dict[int, Said]:
    """What ``look`` says of each of the activations ``wanted``, by id, as if it were asked of all samples at once.

    It is asked of some samples at a time, along axis 0, and ``fold`` makes one answer of two, so that no more are kept.
    """
    program = Program(graph, context.device)

    def seen(batch: Batch) -> dict[int, Said]:
        return program.look(batch, lambda tensor, y: look(y) if tensor.id in wanted else None)

    parts = map_batches(seen, (batch for batch, _ in samples.batches()), context.device)
    return functools.reduce(lambda all_, part: {i: fold(all_[i], part[i]) for i in all_}, parts)


def changed_output(before: Graph, after: Graph, samples: Samples, context: Context) -> str | None:
    """How a rewrite that is to keep the float output changed it on a few samples, in words; None: it did not."""
    batches = [batch for batch, _ in samples.spread(_FEW).batches(_FEW)]
    exact, made = (run_batches(Program(graph, context.device), batches) for graph in (before, after))
    for name, y in exact.items():
        if y.dtype.kind != "f":
            if (differ := float((made[name] != y).mean())) > _OTHER_INTEGERS:
                return f"which would change {100 * differ:.3g} % of the integers in the output {name!r}"
            continue
        spread, gap = float(np.ptp(y)), float(np.abs(made[name] - y).max())
        if not gap <= _UNCHANGED * max(spread, float(np.abs(y).max()) * _UNCHANGED):
            return f"which would change the float output {name!r} by {gap:.3g} of {spread:.3g}"
    return None


class Remedy(abc.ABC):
    """``apply`` maps a Quantized to a better one and mutates nothing. ``name`` is what ``--remedies`` calls it.

    ``needs_single_samples``: it cannot do with a model whose batch is fixed at more than 1. ``learns``: it takes what time
    there is. ``order``: lower ones run first. A remedy that calibrates anew has to run before those whose result that would
    undo.
    """

    name: ClassVar[str]
    order: ClassVar[int]
    needs_single_samples: ClassVar[bool] = False
    learns: ClassVar[bool] = False

    @abc.abstractmethod
    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        """``samples`` are the calibration samples. Raises IntactError when they do not do."""

"""Fine-tuning as a run of its own: what it takes besides a network that is planned, and from there to the trained one."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final, final

import numpy as np

from intact import choices
from intact.data import Parts, for_learning
from intact.errors import OptionError
from intact.planning.quantized import Quantized
from intact.remedies import apply
from intact.remedies.base import Context
from intact.remedies.finetune import FineTune
from intact.remedies.loss import Loss
from intact.remedies.rounding import LearnedRounding
from intact.run.as_planned import Start
from intact.run.folder import RunFolder, Work
from intact.run.recover import Recovery, keep, learning_context, noted
from intact.simulate.ranks import ALONE, Ranks

#: Of convolutions and products of matrices, by torch's name.
PRECISIONS: Final = ("float32", "bfloat16")
#: Said of a quarter of the samples, which do not calibrate here.
_OF_CALIBRATION: Final = "few-calibration-samples"


@final
@dataclass(frozen=True)
class Training:
    """How a planned network is trained; OptionError for values that cannot be.

    ``steps``: at most so many, whatever the ``epochs``. ``batch``: samples a step, of all ranks together, split into ``parts``
    of which each rank computes some. ``rate``: of weights and biases, in steps of their scales. ``label_weight``: how much
    labels count beside the float network, from 0 to 1; ``loss`` instead of both. ``rounding``: learn how to round before.
    ``patience``: epochs in a row that are no better, after which it ends. ``samples``: at most so many. ``ranks``: the
    processes that train together.
    """

    epochs: int = 8
    steps: int | None = None
    batch: int = 50
    parts: int = 4
    rate: float = FineTune.rate
    label_weight: float = 0.1
    patience: int = 4
    rounding: bool = False
    precision: str = "float32"
    samples: int | None = None
    loss: Loss | None = None
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch", "parts", "patience", "samples"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else choices.whole(f"--{name}", value, 1))
        for name, such_as in (("rate", "--rate 0.01"), ("label_weight", "--label-weight 0.1")):
            option = f"--{name.replace('_', '-')}"
            object.__setattr__(self, name, choices.real(option, getattr(self, name), such_as))
        if not 0 <= self.label_weight <= 1:
            raise OptionError(f"--label-weight {self.label_weight:g} must be from 0 (the float network alone) to 1")
        if self.rate < 0:
            raise OptionError(f"--rate {self.rate:g} must be at least 0, such as --rate 0.01")
        if self.precision not in PRECISIONS:
            raise OptionError(
                f"no precision is called {self.precision!r}; type --precision with one of: {', '.join(PRECISIONS)}"
            )
        if self.loss is not None and self.label_weight != Training.label_weight:
            raise OptionError("--label-weight is of the default loss; leave it out, or --loss")
        if self.parts > self.batch:
            raise OptionError(
                f"--batch {self.batch} cannot be split into {self.parts} parts; type --parts {self.batch} or less"
            )
        if self.ranks.size > self.parts:
            raise OptionError(
                f"{self.ranks.size} ranks cannot share a batch of {self.parts} parts; type --parts {self.ranks.size}, "
                "which sums in another order and so gives other bytes"
            )

    def to_json(self) -> dict[str, Any]:
        """All that decides what comes out, which the number of ranks does not."""
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("loss", "ranks")}
        return said | {"loss": None if self.loss is None else self.loss.name}

    def remedy(self) -> FineTune:
        """The training itself."""
        return FineTune(
            epochs=self.epochs,
            steps=self.steps,
            batch=self.batch,
            parts=self.parts,
            longer=1,
            rate=self.rate,
            table_rate=FineTune.table_rate * self.rate / FineTune.rate,
            scale_rate=FineTune.scale_rate * self.rate / FineTune.rate,
            patience=self.patience,
            precision=self.precision,
            loss=self.loss,
        )


def gathered(parts: Parts, most: int | None) -> Parts:
    """``parts`` with all samples that do not report, at most ``most``, where those that calibrate were."""
    learning, found = for_learning(parts, sys.maxsize if most is None else most)
    findings = tuple(f for f in parts.findings if f.kind != _OF_CALIBRATION)
    return Parts(learning, learning.take(()), parts.report, (*findings, *found))


def trained(begun: Recovery, start: Start, parts: Parts, training: Training, work: Work) -> Recovery:
    """The network of ``begun`` after training on the samples that calibrate, by all ranks together.

    RankError where another rank has another network or other samples.
    """
    ranks, learning, network = training.ranks, parts.calibration, begun.network
    ranks.agree(_digest(network), lambda *_: "its network is another; give every rank the same model and plan")
    ranks.agree(learning.fingerprint(), lambda *_: "its samples are others; give every rank the same --data and --eval")
    context = replace(
        learning_context(start, parts, work),
        deadline=math.inf,
        label_weight=training.label_weight,
        keep=partial(keep, work.folder) if ranks.rank == 0 else _nowhere,
        ranks=ranks,
    )
    if training.rounding:
        network = _rounded(network, parts, context, work.folder)
    made = apply((training.remedy(),), network, learning, context)
    for step in made.log:
        work.tell(step)
    return Recovery(made, remedied=noted(made, learning, 0))


def _digest(network: Quantized) -> str:
    total = hashlib.sha256()
    for name, data in sorted(network.to_arrays().items()):
        total.update(name.encode() + data.tobytes())
    return total.hexdigest()


def _nowhere(network: Quantized) -> None:
    """Rank 0 keeps it."""
    del network


def _rounded(network: Quantized, parts: Parts, context: Context, folder: RunFolder) -> Quantized:
    """The network with learned rounding, made by all ranks unless rank 0 finds it made."""
    ranks, has_begun = context.ranks, False

    def make() -> Mapping[str, np.ndarray]:
        return apply((LearnedRounding(),), network, parts.calibration, context).to_arrays()

    def made_by_all() -> Mapping[str, np.ndarray]:
        nonlocal has_begun
        has_begun = True
        ranks.from_first(None)
        return make()

    if ranks.rank:
        held: Mapping[str, np.ndarray] | None = ranks.from_first(None)
        return Quantized.from_arrays(network, make() if held is None else held)
    arrays = folder.arrays("rounding", made_by_all)
    if not has_begun:
        ranks.from_first(arrays)
    return Quantized.from_arrays(network, arrays)

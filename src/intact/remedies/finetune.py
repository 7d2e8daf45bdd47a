"""Quantization-aware fine-tuning of the deployed graph, distilled from its float self: no labels needed."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, final

import numpy as np
import torch
from torch import Tensor

from intact.data import Samples
from intact.errors import ResourceError, UnsupportedError
from intact.planning.quantized import Quantized
from intact.planning.steps import narrowest
from intact.remedies import augmentation
from intact.remedies.augmentation import Moved
from intact.remedies.base import Context, Remedy
from intact.remedies.clock import Clock
from intact.remedies.distillation import Distillation, Part, targets_of
from intact.remedies.loss import ByFunction, Loss
from intact.remedies.resuming import Unfinished
from intact.remedies.rounding import LearnedRounding
from intact.remedies.student import NOTHING, Given, Student
from intact.simulate.engine import Program, one_per_core
from intact.simulate.ranks import Gradients, Made, is_out_of_memory

_FEW_BITS: Final = 4
#: What the learning rate is multiplied with after an epoch that made things worse.
_SLOWER: Final = 0.3
#: Seconds between two checkpoints within an epoch.
_UNSAVED: Final = 60.0


@final
@dataclass(frozen=True)
class FineTune(Remedy):
    """Learned step sizes and weights under the float network's own outputs as targets.

    The loss is that of :class:`intact.remedies.distillation.Distillation`; labels count the context's ``label_weight`` of it.
    Images are flipped and shifted. Adam, warm-up and cosine, as many epochs as the deadline leaves time for.
    Every epoch is judged on a tenth held out, and the best state stays; after one that is no better the training goes on from
    that state at a third of the rate, and after ``patience`` of them in a row, or at a loss that is not finite, it ends.
    When memory runs out, batches are computed in smaller parts. Between the context's ranks the parts are divided.
    Source: Esser et al. 2020 (arXiv 1902.08153); distillation: Hinton et al. 2015 (arXiv 1503.02531).
    """

    name: ClassVar[str] = "finetune"
    order: ClassVar[int] = 50
    needs_single_samples: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    epochs: int = 8
    batch: int = 50
    #: Into how many parts a batch is split, whatever the number of cores and of ranks: as many as ranks can share it.
    parts: int = 4
    #: At most so many steps, whatever the epochs.
    steps: int | None = None
    #: So many times the epochs for weights of fewer than 4 bits, which have further to go.
    longer: int = 3
    #: Of the weights and biases, in steps of their scales.
    rate: float = 1e-2
    #: The same where weights have codebooks, and of their numbers, in steps of their distance; but of weights that learned
    #: their rounding, which is not to be lost, ``rate``.
    table_rate: float = 3e-2
    #: Of the logarithms of the scales.
    scale_rate: float = 2e-3
    shift: float = 0.08
    held_out: float = 0.1
    #: At most so many samples, for what the float network makes of them is kept for a moment.
    most_held_out: int = 5000
    patience: int = 4
    #: Of convolutions and products of matrices, by torch's name: everything else is computed in float32.
    precision: str = "float32"
    #: Instead of distillation and labels.
    loss: Loss | None = None

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        run = _Run(self, network, samples, context)
        said = run.train()
        return run.learned(said)


@final
@dataclass(frozen=True, eq=False)
class _Drawn:
    """A part of a batch before it is read: its samples, and how each input's are moved."""

    index: np.ndarray
    moved: Mapping[str, Moved]


class _Run:
    def __init__(self, how: FineTune, network: Quantized, samples: Samples, context: Context) -> None:
        self.how, self.network, self.samples, self.context = how, network, samples, context
        self.student = Student(network.graph, network.plan, context.device, how.precision)
        targets = targets_of(network.reference)
        if not targets:
            raise UnsupportedError("fine-tuning needs an output of real numbers, and this model gives whole numbers only")
        self.draw = np.random.default_rng(context.seed)
        order = self.draw.permutation(len(samples))
        held = min(max(1, round(how.held_out * len(samples))), how.most_held_out)
        self.judging, self.learning = order[:held], order[held:] if held < len(samples) else order
        self.steps = math.ceil(len(self.learning) / how.batch)
        epochs = how.epochs * (how.longer if narrowest(network.graph, network.plan) < _FEW_BITS else 1)
        self.total = 0 if context.out_of_time() else min(epochs * self.steps, how.steps or epochs * self.steps)
        self.most_at_once = math.ceil(how.batch / how.parts)
        self.slowed = 1.0
        teacher = Program(network.reference, context.device)
        self.objective: Distillation | ByFunction
        if how.loss is None:
            held_out = (self._read(part) for part in self._parts(self.judging, augment=False))
            self.objective = Distillation.of(teacher, targets, held_out, context.label_weight)
        else:
            self.objective = ByFunction(teacher, how.loss)
        tables = list(self.student.tables.parameters())
        coarse = tables and LearnedRounding.name not in network.remedies
        self.optimizer = torch.optim.Adam(
            [
                {"params": [*self.student.weights.parameters(), *tables], "lr": how.table_rate if coarse else how.rate},
                {"params": list(self.student.growth.parameters()), "lr": how.scale_rate},
            ]
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)

    def train(self) -> str:
        """Train, leave the best state in the student, and say what happened."""
        unfinished = Unfinished.of(self.context, self.network, self.samples, self.how)
        kept = self.context.ranks.from_first(unfinished.load())
        at = _Progress(**kept["at"]) if kept else _Progress.beginning(self.judge(), self.student, self.draw)
        if kept:
            self._restore(kept)
        else:
            self.context.keep(self.network)
        clock, saved, ended = Clock(self.context.deadline), time.monotonic(), ""
        order = self._order(at)
        while at.step < self.total and at.worse < self.how.patience:
            if at.step % self.steps == 0:
                at.began = self.draw.bit_generator.state
                order = self.draw.permutation(self.learning)
            self.context.progress("fine-tune", at.step, self.total)
            place = (at.step % self.steps) * self.how.batch
            if not self.learn(order[place : place + self.how.batch]):
                ended = f"; stopped at step {at.step + 1}, where the loss was not finite, and went back to the best state"
                break
            at.step += 1
            self.total = min(self.total, clock.steps_that_fit(at.step))
            is_epoch = at.step % self.steps == 0 or at.step >= self.total
            if is_epoch:
                self._judged(at)
            if is_epoch or time.monotonic() - saved > _UNSAVED:
                unfinished.save({"at": vars(at), "total": self.total, **self._state()})
                saved = time.monotonic()
        if at.worse >= self.how.patience:
            ended = f"; stopped after {at.worse} epochs that were no better"
        self.context.progress("fine-tune", self.total, self.total)
        self.student.load_state_dict(at.state)
        labels = " and their labels" if self.objective.learns_labels else ""
        by = "" if self.how.loss is None else f" by {self.how.loss.name}"
        return (
            f"fine-tuned for {at.step / self.steps:.3g} epochs on {len(self.samples)} samples{labels}{by}: "
            f"held-out loss {at.first:.4g} -> {at.best:.4g}{ended}"
        )

    def _order(self, at: _Progress) -> np.ndarray:
        """The order of an epoch that has begun."""
        if at.step % self.steps == 0:
            return self.learning
        again = np.random.default_rng()
        again.bit_generator.state = at.began
        return again.permutation(self.learning)

    def _judged(self, at: _Progress) -> None:
        """Whether an epoch was better than all before it; what follows begins at the best."""
        now = self.judge()
        self.context.ranks.agree(_digest(self.student), lambda *_: "they computed other weights; use machines that are alike")
        at.worse = 0 if now < at.best else at.worse + 1
        if now < at.best:
            at.best, at.state = now, copy.deepcopy(self.student.state_dict())
            self.context.keep(self.learned("the best epoch so far"))
        else:
            self._slow_down(at.state)

    def learned(self, said: str) -> Quantized:
        """The network with what the student has learned."""
        graph, plan = self.student.learned()
        return replace(self.network, graph=graph, plan=plan, log=(*self.network.log, said))

    def _slow_down(self, state: Mapping[str, Tensor]) -> None:
        """An epoch that made things worse was too fast: back to the best state, and on from there at a third of the rate."""
        self.student.load_state_dict(state)
        self.slowed *= _SLOWER
        for group in self.optimizer.param_groups:
            group["lr"] *= _SLOWER  # the schedule takes it up only after the next step
        self.optimizer.state.clear()

    def learn(self, index: np.ndarray) -> bool:
        """One step; False, with nothing changed, when the loss is not finite. ResourceError when one sample is too much."""
        while True:
            try:
                if not self._gradients(index):
                    return False
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.most_at_once == 1:
                    raise ResourceError(
                        "fine-tuning needs more memory than there is even for one sample at a time; "
                        "leave finetune out of --remedies, or use a machine with more memory"
                    ) from error
                self.most_at_once = max(1, self.most_at_once // 2)
        self.optimizer.step()
        self.schedule.step()
        return True

    def _gradients(self, index: np.ndarray) -> bool:
        """Leave the gradients of the mean loss in the parameters; False when it is not finite.

        Weights are rounded once. The batch is computed in parts, one per core and rank, and their gradients are summed in
        order: the same bits on any number of either.
        """
        learned = self.student.learned_once()
        given = {name: x.detach().requires_grad_() for name, x in learned.items()}

        def of_part(drawn: _Drawn) -> Made:
            part = self._read(drawn)
            loss = self.loss(part, given) * (part.count / len(index))
            if not loss.requires_grad:
                raise UnsupportedError(
                    "fine-tuning needs weights or activations of integers on the way to an output of real numbers, "
                    "and this network has none"
                )
            return float(loss.detach()), torch.autograd.grad(loss, list(given.values()), allow_unused=True)

        made = self.context.ranks.each(of_part, self._parts(index, augment=True), self.context.device)
        if not math.isfinite(sum(loss for loss, _ in made)):
            return False
        sums = _summed([grads for _, grads in made])
        found = {name: (x, grad) for (name, x), grad in zip(learned.items(), sums, strict=True) if grad is not None}
        steps = [pair for name, pair in found.items() if isinstance(name, str)]
        weights = [[pair] for name, pair in found.items() if not isinstance(name, str)]
        parameters = list(self.student.parameters())

        def behind(roots: Sequence[tuple[Tensor, Tensor]]) -> Gradients:
            made, of_made = zip(*roots, strict=True)
            return torch.autograd.grad(made, parameters, of_made, allow_unused=True)

        grads = one_per_core(behind, [*weights, *([steps] if steps else [])], self.context.device)
        for parameter, grad in zip(parameters, _summed(list(grads)), strict=True):
            parameter.grad = grad
        return True

    def judge(self) -> float:
        """The mean loss over the held-out samples as they are."""
        given = {name: x.detach() for name, x in self.student.learned_once().items()}

        def summed(drawn: _Drawn) -> Made:
            part = self._read(drawn)
            with torch.no_grad():
                return float(self.loss(part, given)) * part.count, ()

        parts = self.context.ranks.each(summed, self._parts(self.judging, augment=False), self.context.device)
        return sum(loss for loss, _ in parts) / len(self.judging)

    def loss(self, part: Part, given: Given = NOTHING) -> Tensor:
        """The mean loss over a part of a batch."""
        return self.objective.loss(self.student, part, given)

    def _parts(self, index: np.ndarray, *, augment: bool) -> list[_Drawn]:
        """The samples at ``index`` in parts. All of them are drawn on every rank, so that all draw the same."""
        return [
            _Drawn(chosen, self._moves() if augment else {})
            for chosen in np.array_split(index, math.ceil(len(index) / self.most_at_once))
        ]

    def _moves(self) -> dict[str, Moved]:
        drawn = {spec.name: augmentation.drawn(self.draw, spec.sample, self.how.shift) for spec in self.samples.inputs}
        return {name: moved for name, moved in drawn.items() if moved is not None}

    def _read(self, drawn: _Drawn) -> Part:
        batch, labels = self.samples.batch(drawn.index)
        targets = labels if self.samples.targets is None else self.samples.targets[drawn.index]
        inputs = {name: torch.as_tensor(x, device=self.context.device) for name, x in batch.items()}
        moved = {name: drawn.moved[name](x) if name in drawn.moved else x for name, x in inputs.items()}
        return Part(moved, labels, len(drawn.index), targets)

    def _rate(self, step: int) -> float:
        """The part of the learning rate at a step: warm-up over a tenth, then a cosine down to 0 at the last."""
        warm = max(1, min(self.steps, self.total // 10))
        down = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0, step - warm) / max(1, self.total - warm))))
        return self.slowed * min((step + 1) / warm, down)

    def _state(self) -> dict[str, Any]:
        return {
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "draw": self.draw.bit_generator.state,
            "slowed": self.slowed,
        }

    def _restore(self, kept: dict[str, Any]) -> None:
        self.student.load_state_dict(kept["student"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.schedule.load_state_dict(kept["schedule"])
        self.draw.bit_generator.state = kept["draw"]
        self.total, self.slowed = kept["total"], kept["slowed"]


@final
@dataclass
class _Progress:
    """How far a training is: the ``step``, held-out losses, the ``best`` state, epochs in a row that were ``worse``, and what
    the generator was in when the epoch ``began``.
    """

    step: int
    first: float
    best: float
    state: dict[str, Tensor]
    worse: int
    began: Any

    @staticmethod
    def beginning(loss: float, student: Student, draw: np.random.Generator) -> _Progress:
        return _Progress(0, loss, loss, copy.deepcopy(student.state_dict()), 0, draw.bit_generator.state)


def _digest(student: Student) -> str:
    total = hashlib.sha256()
    for value in student.state_dict().values():
        total.update(value.cpu().numpy().tobytes())
    return total.hexdigest()


def _summed(parts: Sequence[Gradients]) -> Gradients:
    """The sum of each gradient over the parts, in their order; None where no part has one."""
    found = ([grad for grad in grads if grad is not None] for grads in zip(*parts, strict=True))
    return tuple(torch.stack(grads).sum(0) if grads else None for grads in found)

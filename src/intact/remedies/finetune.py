"""Quantization-aware fine-tuning of the deployed graph, distilled from its float self: no labels needed."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, TypeAlias, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from intact.data import Samples
from intact.errors import ResourceError, UnsupportedError
from intact.planning.quantized import Quantized
from intact.planning.steps import narrowest
from intact.remedies.base import Context, Remedy
from intact.remedies.clock import Clock
from intact.remedies.distillation import Distillation, Part, targets_of
from intact.remedies.resuming import Unfinished
from intact.remedies.rounding import LearnedRounding
from intact.remedies.student import NOTHING, Given, Student
from intact.simulate.engine import Program, one_per_core

#: One for each of some tensors, None where a tensor had no part in the result.
Gradients: TypeAlias = tuple[Tensor | None, ...]

#: Into how many parts a batch is split, whatever the number of cores.
_PARTS: Final = 4
_FEW_BITS: Final = 4
#: What the learning rate is multiplied with after an epoch that made things worse.
_SLOWER: Final = 0.3


@final
@dataclass(frozen=True)
class FineTune(Remedy):
    """Learned step sizes and weights under the float network's own outputs as targets.

    The loss is that of :class:`intact.remedies.distillation.Distillation`; labels count the context's ``label_weight`` of it.
    Images are flipped and shifted. Adam, warm-up and cosine, as many epochs as the deadline leaves time for.
    Every epoch is judged on a tenth held out, and the best state stays; after one that is no better the training goes on from
    that state at a third of the rate, and after ``patience`` of them in a row, or at a loss that is not finite, it ends.
    When memory runs out, batches are computed in smaller parts.
    Source: Esser et al. 2020 (arXiv 1902.08153); distillation: Hinton et al. 2015 (arXiv 1503.02531).
    """

    name: ClassVar[str] = "finetune"
    order: ClassVar[int] = 50
    needs_single_samples: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    epochs: int = 8
    batch: int = 50
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
    patience: int = 4

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        run = _Run(self, network, samples, context)
        said = run.train()
        return run.learned(said)


class _Run:
    def __init__(self, how: FineTune, network: Quantized, samples: Samples, context: Context) -> None:
        self.how, self.network, self.samples, self.context = how, network, samples, context
        self.student = Student(network.graph, network.plan, context.device)
        targets = targets_of(network.reference)
        if not targets:
            raise UnsupportedError("fine-tuning needs an output of real numbers, and this model gives whole numbers only")
        self.draw = np.random.default_rng(context.seed)
        order = self.draw.permutation(len(samples))
        held = max(1, round(how.held_out * len(samples)))
        self.judging, self.learning = order[:held], order[held:] if held < len(samples) else order
        self.steps = math.ceil(len(self.learning) / how.batch)
        epochs = how.epochs * (how.longer if narrowest(network.graph, network.plan) < _FEW_BITS else 1)
        self.total = 0 if context.out_of_time() else epochs * self.steps
        self.most_at_once = math.ceil(how.batch / _PARTS)
        self.slowed = 1.0
        teacher, held_out = Program(network.reference, context.device), self._parts(self.judging, augment=False)
        self.distillation = Distillation.of(teacher, targets, held_out, context.label_weight)
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
        first = best = self.judge()
        state, step, worse, ended = copy.deepcopy(self.student.state_dict()), 0, 0, ""
        unfinished = Unfinished.of(self.context, self.network, self.samples, self.how)
        if kept := unfinished.load():
            self._restore(kept)
            best, state, step, worse = kept["best"], kept["state"], kept["step"], kept["worse"]
        else:
            self.context.keep(self.network)
        clock = Clock(self.context.deadline)
        order = self.learning
        while step < self.total and worse < self.how.patience:
            if step % self.steps == 0:
                order = self.draw.permutation(self.learning)
            self.context.progress("fine-tune", step, self.total)
            at = (step % self.steps) * self.how.batch
            if not self.learn(order[at : at + self.how.batch]):
                ended = f"; stopped at step {step + 1}, where the loss was not finite, and went back to the best state"
                break
            step += 1
            self.total = min(self.total, clock.steps_that_fit(step))
            if step % self.steps == 0 or step >= self.total:
                now = self.judge()
                worse = 0 if now < best else worse + 1
                if now < best:
                    best, state = now, copy.deepcopy(self.student.state_dict())
                    self.context.keep(self.learned("the best epoch so far"))
                else:
                    self._slow_down(state)
                unfinished.save(
                    {"best": best, "state": state, "step": step, "worse": worse, "total": self.total, **self._state()}
                )
        if worse >= self.how.patience:
            ended = f"; stopped after {worse} epochs that were no better"
        self.context.progress("fine-tune", self.total, self.total)
        self.student.load_state_dict(state)
        labels = " and their labels" if self.distillation.of_labels else ""
        return (
            f"fine-tuned for {step / self.steps:.3g} epochs on {len(self.samples)} samples{labels}: "
            f"held-out loss {first:.4g} -> {best:.4g}{ended}"
        )

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
                if not _is_out_of_memory(error):
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

        Weights are rounded once. The batch is computed in parts, one per core, and their gradients are summed in order: the
        same bits on any machine size.
        """
        learned = self.student.learned_once()
        given = {name: x.detach().requires_grad_() for name, x in learned.items()}

        def of_part(part: Part) -> tuple[float, Gradients]:
            loss = self.loss(part, given) * (part.count / len(index))
            if not loss.requires_grad:
                raise UnsupportedError(
                    "fine-tuning needs weights or activations of integers on the way to an output of real numbers, "
                    "and this network has none"
                )
            return float(loss.detach()), torch.autograd.grad(loss, list(given.values()), allow_unused=True)

        parts = list(self._parts(index, augment=True))  # before any is computed: one that fails must not change what is drawn
        made = list(one_per_core(of_part, parts, self.context.device))
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

        def summed(part: Part) -> float:
            with torch.no_grad():
                return float(self.loss(part, given)) * part.count

        parts = one_per_core(summed, self._parts(self.judging, augment=False), self.context.device)
        return sum(parts) / len(self.judging)

    def loss(self, part: Part, given: Given = NOTHING) -> Tensor:
        """The mean loss over a part of a batch."""
        return self.distillation.loss(self.student, part, given)

    def _parts(self, index: np.ndarray, *, augment: bool) -> Iterator[Part]:
        for chosen in np.array_split(index, math.ceil(len(index) / self.most_at_once)):
            batch, labels = self.samples.batch(chosen)
            inputs = {name: torch.as_tensor(x, device=self.context.device) for name, x in batch.items()}
            if augment:
                inputs = {name: self.augmented(x) for name, x in inputs.items()}
            yield Part(inputs, labels, len(chosen))

    def augmented(self, x: Tensor) -> Tensor:
        """Images, [n, h, w, c] of 16 pixels or more, mirrored half of the time and shifted; others as they are."""
        if x.dim() != 4 or min(x.shape[1:3]) < 16 or x.shape[3] not in (1, 3):
            return x
        if self.draw.random() < 0.5:
            x = x.flip(2)
        most = [max(1, round(self.how.shift * size)) for size in x.shape[1:3]]
        dy, dx = (int(self.draw.integers(-m, m + 1)) for m in most)
        padded = F.pad(x.permute(0, 3, 1, 2), (most[1],) * 2 + (most[0],) * 2, mode="replicate").permute(0, 2, 3, 1)
        return padded[:, most[0] + dy :, most[1] + dx :][:, : x.shape[1], : x.shape[2]].contiguous()

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


def _is_out_of_memory(error: Exception) -> bool:
    """torch has a type for GPUs only; on a CPU its allocator's message says so."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _summed(parts: Sequence[Gradients]) -> Gradients:
    """The sum of each gradient over the parts, in their order; None where no part has one."""
    found = ([grad for grad in grads if grad is not None] for grads in zip(*parts, strict=True))
    return tuple(torch.stack(grads).sum(0) if grads else None for grads in found)

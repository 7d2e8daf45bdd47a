"""Quantization-aware fine-tuning of the deployed graph, distilled from its float self: no labels needed."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from intact.data import Samples
from intact.graph import Graph
from intact.ops.activation import Softmax
from intact.quantized import Quantized
from intact.remedies.base import Context, Remedy
from intact.simulate import Program
from intact.student import Student


@final
@dataclass(frozen=True)
class FineTune(Remedy):
    """Learned step sizes and weights under the float network's own outputs as targets.

    Loss per output: ``KL(teacher || student)`` of the classes before a SOFTMAX, else the squared error over the teacher's
    variance. Images are flipped and shifted. Adam, warm-up and cosine; every epoch is judged on a tenth held out, and the best
    state stays. A loss that is not finite ends the training at that state.
    Source: Esser et al. 2020 (arXiv 1902.08153); distillation: Hinton et al. 2015 (arXiv 1503.02531).
    """

    name: ClassVar[str] = "finetune"
    order: ClassVar[int] = 50
    paper: ClassVar[str] = "Esser et al. 2020, Learned Step Size Quantization (arXiv 1902.08153)"
    epochs: int = 8
    batch: int = 50
    rate: float = 5e-3
    scale_rate: float = 2e-3
    shift: float = 0.08
    held_out: float = 0.1

    def apply(self, network: Quantized, samples: Samples, context: Context) -> Quantized:
        run = _Run(self, network, samples, context)
        before, after, epochs = run.train()
        graph, plan = run.student.learned()
        said = f"fine-tuned for {epochs} epochs on {len(samples)} samples: held-out loss {before:.4g} -> {after:.4g}"
        return replace(network, graph=graph, plan=plan, log=(*network.log, said))


@dataclass
class _Run:
    how: FineTune
    network: Quantized
    samples: Samples
    context: Context

    def __post_init__(self) -> None:
        self.teacher = Program(self.network.reference, self.context.device)
        self.student = Student(self.network.graph, self.network.plan, self.context.device)
        self.targets = {i: _before_softmax(self.network.reference, i) for i in self.network.reference.outputs}
        self.draw = np.random.default_rng(self.context.seed)
        order = self.draw.permutation(len(self.samples))
        held = max(1, round(self.how.held_out * len(self.samples)))
        self.judging, self.learning = order[:held], order[held:]

    def train(self) -> tuple[float, float, int]:
        """Held-out loss before and after, and the epochs that ran."""
        how, steps = self.how, math.ceil(len(self.learning) / self.how.batch)
        optimizer = torch.optim.Adam(
            [
                {"params": list(self.student.weights.parameters()), "lr": how.rate},
                {"params": list(self.student.growth.parameters()), "lr": how.scale_rate},
            ]
        )
        total = how.epochs * steps
        warm = max(1, min(steps, total // 10))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / max(1, total - warm)))),
        )
        first = best = self.judge()
        state, done = copy.deepcopy(self.student.state_dict()), 0
        for epoch in range(how.epochs):
            order = self.draw.permutation(self.learning)
            for step in range(steps):
                self.context.progress("fine-tune", epoch * steps + step, total)
                loss = self.loss(order[step * how.batch : (step + 1) * how.batch], augment=True)
                if not torch.isfinite(loss) or self.context.out_of_time():
                    self.student.load_state_dict(state)
                    return first, best, done
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            done = epoch + 1
            now = self.judge()
            if now < best:
                best, state = now, copy.deepcopy(self.student.state_dict())
        self.context.progress("fine-tune", total, total)
        self.student.load_state_dict(state)
        return first, best, done

    def judge(self) -> float:
        """The mean loss over the held-out samples as they are."""
        with torch.no_grad():
            parts = [self.judging[at : at + self.how.batch] for at in range(0, len(self.judging), self.how.batch)]
            return sum(float(self.loss(part, augment=False)) * len(part) for part in parts) / len(self.judging)

    def loss(self, index: np.ndarray, *, augment: bool) -> Tensor:
        batch, _ = self.samples.batch(index)
        inputs = {name: torch.as_tensor(x, device=self.context.device) for name, x in batch.items()}
        if augment:
            inputs = {name: self.augmented(x) for name, x in inputs.items()}
        graph = self.network.reference
        taught: dict[int, Tensor] = {}
        with torch.no_grad():
            wanted = set(self.targets.values())
            self.teacher(inputs, lambda tensor, y: taught.update({tensor.id: y}) if tensor.id in wanted else None)
        by_id = {i: inputs[name].float() for name, i in zip(graph.input_names, graph.inputs, strict=True)}
        made = self.student(by_id, self.targets.values())
        losses = [
            _divergence(taught[t], made[t]) if t != i else _relative_error(taught[t], made[t]) for i, t in self.targets.items()
        ]
        return torch.stack(losses).mean()

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


def _before_softmax(graph: Graph, output: int) -> int:
    """The tensor to compare instead of an output: what a SOFTMAX that makes it reads."""
    op = graph.producers().get(output)
    return op.inputs[0] if op is not None and isinstance(op.kind, Softmax) and op.inputs[0] is not None else output


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """``sum_c p_c (log p_c - log q_c)``, the mean over samples."""
    p, q = (F.log_softmax(y.reshape(-1, y.shape[-1]), -1) for y in (teacher, student))
    return F.kl_div(q, p, reduction="batchmean", log_target=True)


def _relative_error(teacher: Tensor, student: Tensor) -> Tensor:
    """The mean squared error over the teacher's variance."""
    return F.mse_loss(student, teacher) / teacher.var().clamp(min=1e-12)

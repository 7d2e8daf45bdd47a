"""What a network learns from its float self: to make the same outputs, without labels or beside them.

Source: Hinton et al. 2015, Distilling the Knowledge in a Neural Network (arXiv 1503.02531), section 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from intact.network.graph import Graph, Op
from intact.remedies.student import NOTHING, Given, Student
from intact.simulate.engine import Program
from intact.simulate.noise import before_softmax, divergence


@final
@dataclass(frozen=True, eq=False)
class Part:
    """Some samples of a batch: inputs by name, labels if there are any, and whatever else came with them."""

    inputs: dict[str, Tensor]
    labels: np.ndarray | None
    count: int
    targets: np.ndarray | None = None


@final
@dataclass(frozen=True, eq=False)
class Distillation:
    """The loss of a student under the outputs of ``teacher``, the float network.

    Per output: ``KL(teacher || student)`` of the classes before a SOFTMAX, else the squared error over the teacher's variance,
    ``power``; their mean. Labels count ``of_labels``: ``(1 - a) loss + a cross_entropy``, which is the paper's temperature 1.
    ``targets``: by output, the tensor that is compared.
    """

    teacher: Program
    targets: Mapping[int, int]
    power: Mapping[int, float]
    of_labels: float

    @staticmethod
    def of(teacher: Program, targets: Mapping[int, int], held_out: Iterable[Part], of_labels: float) -> Distillation:
        """Labels count only where the teacher gets most of those of the samples held out right."""
        made, right, count = list[dict[int, Tensor]](), 0, 0
        output = teacher.graph.outputs[0]
        of_classes = targets.get(output, output) != output
        for part in held_out:
            made.append(_taught(teacher, targets, part.inputs))
            if of_classes and part.labels is not None and part.labels.ndim == 1:
                found = made[-1][targets[output]].reshape(part.count, -1).argmax(1).cpu().numpy()
                right, count = right + int((found == part.labels).sum()), count + part.count
        power = {t: max(float(torch.cat([y[t] for y in made]).var(correction=0)), 1e-12) for t in targets.values()}
        return Distillation(teacher, targets, power, of_labels if right > count / 2 else 0.0)

    @property
    def learns_labels(self) -> bool:
        """Whether labels have a part in it."""
        return self.of_labels > 0

    def loss(self, student: Student, part: Part, given: Given = NOTHING) -> Tensor:
        """The mean over a part of a batch."""
        taught = _taught(self.teacher, self.targets, part.inputs)
        made = student(self.teacher.entered(part.inputs), self.targets.values(), given)
        losses = [
            divergence(taught[t], made[t]) if t != i else F.mse_loss(made[t], taught[t]) / self.power[t]
            for i, t in self.targets.items()
        ]
        loss = torch.stack(losses).mean()
        if part.labels is None or not self.of_labels:
            return loss
        logits = made[self.targets[self.teacher.graph.outputs[0]]]
        right = torch.as_tensor(part.labels, device=logits.device).long()
        return (1 - self.of_labels) * loss + self.of_labels * F.cross_entropy(logits.reshape(len(right), -1), right)


def targets_of(reference: Graph) -> dict[int, int]:
    """What is compared, by output: the classes before a SOFTMAX, else the output itself."""
    return {i: before_softmax(reference, i) for i in taught(reference.ops, reference.outputs, reference)}


def taught(ops: Sequence[Op], outputs: Iterable[int], graph: Graph) -> tuple[int, ...]:
    """The tensors by which what comes before them learns: the outputs that gradients pass from, and what ops read that let none
    through."""
    reached, cut = set[int](), list[int]()
    for op in ops:
        if op.kind.differentiable:
            reached.update(i for i in op.outputs if graph[i].is_float)
        else:
            cut += [i for i in op.reads if i in reached]
    return tuple(dict.fromkeys([*(i for i in outputs if i in reached), *cut]))


def _taught(teacher: Program, targets: Mapping[int, int], inputs: dict[str, Tensor]) -> dict[int, Tensor]:
    """What the float network makes of the targets."""
    wanted = set(targets.values())
    with torch.no_grad():
        return teacher.look(inputs, lambda tensor, y: y if tensor.id in wanted else None)

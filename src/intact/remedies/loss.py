"""A loss of the user's own instead of distillation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, final

import torch
from torch import Tensor

from intact.errors import OptionError
from intact.remedies.distillation import Part
from intact.remedies.student import NOTHING, Given, Student
from intact.simulate.engine import Program

#: ``f(made, exact, targets)``: outputs [n, ...] by name of the integer network, which gradients pass through, and of the float
#: network; and what came with the samples, [n, ...], or None. Its mean over the samples is a tensor of one number.
LossFunction: TypeAlias = Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor | None], Tensor]


@final
@dataclass(frozen=True)
class Loss:
    """``compute`` under a ``name`` that says which function it is, and which version of it."""

    name: str
    compute: LossFunction = field(repr=False, compare=False)


@final
@dataclass(frozen=True, eq=False)
class ByFunction:
    """The loss of a student by ``asked`` of its outputs and those of ``teacher``."""

    teacher: Program
    asked: Loss

    @property
    def learns_labels(self) -> bool:
        return False

    def loss(self, student: Student, part: Part, given: Given = NOTHING) -> Tensor:
        """The mean over a part of a batch. OptionError where the function fails or gives no such number."""
        with torch.no_grad():
            exact = self.teacher(part.inputs)
        graph = self.teacher.graph
        made = student(self.teacher.entered(part.inputs), graph.outputs, given)
        outputs = {name: made[i] for name, i in zip(graph.output_names, graph.outputs, strict=True)}
        targets = None if part.targets is None else torch.as_tensor(part.targets, device=student.device)
        try:
            found = self.asked.compute(outputs, exact, targets)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, AssertionError) as error:
            raise OptionError(f"the loss {self.asked.name} failed: {type(error).__name__}: {error}") from error
        if not isinstance(found, Tensor) or found.numel() != 1 or not found.is_floating_point():
            said = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise OptionError(
                f"the loss {self.asked.name} gave {said}; return a tensor of one real number, a mean over samples"
            )
        return found.reshape(())

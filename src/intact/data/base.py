"""Data before it meets a model."""

from __future__ import annotations

import abc
from typing import Any, TypeAlias

from intact.data.samples import Samples
from intact.data.spec import InputSpec
from intact.wording import brief

#: One array or tensor with a batch of one, a tuple of them in order, or a mapping by name.
Example: TypeAlias = Any


class Data(abc.ABC):
    """Samples that are not yet bound to a model; :func:`folder`, :func:`arrays`, :func:`npz` and the like make it."""

    @abc.abstractmethod
    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        """Fit to a model's inputs; ``classes`` is the length of its one output vector, None if it has no such output.

        Raises DataError that names the sample, the shape found and the shape expected.
        """

    @abc.abstractmethod
    def examples(self) -> tuple[Example, ...]:
        """What a torch module may be called with, likeliest first: one sample in the module's own layout. Empty: not known."""

    __repr__ = brief

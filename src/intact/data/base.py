"""Data before it meets a model."""

from __future__ import annotations

import abc

from intact.data.samples import Samples
from intact.data.spec import InputSpec


class Data(abc.ABC):
    """Samples that are not yet bound to a model; :func:`folder`, :func:`arrays`, :func:`npz` and the like make it."""

    @abc.abstractmethod
    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        """Fit to a model's inputs; ``classes`` is the length of its one output vector, None if it has no such output.

        Raises DataError that names the sample, the shape found and the shape expected.
        """

"""A preprocessing of images that was given for what is no image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from intact.data.base import Data, Example
from intact.data.preprocessing import DEFAULT, Preprocessing
from intact.data.samples import Samples
from intact.data.spec import Finding, InputSpec


def as_they_are(data: Data, preprocessing: Preprocessing) -> Data:
    """Arrays, which go to the model as they are: a ``preprocessing`` that was given for them becomes a finding."""
    return data if preprocessing == DEFAULT else _Unused(data, preprocessing)


@final
@dataclass(frozen=True, eq=False, repr=False)
class _Unused(Data):
    """Arrays for which an image preprocessing was given."""

    data: Data
    preprocessing: Preprocessing

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        samples = self.data.bind(inputs, classes)
        default = DEFAULT.to_json()
        given = ", ".join(k for k, v in self.preprocessing.to_json().items() if v != default[k])
        why = f"{given} was given but not used: it is for images, and arrays go to the model as they are"
        return replace(samples, findings=(*samples.findings, Finding("unused-preprocessing", why)))

    def examples(self) -> tuple[Example, ...]:
        return self.data.examples()

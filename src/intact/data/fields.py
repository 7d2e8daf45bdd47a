"""Which fields of a stored sample are its image and its label, and labels that are gathered one by one."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from intact.data.images import class_order, listed, some
from intact.data.preprocessing import Preprocessing
from intact.data.spec import Finding
from intact.data.stored import LISTINGS, Stored, StoredImages
from intact.errors import DataError

#: Fields that are labels by their name, case aside, in order of preference.
LABELS: Final = (
    *("label", "labels", "cls", "class", "y", "target", "targets", "fine_label"),
    *("image/class/label", "class_id", "category", "class_name", "image/class/text"),
)
#: Fields that are images by their name, in the same way.
IMAGES: Final = (
    *("image", "img", "images", "jpg", "jpeg", "png", "webp", "image/encoded", "image_raw", "image_bytes"),
    *("bytes", "photo", "picture", "pixels", "content", "encoded"),
)
#: Different texts among labels; more are no classes.
_MOST_CLASSES: Final = 100_000
#: The largest label: float64 tells all whole numbers below apart.
_LARGEST: Final = 2**53


@final
@dataclass(frozen=True, eq=False)
class Labels:
    """``values``: ``[n]``, numbers; ``by_name``: they follow from the order of ``classes``, which ``listed`` may say."""

    values: np.ndarray | None
    classes: tuple[str, ...] = ()
    by_name: bool = False
    listed: Path | None = None
    findings: tuple[Finding, ...] = ()


def labelled(
    stored: Stored, labels: Labels, where: str, preprocessing: Preprocessing, findings: tuple[Finding, ...] = ()
) -> StoredImages:
    """Images with these labels, as data."""
    found = (*findings, *labels.findings)
    return StoredImages(stored, where, preprocessing, labels.values, labels.classes, labels.by_name, labels.listed, found)


@final
class Gathered:
    """Labels of samples one after the other: numbers, or texts, or none for all of them."""

    def __init__(self) -> None:
        self._numbers = array("d")
        self._codes = array("q")
        self._texts: dict[str, int] = {}
        self._none = 0

    def add(self, value: float | str | None, name: str) -> None:
        """``name`` is how a message calls the sample."""
        if value is None:
            self._none += 1
        elif isinstance(value, str):
            if len(self._texts) == _MOST_CLASSES and value not in self._texts:
                raise DataError(f"{name}: more than {_MOST_CLASSES:,} texts are labels so far; say --label with another field")
            self._codes.append(self._texts.setdefault(value, len(self._texts)))
        elif abs(value) > _LARGEST:
            raise DataError(f"{name} has the label {value!r:.40}, which is no class; correct it, or type --label=")
        else:
            self._numbers.append(value)
        if sum(map(bool, (self._none, len(self._codes), len(self._numbers)))) > 1:
            what = "has no label" if value is None else f"has the label {str(value)[:40]!r}"
            before = "have one" if value is None else "have none" if self._none else "have other kinds of labels"
            raise DataError(f"{name} {what}, and those before it {before}; give all labels of one kind, or type --label=")

    def labels(self, beside: Path | None, what: str) -> Labels:
        """All of them; ``beside``: the folder where a list of classes may lie; ``what``: how messages call the field."""
        if len(self._numbers):
            values = np.frombuffer(self._numbers)
            whole = bool((values == np.floor(values)).all())
            return Labels(values.astype(np.int64) if whole else values)
        if not len(self._codes):
            return Labels(None)
        return named(np.frombuffer(self._codes, np.int64), tuple(self._texts), beside, what)


def named(codes: np.ndarray, texts: tuple[str, ...], beside: Path | None, what: str) -> Labels:
    """Labels ``[n]`` that are the numbers of ``texts``: classes in alphabetical order, or as a list of classes says."""
    order = None if beside is None else class_order(beside)
    classes = tuple(sorted(texts)) if order is None else listed(order, texts, "the class")
    number = {name: i for i, name in enumerate(classes)}
    values = np.array([number[text] for text in texts], np.int64)[codes]
    found: tuple[Finding, ...] = ()
    if order is None:
        found = (Finding("class-order", f"the classes of {what} count in alphabetical order: {some(classes, 6)}"),)
    return Labels(values, classes, True, None if beside is None else beside / LISTINGS[0], found)

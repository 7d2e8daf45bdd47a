"""Samples from any Python iterable, torch DataLoader or Dataset, Keras or tf.data dataset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, Final, Protocol, final, runtime_checkable

import numpy as np
import torch

from intact import scratch
from intact.data.array import ArrayData, as_array, is_several, move_axes
from intact.data.base import Data, Example
from intact.data.samples import Samples
from intact.data.spec import InputSpec, names_by_position
from intact.errors import DataError

#: An iterable that gives more than this is taken to be endless.
MOST_BYTES: Final = 16 << 30
_ENDLESS: Final = -1  # tf.data.INFINITE_CARDINALITY
_LABEL_KEYS: Final = ("y", "label", "labels", "target", "targets")


@runtime_checkable
class TensorFlowDataset(Protocol):
    """What TensorFlow calls a tf.data.Dataset."""

    def as_numpy_iterator(self) -> Iterator[Any]: ...

    def cardinality(self) -> Any: ...


@runtime_checkable
class Numbered(Protocol):
    """What a Keras PyDataset and a torch map-style dataset are: items by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


def iterable(it: Iterable[Any] | Numbered, *, labels: Any = None, limit: int | None = None) -> Data:
    """Samples, batches, or pairs of either with their labels; each a numpy array or tensor, or a mapping by input name.

    Whether an element is one sample or a batch is read off the model's input shape: an element that has it is a
    sample, one with an axis before it is a batch. ``labels`` gives all labels when the elements carry none. ``limit`` stops
    after so many elements. Everything is read once, now, into a temporary file, in the order it comes: shuffling gives other
    samples in another run. Raises DataError for elements that do not agree, and for an endless dataset without a limit.
    """
    if isinstance(it, (str, bytes, Mapping)) or not isinstance(it, (Iterable, Numbered)):
        raise DataError(
            f"a {type(it).__name__} is not an iterable of samples; for files use load, for a mapping of arrays use arrays"
        )
    columns: dict[str, _Column] = {}
    ys: list[np.ndarray | None] = []
    try:
        with scratch.typed():
            for i, element in enumerate(islice(_elements(it, limit), limit)):
                x, y = _parts(element)
                _append(columns, i, x)
                ys.append(None if y is None else as_array(y, f"the label of element {i}"))
            if not ys:
                raise DataError("the iterable gave no samples; a generator that was used up before gives none a second time")
            stacked = {name: column.stack() for name, column in columns.items()}
    finally:
        for column in columns.values():
            column.file.close()
    with_labels = [y for y in ys if y is not None]
    if with_labels and len(with_labels) < len(ys):
        raise DataError(f"element {next(i for i, y in enumerate(ys) if y is None)} has no label, others have")
    if with_labels and labels is not None:
        raise DataError("labels are given twice, by the iterable and by labels=; give them once")
    given = None if labels is None else as_array(labels, "labels")
    return _Iterated(stacked, {name: tuple(c.lengths) for name, c in columns.items()}, tuple(with_labels), given)


@dataclass
class _Column:
    """The elements of one input, one after the other in a temporary file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    file: IO[bytes] = field(default_factory=scratch.file)
    lengths: list[int] = field(default_factory=list)

    def add(self, i: int, value: np.ndarray) -> None:
        if value.dtype != self.dtype or value.shape[1:] != self.shape:
            raise DataError(
                f"element {i} is {value.dtype} of shape {list(value.shape)}, "
                f"element 0 {self.dtype} of {[self.lengths[0], *self.shape]}; elements may differ in the length of a batch only"
            )
        self.lengths.append(len(value) if value.ndim else 1)
        self.file.write(np.ascontiguousarray(value).tobytes())
        if self.file.tell() > MOST_BYTES:
            raise DataError(f"the iterable gave more than {MOST_BYTES >> 30} GiB; if it is endless, give limit=")

    def stack(self) -> np.ndarray:
        """All elements joined along axis 0, ``[sum of lengths, ...]``, read through the page cache."""
        self.file.flush()
        total = (sum(self.lengths), *self.shape)
        if not math.prod(total):
            return np.empty(total, self.dtype)
        return np.memmap(self.file, self.dtype, "r", shape=total)


@final
@dataclass(frozen=True, eq=False, repr=False)
class _Iterated(Data):
    """Elements joined along axis 0, whose lengths are known; whether they are samples or batches tells the model's input."""

    x: Mapping[str, np.ndarray]
    lengths: Mapping[str, tuple[int, ...]]
    labels: tuple[np.ndarray, ...]
    given: np.ndarray | None

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        columns = self._by_name(inputs)
        name = next((s.name for s in inputs if s.name in columns), None)
        spec = inputs[0] if name is None else next(s for s in inputs if s.name == name)
        key = next(iter(columns)) if name is None else name
        batched = _is_batched(columns[key][0].shape[1:], columns[key][1], spec)
        x = {n: a if batched else _unjoined(a, lengths) for n, (a, lengths) in columns.items()}
        return ArrayData(x, self._all_labels(batched), "the iterable").bind(inputs, classes)

    def examples(self) -> tuple[Example, ...]:
        """The first element as a batch, or as a sample with a batch axis; labels tell, else the number of axes does."""
        firsts = {n: np.array(a[: self.lengths[n][0]]) for n, a in self.x.items()}
        batch = _one_of_each(firsts)
        sample = _one_of_each({n: a[None] for n, a in firsts.items()})
        lead = next(iter(self.lengths.values()))[0]
        if self.labels:
            is_sample = self.labels[0].ndim == 0 or (lead not in self.labels[0].shape[:1])
        else:
            is_sample = next(iter(firsts.values())).ndim < 4 and len(set(next(iter(self.lengths.values())))) == 1
        return (sample, batch) if is_sample else (batch, sample)

    def _by_name(self, inputs: tuple[InputSpec, ...]) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
        """Columns by input name; inputs given as a tuple go by position."""
        names = list(self.x)
        if len(names) > 1 and names == [str(i) for i in range(len(names))] and not set(names) & {s.name for s in inputs}:
            names = list(names_by_position(inputs, len(names)))
        return {new: (self.x[old], self.lengths[old]) for new, old in zip(names, self.x, strict=True)}

    def _all_labels(self, batched: bool) -> np.ndarray | None:
        if not self.labels:
            return self.given
        if batched and any(y.ndim == 0 for y in self.labels):
            raise DataError(
                "the iterable gives batches, but a single label for each; give one label for each sample of the batch"
            )
        try:
            return np.concatenate(self.labels) if batched else np.stack(self.labels)
        except ValueError as error:
            raise DataError(f"the labels of the iterable's elements do not agree in shape ({error})") from error


def _one_of_each(named: Mapping[str, np.ndarray]) -> Example:
    """A batch of one of each input: alone, in order or by name."""
    ones = {name: array[:1] for name, array in named.items()}
    if list(ones) == [""]:
        return ones[""]
    return tuple(ones.values()) if list(ones) == [str(i) for i in range(len(ones))] else ones


def _append(columns: dict[str, _Column], i: int, x: Any) -> None:
    """One more element: an array, a mapping by input name, or a tuple by input position."""
    named = x if isinstance(x, Mapping) else dict(enumerate(x)) if is_several(x) else {"": x}
    values = {str(name): as_array(value, f"element {i}") for name, value in named.items()}
    if not values:
        raise DataError(f"element {i} is empty")
    if not columns:
        columns.update({name: _Column(value.shape[1:], value.dtype) for name, value in values.items()})
    if values.keys() != columns.keys():
        raise DataError(
            f"element {i} has inputs {', '.join(values)}, the ones before it {', '.join(columns)}; all must have the same"
        )
    for name, value in values.items():
        columns[name].add(i, value)


def _elements(it: Iterable[Any] | Numbered, limit: int | None) -> Iterator[Any]:
    if isinstance(it, TensorFlowDataset):
        if limit is None and int(it.cardinality()) == _ENDLESS:
            raise DataError("the dataset repeats without end; leave out .repeat(), or give limit= in elements")
        return it.as_numpy_iterator()
    if isinstance(it, Iterable):
        return iter(it)
    return (it[i] for i in range(len(it)))


def _parts(element: Any) -> tuple[Any, Any]:
    """The samples and the labels (or None) of what an iterable gives; a third part, sample weights, is left out."""
    if isinstance(element, Mapping):
        key = next((k for k in _LABEL_KEYS if k in element), None)
        rest = {k: v for k, v in element.items() if k != key}
        return (rest, element[key]) if key is not None and rest else (element, None)
    pair = isinstance(element, tuple) and not isinstance(element[0] if element else 0, (int, float, np.number))
    pair |= isinstance(element, list) and bool(element) and isinstance(element[0], (np.ndarray, torch.Tensor, Mapping, tuple))
    if pair and len(element) <= 3:
        return element[0], element[1] if len(element) > 1 else None
    return (list(element) if isinstance(element, tuple) else element), None


def _is_batched(shape: tuple[int, ...], lengths: tuple[int, ...], spec: InputSpec) -> bool:
    """Whether elements ``[length, *shape]`` are batches of samples. What fits as it is goes before what must be rearranged."""
    whole = (lengths[0], *shape)
    equal = len(set(lengths)) == 1
    if equal and whole == spec.sample:
        return False
    if shape == spec.sample:
        return True
    return not (equal and move_axes(whole, spec) is not None)


def _unjoined(array: np.ndarray, lengths: tuple[int, ...]) -> np.ndarray:
    """``[k * length, ...] -> [k, length, ...]``: the elements as samples."""
    if len(set(lengths)) > 1:
        raise DataError("the iterable's samples have different shapes; give all the same")
    return array.reshape(len(lengths), lengths[0], *array.shape[1:])

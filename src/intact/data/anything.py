"""What people have in their hands when they want samples: arrays, pairs, loaders, data sets, frames, functions, paths."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, final, runtime_checkable

import numpy as np
import torch
from PIL import Image

from intact import reading
from intact.data import tables
from intact.data.archives import NamedData
from intact.data.array import arrays, as_array, move_axes
from intact.data.base import Data, Example
from intact.data.images import image_files
from intact.data.iterables import Numbered, TensorFlowDataset, iterable
from intact.data.loading import load
from intact.data.pictured import Rows, Typed, huggingface, once, pil
from intact.data.preprocessing import DEFAULT
from intact.data.samples import Samples
from intact.data.spec import InputSpec
from intact.data.tables import Frame, frame
from intact.errors import DataError

_ACCEPTED: Final = (
    "arrays (x, or x and y as a pair), intact.data.arrays(x, y), intact.data.folder(path), a path, a torch DataLoader or "
    "Dataset, a tf.data or Hugging Face data set, a data frame, or, for anything that gives samples one after the other, "
    "intact.data.iterable(it)"
)


@runtime_checkable
class _ArrayLike(Protocol):
    """Arrays of other libraries: JAX's, TensorFlow's."""

    def __array__(self) -> Any: ...  # numpy's protocol


def samples_from(source: object, what: str = "data") -> Data:
    """``source`` as data, whatever it is; ``what`` is how the message of a DataError calls it.

    Arrays, tensors and lists of numbers are samples; a pair ``(x, y)`` has their labels. A mapping holds arrays by input
    name, or x and y. A tuple or list of as many arrays as the model has inputs are these inputs. A function is called, and
    gives samples as the TFLite converter's ``representative_dataset`` does: lists of one array for each input. A ``str`` is a
    path. Everything else that can be iterated over is read once.
    """
    for fits, make in _KINDS:
        if fits(source):
            return make(source)
    if source is None:
        raise DataError(f"there are no samples; give {what} as {_ACCEPTED}")
    raise DataError(f"a {type(source).__name__} holds no samples; give {what} as {_ACCEPTED}")


@final
@dataclass(frozen=True, eq=False, repr=False)
class _Several(Data):
    """A tuple or list of arrays: one for each input, or a pair of samples and labels, or samples one by one."""

    parts: Sequence[Any]

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        return self._meant(inputs).bind(inputs, classes)

    def examples(self) -> tuple[Example, ...]:
        if isinstance(self.parts, tuple) and len(self.parts) == 2:  # as samples and labels, then as two inputs
            return (*_labelled(*self.parts).examples(), *self._together().examples())
        return (*self._together().examples(), *iterable(self.parts).examples())

    def _meant(self, inputs: tuple[InputSpec, ...]) -> Data:
        if len(inputs) > 1 and len(self.parts) == len(inputs) and _are_inputs(self.parts, inputs):
            return self._together()
        if isinstance(self.parts, tuple) and len(self.parts) == 2:
            return _labelled(*self.parts)
        if isinstance(self.parts, tuple):
            raise DataError(
                f"a tuple of {len(self.parts)} is neither a pair (x, y) nor one array for each of the model's "
                f"{len(inputs)} inputs; give samples and labels as (x, y)"
            )
        return iterable(self.parts)

    def _together(self) -> Data:
        return iterable([(tuple(self.parts),)])


def _are_inputs(parts: Sequence[Any], inputs: tuple[InputSpec, ...]) -> bool:
    """Whether each part holds as many samples of one input each, in the inputs' order or another."""
    if not all(_is_array(part) for part in parts):
        return False
    shapes = [np.shape(part) for part in parts]
    if any(not shape for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
        return False
    return all(any(move_axes(tuple(shape[1:]), spec) is not None for spec in inputs) for shape in shapes)


def _labelled(x: object, y: object) -> Data:
    """Samples with their labels, as Keras' ``fit`` takes them."""
    if _is_pair(x) and _is_pair(y) and np.ndim(x[1]) == 1:  # type: ignore[index]  # of a pair
        raise DataError(
            "this looks like ((x_train, y_train), (x_test, y_test)); give one as data and the other as evaluation: "
            "intact.quantize(model, train, evaluation=test)"
        )
    if y is None:
        return samples_from(x)
    labels = _numbers(y)
    if isinstance(x, Frame):
        return arrays(frame(x, "").matrix(), labels)
    if _are_pictures(x):
        return pil(x, labels)  # type: ignore[arg-type]  # a list of them
    if isinstance(x, (tuple, list)) and not _is_nested(x):
        return iterable([(tuple(x), labels)]) if _all_lengths(x) == {len(labels)} else iterable(x, labels=labels)
    return arrays(x, labels)


def _numbers(y: object) -> np.ndarray:
    """Labels as numbers: class names count in alphabetical order."""
    values = np.asarray(y.to_numpy() if isinstance(y, Frame) else y if not isinstance(y, torch.Tensor) else as_array(y, "y"))
    if values.dtype.kind in "OUS" and values.ndim == 1 and all(isinstance(v, (str, bytes)) for v in values.tolist()):
        return np.unique(values.astype(str), return_inverse=True)[1].reshape(-1)
    return as_array(values, "y")


def _all_lengths(parts: Iterable[Any]) -> set[int]:
    return {len(part) if np.ndim(part) else 0 for part in parts}


def _is_pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(_is_array(part) for part in value)


def _is_array(value: object) -> bool:
    return isinstance(value, (np.ndarray, torch.Tensor)) or (
        isinstance(value, _ArrayLike) and not isinstance(value, (Frame, Image.Image))
    )


def _is_nested(value: object) -> bool:
    """A number, or a list of such: an array that is not yet one."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_is_nested(part) for part in value[:1])
    return isinstance(value, (int, float, np.number))


def _are_pictures(value: object) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], Image.Image)


def _is_several(value: object) -> bool:
    if isinstance(value, tuple):
        return bool(value) and not _is_nested(value)
    return isinstance(value, list) and bool(value) and all(_is_array(part) for part in value)


def _is_split(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(part, Rows) for part in value.values())


def _without_split(value: Any) -> Data:
    names = ", ".join(map(repr, value))
    raise DataError(f"a data set of several splits ({names}); give one of them: data[{next(iter(value))!r}]")


def _are_image_files(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, (str, os.PathLike)) for part in value)


def _image_files(value: list[str | os.PathLike[str]]) -> Data:
    files = tuple(Path(part) for part in value)
    for file in files:
        try:
            reading.check(file, DataError)
        except DataError as error:
            raise DataError(f"{file}: {error}; a list of texts is a list of image files") from error
    return image_files(Path("the images"), files, DEFAULT)


def _gives_pictures(value: object) -> bool:
    """A torch Dataset without a transform: numbered pairs of a Pillow image and a label."""
    if not isinstance(value, Numbered) or isinstance(value, (Mapping, tuple, str, Image.Image)) or not len(value):
        return False
    if isinstance(value, (torch.utils.data.Dataset, list)):
        first = value[0]
        return isinstance(first[0] if isinstance(first, (tuple, list)) and first else first, Image.Image)
    return False


def _pictures(value: Any) -> Data:
    first = value[0]
    if isinstance(first, Image.Image):
        return pil(value)
    return pil(_Firsts(value), np.array([int(value[i][1]) for i in range(len(value))]) if len(first) > 1 else None)


@final
@dataclass(frozen=True)
class _Firsts:
    """The first parts of numbered pairs."""

    pairs: Any

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        return self.pairs[index][0]


def _is_representative(value: object) -> bool:
    return callable(value) and not isinstance(value, (torch.nn.Module, Iterable, Numbered, type))


def _called(function: Callable[[], Any]) -> Data:
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise DataError(
            f"the function takes arguments ({error}); give one that is called without any, or what it gives"
        ) from error
    except ValueError:
        pass  # of a builtin nothing is known
    given = function()
    if not isinstance(given, Iterator):
        return samples_from(given)
    return iterable(_as_inputs(element) for element in given)


def _as_inputs(element: Any) -> Any:
    """What a ``representative_dataset`` yields, as an element of an iterable: a list has an array for each input.

    With signatures it yields the signature's name and a mapping.
    """
    match element:
        case (str(), Mapping() as named):
            return named
        case [one] if isinstance(element, list):
            return (one,)
        case list() if all(_is_array(part) or _is_nested(part) for part in element) and not _is_nested(element):
            return (tuple(element),)
    return element


def _is_stream(value: object) -> bool:
    """Hugging Face's IterableDataset."""
    return isinstance(value, Iterable) and isinstance(value, Typed)


def _goes_by_once(value: object) -> bool:
    """What can be asked for its first element without harm: no arrays, nor what is known by another protocol."""
    known = (list, tuple, str, bytes, Mapping, torch.nn.Module, TensorFlowDataset)
    return isinstance(value, Iterable) and not isinstance(value, known)


def _only(*kinds: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kinds)


#: The first row whose question is answered with yes makes the data.
_KINDS: Final[tuple[tuple[Callable[[object], bool], Callable[[Any], Data]], ...]] = (
    (_only(Data), lambda data: data),
    (_only(str, os.PathLike), lambda path: load(Path(path))),
    (_only(Image.Image), lambda image: pil([image])),
    (_only(Frame), tables.frame),
    (_only(Rows), huggingface),
    (_is_split, _without_split),
    (_only(Mapping), lambda named: NamedData({str(key): value for key, value in named.items()})),
    (_gives_pictures, _pictures),
    (_are_image_files, _image_files),
    (_is_several, _Several),
    (_is_nested, arrays),
    (_is_array, arrays),
    (_is_representative, _called),
    (_is_stream, huggingface),
    (_goes_by_once, once),
    (lambda value: isinstance(value, (Iterable, Numbered)) and not isinstance(value, (bytes, torch.nn.Module)), iterable),
)

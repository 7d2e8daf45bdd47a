"""Samples that are arrays already. Values go to the model as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch

from intact.data.base import Data, Example
from intact.data.labels import check_targets, class_labels
from intact.data.preprocessing import Preprocessing
from intact.data.samples import Samples, Source, array_digest
from intact.data.spec import Finding, InputSpec, names_by_position
from intact.errors import DataError, located
from intact.spool import forget

#: Elements that are checked for NaN at a time.
_CHECK: Final = 1 << 22


def arrays(x: Any, y: Any = None) -> Data:
    """Samples ``x``, ``[n, ...]``, numpy or torch, or several: by input name, or a tuple in the model's order; labels ``y``.

    Shapes fit when they equal the model's, when moving the channel axis makes them equal (``[n, 3, h, w]`` for
    ``[n, h, w, 3]``), or when they differ by axes of length 1 only.
    """
    given: np.ndarray | tuple[np.ndarray, ...] | Mapping[str, np.ndarray]
    if isinstance(x, Mapping):
        given = {str(k): as_array(v, f"input {k!r}") for k, v in x.items()}
    elif isinstance(x, tuple):
        given = tuple(as_array(v, f"input {i}") for i, v in enumerate(x))
    else:
        given = as_array(x, "x")
    return ArrayData(given, None if y is None else as_array(y, "y"), "the arrays")


def is_several(x: object) -> bool:
    """Whether ``x`` is one array for each input: a tuple, or a list of arrays; a list of numbers is one array."""
    return isinstance(x, tuple) or (
        isinstance(x, list) and bool(x) and all(isinstance(v, (np.ndarray, torch.Tensor)) for v in x)
    )


def as_array(value: Any, what: str) -> np.ndarray:
    """A numpy view of an array, tensor or nested list. Raises DataError for what is not an array of numbers."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{what} is not an array of numbers ({str(error).splitlines()[0]})") from error
    if array.dtype.kind not in "biuf":
        reason = "their shapes differ, or they are pickled objects" if array.dtype.kind == "O" else f"dtype {array.dtype}"
        raise DataError(f"{what} is not an array of numbers ({reason}); give one array of integers or floats")
    return array


@final
@dataclass(frozen=True, eq=False, repr=False)
class ArrayData(Data):
    """Arrays and labels. ``x`` by input name or in the model's order, or one array for one input; ``where`` for messages."""

    x: np.ndarray | tuple[np.ndarray, ...] | Mapping[str, np.ndarray]
    y: np.ndarray | None
    where: str
    findings: tuple[Finding, ...] = ()

    def bind(self, inputs: tuple[InputSpec, ...], classes: int | None) -> Samples:
        with located(self.where):
            named = _by_input(self.x, inputs)
            count = _common_length(named)
            moves = {s.name: _fit(named[s.name], s) for s in inputs}
            source = ArraySource(tuple((s, named[s.name], moves[s.name]) for s in inputs), count, self.where)
            for spec in inputs:
                _check_values(named[spec.name], spec, source.name)
            findings = tuple(f for s in inputs for f in _remarks(named[s.name], s, moves[s.name]))
            targets = None if self.y is None else check_targets(self.y, count, source.name)
            labels, found = (None, ()) if targets is None else class_labels(targets, classes, source.name)
        shapes = {name: move.says for name, move in moves.items() if move.says}
        return Samples(
            source,
            inputs,
            Preprocessing.for_arrays(shapes),
            np.arange(count),
            labels,
            targets,
            findings=(*self.findings, *findings, *found),
        )

    def examples(self) -> tuple[Example, ...]:
        if isinstance(self.x, np.ndarray):
            return array_examples(self.x)
        return (tuple(x[:1] for x in self.x) if isinstance(self.x, tuple) else {name: x[:1] for name, x in self.x.items()},)


def array_examples(x: np.ndarray) -> tuple[Example, ...]:
    """One sample of ``[n, ...]`` for a torch module: as it is, or channels first where they may be last."""
    one = np.array(x[:1]) if x.ndim else np.array(x)
    if one.ndim == 4 and one.shape[-1] in (1, 3):
        moved = np.moveaxis(one, -1, 1)
        return (one, moved)
    return (one,)


@dataclass(frozen=True)
class Move:
    """How an array's axes become the model's. ``says`` is empty when nothing moves."""

    says: str = ""
    axes: tuple[int, ...] | None = None


@final
class ArraySource(Source):
    """Rows of arrays, cast to the input's dtype when asked for."""

    def __init__(self, rows: tuple[tuple[InputSpec, np.ndarray, Move], ...], count: int, where: str) -> None:
        self._rows = rows
        self._count = count
        self._where = where

    def __len__(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return f"sample {index} of {self._where}"

    def digest(self, index: int) -> bytes:
        return (
            b"".join(array_digest(array[index]) for _, array, _ in self._rows[:1])
            if len(self._rows) == 1
            else self._joint(index)
        )

    def _joint(self, index: int) -> bytes:
        parts = [np.frombuffer(array_digest(array[index]), np.uint8) for _, array, _ in self._rows]
        return array_digest(np.concatenate(parts))

    def prepare(self, indices: np.ndarray) -> None:
        pass  # any row is there

    def fetch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = {spec.name: _placed(array[indices], spec, move) for spec, array, move in self._rows}
        for _, array, _ in self._rows:
            forget(array)
        return batch


def _placed(rows: np.ndarray, spec: InputSpec, move: Move) -> np.ndarray:
    moved = rows if move.axes is None else rows.transpose(0, *(a + 1 for a in move.axes))
    return np.ascontiguousarray(moved.reshape(len(rows), *spec.sample), spec.dtype)


def _by_input(
    x: np.ndarray | tuple[np.ndarray, ...] | Mapping[str, np.ndarray], inputs: tuple[InputSpec, ...]
) -> dict[str, np.ndarray]:
    names = [s.name for s in inputs]
    if isinstance(x, tuple):
        if len(names) == 1 and len(x) > 1:
            return {names[0]: as_array(x, "x")}  # samples one by one
        return dict(zip(names_by_position(inputs, len(x)), x, strict=True))
    if isinstance(x, np.ndarray):
        if len(names) > 1:
            raise DataError(f"one array, but the model has {len(names)} inputs; give a mapping with {', '.join(names)}")
        return {names[0]: x}
    if len(x) == 1 and len(names) == 1:
        return dict(zip(names, x.values(), strict=True))
    missing = [n for n in names if n not in x]
    if missing:
        raise DataError(f"input {missing[0]!r} is missing; found {', '.join(x) or 'none'}, the model takes {', '.join(names)}")
    return {n: x[n] for n in names}


def _common_length(named: Mapping[str, np.ndarray]) -> int:
    if not named:
        raise DataError("the model takes no inputs, so that there is nothing to give it; export it with its inputs")
    scalar = next((n for n, a in named.items() if a.ndim == 0), None)
    if scalar is not None:
        raise DataError(f"input {scalar!r} is a single number; give [n, ...] with one row for each sample")
    lengths = {n: len(a) for n, a in named.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"inputs have different numbers of samples ({', '.join(f'{n} {k}' for n, k in lengths.items())})")
    count = next(iter(lengths.values()))
    if count == 0:
        raise DataError("holds no samples (axis 0 has length 0)")
    return count


def move_axes(sample: tuple[int, ...], spec: InputSpec) -> Move | None:
    """How a sample of shape ``sample`` becomes ``spec``'s: as it is, channel axis moved, axes of length 1 apart; or None."""
    if sample == spec.sample:
        return Move()
    if len(sample) == len(spec.sample) == 3:
        c, h, w = sample
        if (h, w, c) == spec.sample:
            return Move("nchw to nhwc", (1, 2, 0))
        h, w, c = sample
        if (c, h, w) == spec.sample:
            return Move("nhwc to nchw", (2, 0, 1))
    if [d for d in sample if d != 1] == [d for d in spec.sample if d != 1]:
        return Move(f"{list(sample)} to {list(spec.sample)}")
    return None


def check_channels(inputs: tuple[InputSpec, ...]) -> None:
    """DataError for images ``[n, k, k, k]``: torch has their channels first, the graph last, and sizes do not tell which."""
    for spec in inputs:
        if len(spec.sample) == 3 and len(set(spec.sample)) == 1 and spec.sample[0] > 1:
            raise DataError(
                f"the module's images {['n', *spec.sample]} look alike with channels first and last; say which: "
                "graph = intact.load(module, sample), then intact.quantize(graph, x) with channels last, x.permute(0, 2, 3, 1)"
            )


def _fit(array: np.ndarray, spec: InputSpec) -> Move:
    move = move_axes(array.shape[1:], spec)
    if move is not None:
        return move
    hint = "reshape or resize them first"
    if move_axes(array.shape, spec) is not None:
        hint = "for a single sample add an axis: x[None]"
    elif (
        array.ndim > 1
        and spec.shape[:1] == array.shape[1:2]
        and array.shape[1] > 1
        and move_axes(array.shape[2:], spec) is not None
    ):
        hint = (
            f"the model's first axis, of {spec.shape[0]}, is where samples are counted: export it with the batch there "
            "(batch_first=True in PyTorch; states that begin as zeros are best left out)"
        )
    elif math.prod(array.shape[1:]) == math.prod(spec.sample):
        hint = f"reshape them first: x.reshape(-1, {', '.join(map(str, spec.sample))})"
    raise DataError(f"samples of shape {list(array.shape[1:])} (sample 0) do not fit {spec}; {hint}")


def _check_values(array: np.ndarray, spec: InputSpec, name: Callable[[int], str]) -> None:
    """Every value must be finite in the input's dtype; whole and in range where that is an integer."""
    step = max(1, _CHECK // max(1, math.prod(array.shape[1:])))
    to_float = spec.dtype.startswith("float")
    if (to_float and array.dtype.kind != "f") or (array.dtype == np.dtype(spec.dtype) and not to_float):
        return
    for start in range(0, len(array), step):
        rows = array[start : start + step].reshape(min(step, len(array) - start), -1)
        if to_float:
            with np.errstate(over="ignore"):
                good = np.isfinite(rows.astype(spec.dtype, copy=False)).all(1)
            why = "holds NaN or infinity"
        else:
            limits = np.iinfo(spec.dtype) if spec.dtype != "bool" else None
            low, high = (0, 1) if limits is None else (limits.min, limits.max)
            good = ((rows >= low) & (rows <= high) & (rows == np.floor(rows) if rows.dtype.kind == "f" else True)).all(1)
            why = f"holds values that {spec.dtype} cannot hold, which input {spec.name!r} takes"
        if not good.all():
            bad = start + int(np.argmin(good))
            raise DataError(f"{name(bad)} {why}; remove or repair it")
        forget(array)


def _remarks(array: np.ndarray, spec: InputSpec, move: Move) -> tuple[Finding, ...]:
    found: tuple[Finding, ...] = ()
    if move.axes is not None:
        found += (Finding("transposed", f"samples of shape {list(array.shape[1:])} were taken {move.says} for {spec}"),)
    if array.dtype == np.uint8 and spec.dtype.startswith("float"):
        found += (
            Finding(
                "uint8-values",
                f"uint8 samples go to {spec} as they are, as 0 to 255; if the model was trained on another range, "
                "scale them first, or give image files",
            ),
        )
    return found

"""The sample input of a ``.pt2``, which torch pickles: read here as data, so that nothing pickled is ever loaded.

The entry is what ``torch.save((args, kwargs))`` writes: a zip of one pickle and of raw numbers. The pickle is a program for a
stack machine; this one knows only how to make tuples, lists, dictionaries, numbers, texts and descriptions of tensors.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, final

from intact.errors import ModelError, UnsupportedError
from intact.runtime.scripts import zips

#: torch's storage classes, with its own name of the type and the bytes of a number.
_STORAGES: Final[Mapping[str, tuple[str, int]]] = MappingProxyType(
    {
        "DoubleStorage": ("float64", 8),
        "FloatStorage": ("float32", 4),
        "HalfStorage": ("float16", 2),
        "BFloat16Storage": ("bfloat16", 2),
        "LongStorage": ("int64", 8),
        "IntStorage": ("int32", 4),
        "ShortStorage": ("int16", 2),
        "CharStorage": ("int8", 1),
        "ByteStorage": ("uint8", 1),
        "BoolStorage": ("bool", 1),
    }
)
#: Numbers in one input.
_MOST: Final = 1 << 28
_LONGEST_PICKLE: Final = 1 << 22


@final
@dataclass(frozen=True)
class _Name:
    """Something that the pickle names: a function or a class, which is not looked up."""

    text: str


@final
@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    width: int


@final
@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


class _OddError(Exception):
    """The pickle does what no sample needs."""


def read(data: bytes, folder: Path, advice: str) -> list[dict[str, Any]]:
    """A JSON object for each input of a program: its keyword or None, and where its numbers lie, written to ``folder``.

    Raises ModelError for anything but plain tensors in the arguments, with ``advice``.
    """
    try:
        with zips.opened(io.BytesIO(data), ratio=1) as archive:
            names = archive.namelist()
            (pickled,) = (name for name in names if name.endswith("/data.pkl"))
            root = pickled.removesuffix("data.pkl")
            if f"{root}byteorder" in names and zips.read(archive, f"{root}byteorder") != b"little":
                raise _OddError
            args, kwargs = _arguments(_run(zips.read(archive, pickled)))
            found = [(None, x) for x in args] + list(kwargs.items())
            if not found or not all(isinstance(x, _Tensor) for _, x in found):
                raise UnsupportedError(
                    "its inputs are not plain tensors; wrap the module so that forward takes tensors, and export again"
                )
            for key in {x.storage.key for _, x in found}:
                (folder / f"storage{key}").write_bytes(zips.read(archive, f"{root}data/{key}"))
    except (zips.UnsoundError, _OddError, ValueError) as error:
        raise ModelError(f"its sample inputs are not plain tensors, and may run any code; {advice}") from error
    return [_described(name, x, folder, advice) for name, x in found]


def _described(name: str | None, tensor: _Tensor, folder: Path, advice: str) -> dict[str, Any]:
    """The tensor as JSON, if all of it lies within its numbers."""
    path = folder / f"storage{tensor.storage.key}"
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.sizes, tensor.strides, strict=True))
    count = math.prod(tensor.sizes)
    if count > _MOST or (count and (last + 1) * tensor.storage.width > path.stat().st_size):
        raise ModelError(f"its sample inputs are larger than what the file holds of them; {advice}")
    place = {"sizes": tensor.sizes, "strides": tensor.strides, "offset": tensor.offset}
    return {"name": name, "file": str(path), "dtype": tensor.storage.dtype, **place}


def _arguments(made: Any) -> tuple[Any, Any]:
    match made:
        case (tuple() | list() as args, dict() as kwargs) if all(isinstance(key, str) for key in kwargs):
            return args, kwargs
    raise _OddError


def _run(program: bytes) -> Any:
    """What the pickle makes."""
    if len(program) > _LONGEST_PICKLE:
        raise _OddError
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    marks: list[int] = []

    def after_mark() -> list[Any]:
        start = marks.pop()
        found = stack[start:]
        del stack[start:]
        return found

    def remember(at: int | None) -> None:
        memo[len(memo) if at is None else at] = stack[-1]

    def pairs(into: dict[Any, Any], flat: list[Any]) -> None:
        into.update(zip(flat[::2], flat[1::2], strict=True))

    steps: Mapping[str, Callable[[Any], object]] = {
        "PROTO": lambda _: None,
        "FRAME": lambda _: None,
        "MARK": lambda _: marks.append(len(stack)),
        "NONE": lambda _: stack.append(None),
        "NEWTRUE": lambda _: stack.append(True),
        "NEWFALSE": lambda _: stack.append(False),
        **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"), stack.append),
        "EMPTY_TUPLE": lambda _: stack.append(()),
        "EMPTY_LIST": lambda _: stack.append([]),
        "EMPTY_DICT": lambda _: stack.append({}),
        "TUPLE": lambda _: stack.append(tuple(after_mark())),
        "TUPLE1": lambda _: stack.append((stack.pop(),)),
        "TUPLE2": lambda _: stack.append((stack.pop(-2), stack.pop())),
        "TUPLE3": lambda _: stack.append((stack.pop(-3), stack.pop(-2), stack.pop())),
        "APPEND": lambda _: stack[-2].append(stack.pop()),
        "APPENDS": lambda _: stack[marks[-1] - 1].extend(after_mark()),
        "SETITEM": lambda _: pairs(stack[-3], [stack.pop(-2), stack.pop()]),
        "SETITEMS": lambda _: pairs(stack[marks[-1] - 1], after_mark()),
        **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), remember),
        **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda at: stack.append(memo[at])),
        "GLOBAL": lambda text: stack.append(_Name(text.replace(" ", "."))),
        "STACK_GLOBAL": lambda _: stack.append(_Name(f"{stack.pop(-2)}.{stack.pop()}")),
        "BINPERSID": lambda _: stack.append(_storage(stack.pop())),
        "REDUCE": lambda _: stack.append(_call(stack.pop(-2), stack.pop())),
        "STOP": lambda _: None,
    }
    try:
        for code, argument, _ in pickletools.genops(program):
            steps[code.name](argument)
        (made,) = stack
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise _OddError from error
    return made


def _storage(identity: Any) -> _Storage:
    match identity:
        case ("storage", _Name(text), str(key), str(), int()) if key.isascii() and key.isdecimal():
            return _Storage(key, *_STORAGES[text.removeprefix("torch.")])
    raise _OddError


def _call(function: Any, arguments: Any) -> Any:
    match function, arguments:
        case _Name("torch._utils._rebuild_tensor_v2"), (_Storage() as storage, int(offset), tuple(sizes), tuple(strides), *_):
            places = (offset, *sizes, *strides)
            if len(sizes) == len(strides) and all(type(n) is int and 0 <= n <= _MOST for n in places):
                return _Tensor(storage, offset, sizes, strides)
        case _Name("torch._utils._rebuild_parameter"), (_Tensor() as tensor, *_):
            return tensor
        case _Name("collections.OrderedDict"), ():
            return {}
    raise _OddError

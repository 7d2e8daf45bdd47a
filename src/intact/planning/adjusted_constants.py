"""What remedies changed in a float network: constants and options of ops, as a value that is saved beside a plan and put back.

The file beside plan.json is an .npz without pickles: ``about`` is JSON (its version, the digest of the network before the
changes, and every changed op with all its options), ``constant 12`` the data of tensor 12.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from tokenize import TokenError
from typing import Any, Final, Literal, final, get_args, get_origin, get_type_hints

import numpy as np

from intact import reading
from intact.errors import IntactError, OptionError
from intact.network.graph import Graph, Op
from intact.network.verify import verify

#: How the file is called that lies beside plan.json.
FILE: Final = "plan.npz"
_CONSTANT: Final = "constant "
#: Of the file's form.
_VERSION: Final = 1
#: What no option reaches.
_LARGEST_OPTION: Final = 2**31
#: Bytes of the whole file: the constants of any network that can be converted.
_LARGEST: Final = 1 << 34
#: The most that ``about`` and what stands before the numbers of an array may take.
_MOST_ABOUT: Final = 1 << 24
_MOST_HEADER: Final = 1 << 10
#: What reading a damaged file raises, and what the verifier says of a network that no remedy makes.
_DAMAGE: Final = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, SyntaxError, OSError, EOFError),
    *(MemoryError, zipfile.BadZipFile, zlib.error, struct.error, TokenError, IntactError),
)


@final
class _ForeignError(ValueError):
    """What is wrong with a file, in words for whoever has it."""


@final
@dataclass(frozen=True)
class Adjusted:
    """The changes behind a plan: the ``file`` beside it, its SHA-256 in hex, and its bytes, None where it is not there.

    Without changes there is no file: all three are empty.
    """

    file: str = ""
    sha256: str = ""
    data: bytes | None = field(default=None, repr=False)

    @staticmethod
    def between(before: Graph, after: Graph) -> Adjusted:
        """What was changed from ``before`` to ``after``, which has the same tensors and ops."""
        arrays = changes(before, after)
        if len(arrays) == 1 and not _kinds(arrays):
            return Adjusted("", "", b"")
        about = {"version": _VERSION, "graph": digest(before), "kinds": _kinds(arrays)}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return Adjusted(FILE, hashlib.sha256(file.getvalue()).hexdigest(), file.getvalue())

    def beside(self, plan: Path, instead: str) -> Adjusted:
        """This with the bytes of the file beside ``plan``, None where there is none; OptionError where it is another file."""
        path = plan.with_name(self.file) if self.file else plan
        try:
            data = reading.content(path, OptionError, _LARGEST) if self.file else b""
        except OptionError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return self
            raise OptionError(f"{path} {error.message}; {instead}") from error
        if self.file and hashlib.sha256(data).hexdigest() != self.sha256.lower():
            raise OptionError(
                f"{path} is damaged or of another run: its SHA-256 is not the one that {plan.name} names; "
                f"copy both files from one run folder, or {instead}"
            )
        return replace(self, data=data)

    def on(self, graph: Graph, instead: str) -> Graph:
        """``graph``, as it was before, with the changes. OptionError where the bytes are not what Intact wrote for it."""
        if not self.file or self.data is None:
            return graph
        try:
            return verify(changed(graph, _unpacked(self.data, graph)))
        except _ForeignError as error:
            raise OptionError(f"{self.file} {error}; {instead}") from error
        except _DAMAGE as error:
            raise OptionError(f"{self.file} is not what Intact wrote beside the plan; {instead}") from error


def _unpacked(data: bytes, graph: Graph) -> dict[str, np.ndarray]:
    """What the file holds, each array no larger than the constant of ``graph`` that it is for, once it is known to be of it."""
    if not data.startswith(b"PK"):
        raise ValueError("no archive")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        if len(members) != len(archive.infolist()) or any(m.compress_type != zipfile.ZIP_STORED for m in members.values()):
            raise ValueError("an archive that np.savez does not write")
        _check_size(members["about"], _MOST_ABOUT)
        about = json.loads(_array(archive, members.pop("about")).tobytes())
        if about["version"] != _VERSION:
            raise _ForeignError(f"is of version {about['version']}, and this Intact reads version {_VERSION}")
        if about["graph"] != digest(graph):
            raise _ForeignError("holds the constants of another model than this, or of other weights")
        constants = {f"{_CONSTANT}{t.id}": t for t in graph.constants() if t.is_float}
        for name, member in members.items():
            if name not in constants:
                raise _ForeignError(f"changes {name!r}, which is no constant of this model that remedies change")
            _check_size(member, np.asarray(constants[name].data).nbytes + _MOST_HEADER)
        held = {name: _array(archive, member) for name, member in members.items()}
    return {"about": np.frombuffer(json.dumps(about).encode(), np.uint8), **held}


def _check_size(member: zipfile.ZipInfo, most: int) -> None:
    if member.file_size > most:
        raise _ForeignError(f"has {member.file_size:,} bytes for {member.filename!r}, more than that can be")


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    return np.asarray(np.lib.format.read_array(io.BytesIO(archive.read(member)), allow_pickle=False))


def changes(before: Graph, after: Graph) -> dict[str, np.ndarray]:
    """The constants of ``after`` that are not those of ``before``, by tensor id, and the ops with other options, as arrays."""
    held = {
        f"{_CONSTANT}{t.id}": np.asarray(t.data)
        for t in after.constants()
        if t.data is not before[t.id].data and not _same(np.asarray(t.data), before[t.id].data)
    }
    kinds = {
        str(op.output): {"kind": op.kind.name, "options": {f.name: getattr(op.kind, f.name) for f in fields(op.kind)}}  # type: ignore[arg-type]
        for op, was in zip(after.ops, before.ops, strict=True)
        if op.kind != was.kind
    }
    return {"about": np.frombuffer(json.dumps({"kinds": kinds}).encode(), np.uint8), **held}


def changed(graph: Graph, arrays: Mapping[str, np.ndarray]) -> Graph:
    """``graph`` with what :func:`changes` found. ValueError where that cannot be of this graph."""
    tensors, kinds = dict(graph.tensors), _kinds(arrays)
    for name, data in arrays.items():
        if name == "about":
            continue
        i = int(name.removeprefix(_CONSTANT))
        was = graph.tensors[i].data if i in graph.tensors else None
        if was is None:
            raise _ForeignError(f"changes tensor {i}, which is no constant of this model")
        if (data.shape, data.dtype) != (was.shape, was.dtype):
            raise _ForeignError(f"has {data.dtype} {data.shape} for tensor {i}, which is {was.dtype} {was.shape}")
        if data.dtype.kind == "f" and not np.isfinite(data[np.isfinite(was)]).all():
            raise _ForeignError(f"has numbers for tensor {i} that are not finite")
        tensors[i] = replace(graph[i], data=data)
    unknown = kinds.keys() - {str(op.output) for op in graph.ops}
    if unknown:
        raise _ForeignError(f"changes the op that makes tensor {min(unknown)}, which no op of this model does")
    ops = tuple(_of_kind(op, kinds[str(op.output)]) if str(op.output) in kinds else op for op in graph.ops)
    return replace(graph, tensors=tensors, ops=ops)


def digest(graph: Graph) -> str:
    """SHA-256 in hex of what ``graph`` computes: its ops with the options that are not their kind's usual ones, and its
    constants. Names have no part in it, nor options that a later version may add.
    """
    found = hashlib.sha256()
    for op in graph.ops:
        found.update(repr((op.kind.name, _unusual(op), op.inputs, op.outputs)).encode())
    for t in sorted(graph.constants(), key=lambda t: t.id):
        data = np.ascontiguousarray(t.data)
        found.update(repr((t.id, data.shape, str(data.dtype))).encode())
        found.update(data.tobytes())
    return found.hexdigest()


def _unusual(op: Op) -> tuple[tuple[str, str], ...]:
    """Options by name that differ from the default of the op's kind; a runtime's kernel is of this process alone."""
    options = (f for f in fields(op.kind) if f.compare)  # type: ignore[arg-type]
    held = ((f.name, getattr(op.kind, f.name), f.default) for f in options)
    return tuple(sorted((name, repr(value)) for name, value, usual in held if repr(value) != repr(usual)))


def _same(one: np.ndarray, other: np.ndarray | None) -> bool:
    """Whether the two hold the same bits."""
    return other is not None and one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _kinds(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    kinds: dict[str, Any] = json.loads(arrays["about"].tobytes())["kinds"]
    return kinds


def _of_kind(op: Op, row: Mapping[str, Any]) -> Op:
    """``op`` with all options that ``row`` names, which is of the same kind and has options of the same types."""
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in row["options"].items()}
    if row["kind"] != op.kind.name:
        raise _ForeignError(f"has {row['kind']} where tensor {op.output} is made by {op.kind.name}")
    hints = get_type_hints(type(op.kind))
    for name, value in options.items():
        was, allowed = getattr(op.kind, name), get_args(hints[name]) if get_origin(hints[name]) is Literal else None
        fits = value in allowed if allowed else _shape_of(value) == _shape_of(was)
        if not fits:
            raise _ForeignError(f"has {value!r} for {name} of {op.kind.name}")
    return replace(op, kind=type(op.kind)(**options))


def _shape_of(value: object) -> object:
    """What values of one option have in common: the types of them and of what they hold, and that no number is huge."""
    if isinstance(value, tuple):
        return tuple, frozenset(_shape_of(v) for v in value or (0,))
    in_bounds = not isinstance(value, int | float) or abs(value) < _LARGEST_OPTION
    return type(value), in_bounds

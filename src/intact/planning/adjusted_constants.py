"""What remedies changed in a float network: constants and options of ops, as a value that is saved beside a plan and put back.

The file beside plan.json is an .npz without pickles: ``about`` is JSON (the digest of the network before the changes, and every
changed op with all its options), ``constant 12`` the data of tensor 12.
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

from intact.errors import IntactError, OptionError
from intact.network.graph import Graph, Op
from intact.network.verify import verify

#: How the file is called that lies beside plan.json.
FILE: Final = "plan.npz"
_CONSTANT: Final = "constant "
#: What reading a damaged file raises, and what the verifier says of a network that no remedy makes.
_DAMAGE: Final = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError, SyntaxError, OSError, EOFError),
    *(MemoryError, zipfile.BadZipFile, zlib.error, struct.error, TokenError, IntactError),
)


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
        about = {"graph": digest(before), "kinds": _kinds(arrays)}
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return Adjusted(FILE, hashlib.sha256(file.getvalue()).hexdigest(), file.getvalue())

    def beside(self, plan: Path, instead: str) -> Adjusted:
        """This with the bytes of the file beside ``plan``, None where there is none; OptionError where it is another file."""
        path = plan.with_name(self.file) if self.file else plan
        try:
            data = path.read_bytes() if self.file else b""
        except FileNotFoundError:
            return self
        except OSError as error:
            raise OptionError(f"{path} cannot be read ({error.strerror or error}); {instead}") from error
        if self.file and hashlib.sha256(data).hexdigest() != self.sha256:
            raise OptionError(
                f"{path} is damaged or of another run: its SHA-256 is not the one that {plan.name} names; "
                f"copy both files from one run folder, or {instead}"
            )
        return replace(self, data=data)

    def on(self, graph: Graph, instead: str) -> Graph:
        """``graph``, as it was before, with the changes. OptionError where the bytes are not what Intact wrote for it."""
        if not self.data:
            return graph
        try:
            with np.load(io.BytesIO(self.data), allow_pickle=False) as held:
                arrays = dict(held)
            is_foreign = json.loads(arrays["about"].tobytes())["graph"] != digest(graph)
            made = graph if is_foreign else verify(changed(graph, arrays))
        except _DAMAGE as error:
            raise OptionError(f"{self.file} is not what Intact wrote beside the plan ({error}); {instead}") from error
        if is_foreign:
            raise OptionError(f"{self.file} holds the constants of another model than this, or of other weights; {instead}")
        return made


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
            raise ValueError(f"tensor {i} is no constant of this model")
        if (data.shape, data.dtype) != (was.shape, was.dtype):
            raise ValueError(f"tensor {i} is {was.dtype} {was.shape}, and {data.dtype} {data.shape} there")
        if data.dtype.kind == "f" and not np.isfinite(data[np.isfinite(was)]).all():
            raise ValueError(f"tensor {i} holds numbers that are not finite")
        tensors[i] = replace(graph[i], data=data)
    unknown = kinds.keys() - {str(op.output) for op in graph.ops}
    if unknown:
        raise ValueError(f"no op of this model makes tensor {min(unknown)}")
    ops = tuple(_of_kind(op, kinds[str(op.output)]) if str(op.output) in kinds else op for op in graph.ops)
    return replace(graph, tensors=tensors, ops=ops)


def digest(graph: Graph) -> str:
    """SHA-256 in hex of what ``graph`` computes: its ops with their options, and its constants; names have no part in it."""
    found = hashlib.sha256()
    for op in graph.ops:
        found.update(repr((op.kind.name, op.kind, op.inputs, op.outputs)).encode())
    for t in sorted(graph.constants(), key=lambda t: t.id):
        data = np.ascontiguousarray(t.data)
        found.update(json.dumps([t.id, data.shape, str(data.dtype)]).encode())
        found.update(data.tobytes())
    return found.hexdigest()


def _same(one: np.ndarray, other: np.ndarray | None) -> bool:
    """Whether the two hold the same bits."""
    return other is not None and one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _kinds(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    kinds: dict[str, Any] = json.loads(arrays["about"].tobytes())["kinds"]
    return kinds


def _of_kind(op: Op, row: Mapping[str, Any]) -> Op:
    """``op`` with all options that ``row`` names, which is of the same kind."""
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in row["options"].items()}
    if row["kind"] != op.kind.name:
        raise ValueError(f"the op that makes tensor {op.output} is {op.kind.name}, and {row['kind']} there")
    for name, hint in get_type_hints(type(op.kind)).items():
        if get_origin(hint) is Literal and options[name] not in get_args(hint):
            raise ValueError(f"{options[name]!r} is no {name} of {op.kind.name}")
    return replace(op, kind=type(op.kind)(**options))

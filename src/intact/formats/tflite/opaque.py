"""Ops that Intact does not know, between a .tflite file and the graph: how they are spelled, and who computes them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import flatbuffers
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema

from intact import scratch
from intact.errors import IntactError, ModelError, UnsupportedError, located
from intact.formats.tflite.op_rows import CODES, NAMES, UNIONS
from intact.formats.tflite.values import ints
from intact.network.graph import Graph, Op, Signature, Tensor
from intact.network.shapes import concrete
from intact.ops.opaque import Opaque, Port, Spelling, leads_with_a_sample
from intact.runtime.child import Conversation

#: Makes a .tflite of a graph.
Writer: TypeAlias = Callable[[Graph], bytes]

_CUSTOM: Final = CODES["CUSTOM"]
#: How many rows these give depends on what the numbers are.
_DATA_SIZED: Final = frozenset(
    {"WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "SEGMENT_SUM", "HASHTABLE_LOOKUP"}
)
#: Not an op of the network, or one that keeps or shares something beside its tensors.
_NO_OPS: Final = frozenset({"DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES", "RNN", "SVDF", "LSTM"})
#: Seconds that one op may take for one sample.
_SILENCE: Final = 120.0
#: The second union of options tables, which the ops of StableHLO use.
_UNIONS_2: Final[Mapping[str, int]] = {n: c for n, c in vars(schema.BuiltinOptions2).items() if n[0] != "_"}


def name_of(code: int, custom: bytes) -> str:
    """What messages and ``--keep-float`` call the op: ``RFFT2D``, ``CUSTOM TFLite_Detection_PostProcess``."""
    if code == _CUSTOM:
        shown = "".join(c if c.isprintable() else "?" for c in custom.decode("utf-8", "replace"))
        return f"CUSTOM {shown}"
    return NAMES.get(code, f"BUILTIN {code}")


def read(
    op: Any, code: Any, data: bytes, tensors: Mapping[int, Tensor], ids: tuple[tuple[int | None, ...], tuple[int, ...]]
) -> Opaque:
    """The op of a file as an :class:`Opaque`; ``ids`` are of what it reads and writes.

    Raises UnsupportedError for one that is more than a function of its tensors: that calls other subgraphs or keeps state.
    """
    number, custom = max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), code.CustomCode() or b""
    name = name_of(number, custom)
    options = _options(op, name)
    if name in _NO_OPS or op.IntermediatesLength() or any(ints(op.MutatingVariableInputsAsNumpy())):
        raise UnsupportedError("keeps state or intermediate results; export the model without it, or cut the model before it")
    reads, makes = (tuple(None if i is None else _port(tensors[i]) for i in part) for part in ids)
    made = tuple(p for p in makes if p is not None)
    spelling = Spelling(number, int(code.Version()), custom, options, _custom_options(op, data))
    return Opaque(name, spelling, reads, made, leads_with_a_sample(reads, made) and name not in _DATA_SIZED)


def _port(t: Tensor) -> Port:
    return Port(concrete(t), t.format, t.is_constant)


def _options(op: Any, name: str) -> tuple[str, bytes] | None:
    """The table of builtin options by itself, through the schema's own classes: they read and write every field there is."""
    for table, kind, unions in (
        (op.BuiltinOptions(), op.BuiltinOptionsType(), UNIONS),
        (op.BuiltinOptions2(), op.BuiltinOptions2Type(), _UNIONS_2),
    ):
        if table is None or kind == 0:
            continue
        words = [word for word, number in unions.items() if number == kind]
        if not words:
            raise UnsupportedError("has options that are newer than this version of ai-edge-litert; update it")
        fields = _class(words[0]).InitFromBuf(table.Bytes, table.Pos)
        if any("subgraph" in field.lower() for field in vars(fields)):
            raise UnsupportedError(f"{name} runs other subgraphs (a loop, a branch, a function); export the inference alone")
        builder = flatbuffers.Builder(0)
        builder.Finish(fields.Pack(builder))
        return words[0], bytes(builder.Output())
    return None


def _class(table: str) -> Any:
    return vars(schema)[f"{table}T"]


def _custom_options(op: Any, data: bytes) -> bytes | None:
    """Bytes as they are: in the flatbuffer, or outside at (offset, size)."""
    start, size = op.LargeCustomOptionsOffset(), op.LargeCustomOptionsSize()
    if start > 1:
        if start + size > len(data):
            raise ModelError(f"has options that end at byte {start + size}, and the file has {len(data)}: it is cut off")
        return data[start : start + size]
    return None if op.CustomOptionsIsNone() else bytes(op.CustomOptionsAsNumpy()) if op.CustomOptionsLength() else b""


def write(builder: flatbuffers.Builder, spelling: Spelling) -> dict[str, int]:
    """The slots of the Operator table that hold the options."""
    slots: dict[str, int] = {}
    if spelling.options is not None:
        table, packed = spelling.options
        second = "2" if table not in UNIONS else ""
        slots[f"BuiltinOptions{second}Type"] = _UNIONS_2[table] if second else UNIONS[table]
        slots[f"BuiltinOptions{second}"] = int(_class(table).InitFromPackedBuf(packed).Pack(builder))
    if spelling.custom_options is not None:
        slots["CustomOptions"] = int(builder.CreateByteVector(spelling.custom_options))
    return slots


# ---- who computes them --------------------------------------------------------------------------------------------------


def with_kernels(graph: Graph, write_graph: Writer) -> Graph:
    """``graph`` whose opaque ops are computed by LiteRT, all in one child process that starts when the first is."""
    if not any(isinstance(op.kind, Opaque) for op in graph.ops):
        return graph
    runtime = _Runtime()
    ops = tuple(
        replace(op, kind=replace(op.kind, kernel=_Kernel(runtime, n, graph.label(op), partial(write_graph, alone(graph, op)))))
        if isinstance(op.kind, Opaque)
        else op
        for n, op in enumerate(graph.ops)
    )
    return replace(graph, ops=ops)


def alone(graph: Graph, op: Op) -> Graph:
    """The op as a network of its own: what it reads that is no constant, in order, gives what it writes."""
    reads = [None if i is None else replace(graph[i], id=n, name=f"x{n}") for n, i in enumerate(op.inputs)]
    makes = [replace(graph[i], id=len(reads) + n, name=f"y{n}") for n, i in enumerate(op.outputs)]
    flows = tuple(t.id for t in reads if t is not None and not t.is_constant)
    inputs = tuple(None if t is None else t.id for t in reads)
    outputs = tuple(t.id for t in makes)
    tensors = {t.id: replace(t, shape=concrete(t)) for t in (*reads, *makes) if t is not None}
    return Graph(tensors, (Op(op.kind, inputs, outputs),), flows, outputs, tuple[Signature, ...]())


@final
class _Runtime:
    """The child process that computes the opaque ops of one network, and their files in its folder."""

    def __init__(self) -> None:
        self.talk = Conversation("one_op_worker.py", what="LiteRT")
        self._lock = threading.Lock()

    def file(self, number: int, data: Callable[[], bytes]) -> Path:
        """File ``number``, which holds ``data``."""
        with self._lock:
            path = self.talk.scratch / f"{number}.tflite"
            if not path.exists():
                path.write_bytes(data())
            return path


@final
class _Kernel:
    """One op as LiteRT computes it: number ``number`` of its network."""

    def __init__(self, runtime: _Runtime, number: int, label: str, model: Callable[[], bytes]) -> None:
        self._runtime, self._number, self._label, self._model = runtime, number, label, model

    def __call__(self, runs: Sequence[Sequence[torch.Tensor]]) -> list[list[torch.Tensor]]:
        with scratch.folder(self._runtime.talk.scratch) as folder, located(f"op {self._label}"):
            given, made = folder / "inputs.npz", folder / "outputs.npz"
            arrays: dict[str, Any] = {f"{r}.{i}": x.numpy() for r, xs in enumerate(runs) for i, x in enumerate(xs)}
            np.savez(given, **arrays)
            model = self._runtime.file(self._number, self._model)
            request = {"model": str(model), "inputs": str(given), "outputs": str(made), "runs": len(runs)}
            answer = self._runtime.talk.ask(request, _SILENCE)
            if "model_error" in answer:
                raise _refused(answer["model_error"])
            with np.load(made, allow_pickle=False) as found:
                outputs = {tuple(map(int, key.split("."))): torch.from_numpy(found[key]) for key in found.files}
        count = len(outputs) // max(len(runs), 1)
        return [[outputs[r, o] for o in range(count)] for r in range(len(runs))]


def _refused(said: str) -> IntactError:
    return UnsupportedError(
        f"LiteRT cannot run it ({said}), so nothing behind it can be calibrated or measured; "
        "cut the model before it, and put it behind the quantized network in your application"
    )

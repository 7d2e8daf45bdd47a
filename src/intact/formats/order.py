"""The order of a converted network's inputs and outputs: the model's own, where a converter makes one up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from intact.network.graph import BY_NAME

#: Names in the model's order; None where only names are known.
Names: TypeAlias = Sequence[str] | None
#: Of a name that a converter's answer holds, so many characters are kept.
_LONGEST: Final = 256


def ordered(data: bytes, inputs: Names, outputs: Names, makers: Mapping[str, str] | None = None) -> bytes:
    """The .tflite ``data`` whose first subgraph lists its inputs and outputs, known by the names of its signature, so.

    Outputs whose order is not known stay as they are. Where several inputs' order is not known the file says so, for
    :attr:`intact.network.graph.Graph.order_is_known`: a tuple of arrays must not be bound to a converter's order.
    ``makers``: by output, what of the model makes it, which a converter gives a name of its own.
    """
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    subgraph = model.subgraphs[0]
    signature = model.signatureDefs[0] if model.signatureDefs else schema.SignatureDefT()
    were = list(subgraph.inputs), list(subgraph.outputs)
    taken, given = (
        _arranged(ids, names, entries or [])
        for ids, names, entries in ((were[0], inputs, signature.inputs), (were[1], outputs, signature.outputs))
    )
    subgraph.inputs, subgraph.outputs = taken or were[0], given or were[1]
    if taken is None and len(were[0]) > 1:
        model.buffers.append(schema.BufferT())
        entry = schema.MetadataT()
        entry.name, entry.buffer = BY_NAME, len(model.buffers) - 1
        model.metadata = [*(model.metadata or []), entry]
    elif (subgraph.inputs, subgraph.outputs) == were and not makers:
        return data
    for entry in signature.outputs or []:
        if entry.tensorIndex not in subgraph.inputs and (maker := (makers or {}).get(entry.name.decode())):
            subgraph.tensors[entry.tensorIndex].name = maker[:_LONGEST]
    return _packed(model, len(data))


def _arranged(ids: Sequence[int], names: Names, entries: Sequence[Any]) -> list[int] | None:
    """``ids`` in the order of ``names``; None when they are other names."""
    at = {entry.name.decode(): entry.tensorIndex for entry in entries}
    if names is None or len(names) != len(at) or set(names) != at.keys() or sorted(at.values()) != sorted(ids):
        return None
    return [at[name] for name in names]


@final
class _Aligned(schema.BufferT):  # type: ignore[misc]
    """A buffer whose data starts at a multiple of 16 bytes, as the schema asks and its own Python class does not."""

    def Pack(self, builder: Any) -> int:  # noqa: N802  # the schema's name
        data = 0
        if self.data is not None and len(self.data):
            payload = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(payload), 16)
            builder.head = builder.Head() - len(payload)
            builder.Bytes[builder.Head() : builder.Head() + len(payload)] = payload
            data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


def _packed(model: Any, size: int) -> bytes:
    aligned = []
    for buffer in model.buffers:
        aligned.append(_Aligned())
        aligned[-1].data = buffer.data
    model.buffers = aligned
    builder = flatbuffers.Builder(size + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())

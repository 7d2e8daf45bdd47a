"""Writes Graphs as .tflite files, through the flatbuffer schema of ai-edge-litert."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from intact.formats.tflite import archive, opaque, packing
from intact.formats.tflite.op_rows import CODES, DTYPES, UNIONS, Choice, Ints, Number, Pair, Triple, row, version
from intact.formats.tflite.states import Tables, Variables, stateful_operands, unseen_outputs, variable_tensors
from intact.formats.tflite.values import encode
from intact.network.graph import Graph, Op, Signature, Tensor
from intact.network.shapes import concrete
from intact.network.verify import verify
from intact.network.weighted import weighted
from intact.numbers.affine import PACKED, Affine
from intact.numbers.block_scales import BlockScales
from intact.ops.base import OpKind
from intact.ops.opaque import Opaque

_TYPES: Final = {dtype: code for code, dtype in DTYPES.items()}


def write(graph: Graph, *, kernels: bool = True, named: bool = False, packed: bool = False) -> bytes:
    """The .tflite file of ``graph``: verified first, deterministic, each repeated vector, string and constant stored once.

    ``named``: with the names of all tensors, which no device needs; else with those of inputs and outputs. ``packed``: with
    weights of few numbers as indices and tables, which TensorFlow Lite Micro decodes and LiteRT does not
    (:mod:`intact.formats.tflite.packing`), and without what it does not read.
    """
    verify(graph, kernels=kernels)
    weights = packing.packed_weights(graph) if packed else {}
    return archive.join(_Writer(graph, weights, named=named).model(), graph.archive)


def file_order(graph: Graph) -> tuple[int, ...]:
    """The ids of the tensors with which the main subgraph of the file begins, in its order; others may follow."""
    unseen = unseen_outputs(graph)
    return tuple(i for i in graph.tensors if i not in unseen)


@final
class _Writer(Tables):
    def __init__(self, graph: Graph, packed: Mapping[int, packing.Packed], *, named: bool = False) -> None:
        self.graph, self._named = graph, named
        self.packed = packed
        self.builder = flatbuffers.Builder(1 << 20)
        self._vectors: dict[tuple[str, bytes, int], int] = {}
        self._buffers: dict[bytes, int] = {b"": 0}
        self._codes: dict[tuple[int, int, bytes], int] = {}
        self.index = {i: n for n, i in enumerate(file_order(graph))}
        self._variable = variable_tensors(graph)
        self._more: list[int] = []
        self._block_scales: dict[int, int] = {}
        self._unscaled = packing.unscaled_biases(graph) if packed else frozenset[int]()

    def model(self) -> bytes:
        b = self.builder
        constants = {t.id: self.buffer(t) for t in self.graph.constants() if t.id not in self.packed}
        self._block_scales = {t.id: self._buffer_index(table.tobytes()) for t, table in _in_blocks(self.graph)}
        unpacked = Unpacking(self, self.packed)
        metadata = [(name, self._buffer_index(payload)) for name, payload in self.graph.metadata]
        kept = Variables(self)
        buffers = self.tables([self._write_buffer(payload) for payload in self._buffers])
        own = [unpacked.held(i) if i in self.packed else self.tensor(self.graph[i], constants.get(i, 0)) for i in self.index]
        # Ops that keep something add tensors; without one the list is complete here, and files are laid out as ever.
        keeps = bool(self.graph.states or self.packed or self._more) or any(row(op.kind.name).kept for op in self.graph.ops)
        complete = 0 if keeps else self.tables(own)
        ops = self.tables(
            [*kept.before(), *(table for op in self.graph.ops for table in self._ops(op, unpacked)), *kept.after()]
        )
        tensors = complete or self.tables([*own, *self._more])
        inputs, outputs = (
            self.vector(np.asarray([self.index[i] for i in ids], np.int32)) for ids in (self.graph.inputs, self.graph.outputs)
        )
        subgraph = self.table("SubGraph", Tensors=tensors, Inputs=inputs, Outputs=outputs, Operators=ops)
        subgraphs = self.tables([subgraph, *kept.subgraphs()])
        codes = self.tables([self._code(*code) for code in self._codes])
        entries = self.tables([self.table("Metadata", Name=self.string(name), Buffer=i) for name, i in metadata])
        signatures = self.tables([self._signature(s) for s in self.graph.signatures])
        description = self.string(self.graph.description)
        b.Finish(
            self.table(
                "Model",
                Version=3,
                OperatorCodes=codes,
                Subgraphs=subgraphs,
                Description=description,
                Buffers=buffers,
                Metadata=entries,
                SignatureDefs=signatures,
            ),
            b"TFL3",
        )
        return bytes(b.Output())

    def table(self, name: str, **slots: int | float | bool) -> int:
        """A table; the schema's functions leave out what is its default."""
        getattr(schema, f"{name}Start")(self.builder)
        for slot, value in slots.items():
            getattr(schema, f"{name}Add{slot}")(self.builder, value)
        return int(getattr(schema, f"{name}End")(self.builder))

    def tables(self, offsets: list[int]) -> int:
        """A vector of offsets; 0 (absent) when there are none."""
        if not offsets:
            return 0
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def vector(self, array: np.ndarray) -> int:
        """A vector of numbers, stored once however often it is asked for."""
        key = (str(array.dtype), array.tobytes(), array.size)
        if key not in self._vectors:
            self._vectors[key] = int(self.builder.CreateNumpyVector(array))
        return self._vectors[key]

    def string(self, text: str) -> int:
        return int(self.builder.CreateSharedString(text)) if text else 0

    def _buffer_index(self, payload: bytes) -> int:
        return self._buffers.setdefault(payload, len(self._buffers))

    def _write_buffer(self, payload: bytes) -> int:
        """A buffer whose data starts at a multiple of 16 bytes, as kernels want to map it."""
        data = 0
        if payload:
            b = self.builder
            b.StartVector(1, len(payload), 16)
            b.head = b.Head() - len(payload)
            b.Bytes[b.Head() : b.Head() + len(payload)] = payload
            data = int(b.EndVector())
        return self.table("Buffer", Data=data)

    def tensor(self, tensor: Tensor, buffer: int, *, variable: bool = False) -> int:
        t = tensor
        outside = t.id in self.graph.inputs or t.id in self.graph.outputs
        shape = self.vector(np.asarray(concrete(t), np.int32))
        signature = 0
        if outside and None in t.shape:
            signature = self.vector(np.asarray([-1 if n is None else n for n in t.shape], np.int32))
        name = self.string(t.name if outside or self._named or t.id not in self.index else self._short_name(t.id))
        quantization = 0
        if isinstance(t.format, Affine) and t.format.block_scales is not None:
            quantization = self._in_blocks(t.id, t.format.block_scales)
        elif isinstance(t.format, Affine) and t.id not in self._unscaled:
            scale = self.vector(np.asarray(t.format.scale, np.float32))
            zero_point = self.vector(np.asarray(self._zero_points(t.format), np.int64))
            quantization = self.table(
                "QuantizationParameters", Scale=scale, ZeroPoint=zero_point, QuantizedDimension=t.format.axis or 0
            )
        return self.table(
            "Tensor",
            Shape=shape,
            Type=_TYPES[t.format.dtype],
            Buffer=buffer,
            Name=name,
            Quantization=quantization,
            ShapeSignature=signature,
            HasRank=True,
            IsVariable=variable or t.id in self._variable,
        )

    def _in_blocks(self, i: int, own: BlockScales) -> int:
        """The quantization table of the weight ``i``; its scales are a tensor of their own, which no op reads."""
        shape, code = self.vector(np.asarray(own.table().shape, np.int32)), _TYPES["float16"]
        scales = self.more(self.table("Tensor", Shape=shape, Type=code, Buffer=self._block_scales[i], HasRank=True))
        details = self.table("BlockwiseQuantization", Scales=scales, ZeroPoints=-1, BlockSize=own.size)
        kind = schema.QuantizationDetails.BlockwiseQuantization
        return self.table("QuantizationParameters", DetailsType=kind, Details=details)

    def _short_name(self, i: int) -> str:
        """What tells a tensor from others for tools that go by names; TensorFlow Lite Micro does not."""
        return "" if self.packed else f"t{self.index[i]}"

    def _zero_points(self, fmt: Affine) -> tuple[int, ...]:
        """One for all channels where they are alike and TensorFlow Lite Micro reads the file; LiteRT wants them all."""
        return fmt.zero_point[:1] if self.packed and len(set(fmt.zero_point)) == 1 else fmt.zero_point

    def _ops(self, op: Op, unpacked: Unpacking) -> Iterator[int]:
        """The op, after the one that decodes weights for it."""
        here = {i: unpacked.made(i) for i in dict.fromkeys(op.reads) if i in self.packed}
        if here:
            yield unpacked.before(here, self._code_index(CODES["CUSTOM"], 1, packing.DECODE))
        yield self._op(op, here)

    def _op(self, op: Op, decoded: Mapping[int, int]) -> int:
        code, options = self._opaque(op.kind) if isinstance(op.kind, Opaque) else self._known(op)
        # A bias that is left out is not listed: CONV_2D refuses the -1 that FULLY_CONNECTED takes.
        known = max((n for n, i in enumerate(op.inputs, 1) if i is not None), default=0)
        given = len(op.inputs) if isinstance(op.kind, Opaque) else known
        reads = [-1 if i is None else decoded.get(i, self.index[i]) for i in op.inputs[:given]]
        writes = [self.index[i] for i in op.outputs if i in self.index]
        more = stateful_operands(self, op, reads) if row(op.kind.name).kept else {}
        inputs, outputs = (self.vector(np.asarray(ids, np.int32)) for ids in (reads, writes))
        return self.table("Operator", OpcodeIndex=code, Inputs=inputs, Outputs=outputs, **options, **more)

    def _known(self, op: Op) -> tuple[int, dict[str, int]]:
        """The operator code, and the slots that hold the options."""
        name, formats = op.kind.name, _formats(self.graph, op)
        options, union = self._options(op.kind, formats)
        return self.code(name, version(name, formats)), {"BuiltinOptionsType": union, "BuiltinOptions": options}

    def _opaque(self, kind: Opaque) -> tuple[int, dict[str, int]]:
        spelling = kind.spelling
        code = self._code_index(spelling.code, spelling.version, spelling.custom)
        return code, opaque.write(self.builder, spelling)

    def _code_index(self, code: int, op_version: int, custom: bytes) -> int:
        return self._codes.setdefault((code, op_version, custom), len(self._codes))

    def more(self, table: int) -> int:
        self._more.append(table)
        return len(self.index) + len(self._more) - 1

    def _options(self, kind: OpKind, formats: str) -> tuple[int, int]:
        spec = row(kind.name)
        if not spec.options:
            return 0, 0
        slots: dict[str, Any] = {**spec.always.get(formats, {})}
        for ours, theirs in spec.fields.items():
            value = getattr(kind, ours)
            match theirs:
                case Number(field):
                    slots[field] = value
                case Pair(height, width):
                    slots[height], slots[width] = value
                case Triple(depth, height, width):
                    slots[depth], slots[height], slots[width] = value
                case Ints(field):
                    slots[field] = self.vector(np.asarray(value, np.int32)) if value else 0
                case Choice(field, values):
                    slots[field] = next(code for code, word in values.items() if word == value)
        return self.table(spec.options, **slots), UNIONS[spec.options]

    def code(self, name: str, op_version: int = 1) -> int:
        return self._code_index(CODES[name], op_version, b"")

    def buffer(self, tensor: Tensor) -> int:
        return self._buffer_index(encode(tensor))

    def bytes_tensor(self, payload: bytes, buffer: int) -> int:
        """The table of a constant of bytes."""
        shape = self.vector(np.asarray([len(payload)], np.int32))
        return self.table("Tensor", Shape=shape, Type=_TYPES["uint8"], Buffer=buffer, HasRank=True)

    def bytes_buffer(self, payload: bytes) -> int:
        return self._buffer_index(payload)

    def _code(self, code: int, op_version: int, custom: bytes) -> int:
        name = int(self.builder.CreateString(custom)) if custom else 0
        known = min(code, 127)
        return self.table("OperatorCode", DeprecatedBuiltinCode=known, CustomCode=name, Version=op_version, BuiltinCode=code)

    def _signature(self, signature: Signature) -> int:
        inputs, outputs = (
            self.tables([self.table("TensorMap", Name=self.string(name), TensorIndex=self.index[i]) for name, i in pairs])
            for pairs in (signature.inputs, signature.outputs)
        )
        return self.table("SignatureDef", Inputs=inputs, Outputs=outputs, SignatureKey=self.string(signature.key))


@final
class Unpacking:
    """The packed weights of a file while it is written. Make it before the buffers are written."""

    def __init__(self, out: _Writer, packed: Mapping[int, packing.Packed]) -> None:
        self.out, self.packed = out, packed
        self._buffers = {i: [out.bytes_buffer(part) for part in (p.indices, p.ancillary)] for i, p in packed.items()}
        self._tables: dict[bytes, int] = {}

    def held(self, i: int) -> int:
        """The tensor of the indices."""
        return self.out.bytes_tensor(self.packed[i].indices, self._buffers[i][0])

    def made(self, i: int) -> int:
        """The index of a new tensor for what is decoded: it lives until the next op, so that each reader has its own."""
        return self.out.more(self.out.tensor(replace(self.out.graph[i], data=None), 0))

    def before(self, here: Mapping[int, int], code: int) -> int:
        """The op that makes the tensors ``here``, by the ids of the weights."""
        reads = [index for i in here for index in (self.out.index[i], self._ancillary(i))]
        inputs, outputs = (self.out.vector(np.asarray(ids, np.int32)) for ids in (reads, list(here.values())))
        return self.out.table("Operator", OpcodeIndex=code, Inputs=inputs, Outputs=outputs)

    def _ancillary(self, i: int) -> int:
        held = self.packed[i].ancillary
        if held not in self._tables:
            self._tables[held] = self.out.more(self.out.bytes_tensor(held, self._buffers[i][1]))
        return self._tables[held]


def _in_blocks(graph: Graph) -> Iterator[tuple[Tensor, np.ndarray]]:
    """The weights with a scale for each block, and these scales."""
    for t in graph.constants():
        if isinstance(t.format, Affine) and t.format.block_scales is not None:
            yield t, t.format.block_scales.table()


def _formats(graph: Graph, op: Op) -> str:
    """The key into an op kind's versions: what its activations and its weight are stored as."""
    found = weighted(graph, op)
    stored = "float32" if found is None else found.weight.format.dtype
    flows = [graph[i].format for i in (*op.reads, *op.outputs) if found is None or i != found.weight.id]
    dtypes = {fmt.dtype for fmt in flows if isinstance(fmt, Affine) and fmt.dtype not in ("int32", "int64")}
    if stored in PACKED:
        return "int4"
    if "int16" in dtypes:
        return "int16"
    if dtypes:
        return "int8"
    if found is not None and isinstance(found.weight.format, Affine):
        return "hybrid"
    return "float16" if any(fmt.dtype == "float16" for fmt in flows) else "float"

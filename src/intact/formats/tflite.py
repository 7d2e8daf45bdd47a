"""Reads .tflite files into Graphs and writes Graphs as .tflite files, through the flatbuffer schema of ai-edge-litert."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from intact.affine import Affine
from intact.errors import ModelError, UnsupportedError, located
from intact.formats import archive, flatbuffer, opaque, sparse
from intact.formats.tflite_ops import (
    CODES,
    DTYPES,
    NAMES,
    UNIONS,
    Choice,
    Ints,
    Number,
    OptionField,
    Pair,
    Triple,
    row,
    version,
)
from intact.formats.tflite_values import decode, encode, ints, number_format, text
from intact.graph import Graph, Op, Signature, Tensor
from intact.ops import KINDS
from intact.ops.base import OpKind
from intact.ops.blocks import SpaceToBatchNd
from intact.ops.opaque import Opaque
from intact.verify import concrete, infer, open_batch, verify

_CORRUPT: Final = (struct.error, ValueError, IndexError, TypeError, OverflowError, UnicodeDecodeError, AttributeError)
_TYPES: Final = {dtype: code for code, dtype in DTYPES.items()}


# ---- reading ------------------------------------------------------------------------------------------------------------


def read(source: Path | bytes, *, kernels: bool = True) -> Graph:
    """The verified graph of a .tflite file or its bytes; ``kernels`` as in :func:`intact.verify.verify`.

    Raises ModelError for a missing, truncated, corrupt or impossible file, UnsupportedError for what Intact cannot read.
    """
    if isinstance(source, bytes):
        return _parse(source, kernels)
    with located(str(source)):
        try:
            data = source.read_bytes()
        except FileNotFoundError:
            raise ModelError("there is no such file; check the path") from None
        except OSError as error:
            raise ModelError(f"cannot be read ({error.strerror}); check the path") from error
        return _parse(data, kernels)


def _parse(data: bytes, kernels: bool) -> Graph:
    flatbuffer.check(data)
    try:
        graph = _Reader(data).graph()
    except _CORRUPT as error:
        raise ModelError(f"is corrupt: {error}") from error
    with_kernels = opaque.with_kernels(graph, lambda alone: write(alone, kernels=False))
    return verify(open_batch(with_kernels), kernels=kernels)


class _Reader:
    """One pass over a buffer that ``flatbuffer.check`` let through; indices are still to be checked here."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.model = schema.Model.GetRootAs(data, 0)
        if self.model.SubgraphsLength() != 1:
            count = self.model.SubgraphsLength()
            raise UnsupportedError(
                f"holds {count} subgraphs (loops, branches or several functions); Intact takes one: export the inference alone"
            )
        self.subgraph = self.model.Subgraphs(0)
        self.inputs = ints(self.subgraph.InputsAsNumpy())
        self.open: set[int] = set()
        #: Whether the shapes that the file leaves open are open in the batch alone, so that what it records for 1 holds.
        self.settled = True

    def graph(self) -> Graph:
        outputs = {int(i) for op in self._operators() for i in ints(op.OutputsAsNumpy())}
        tensors = {i: self._tensor(i, i in outputs) for i in range(self.subgraph.TensorsLength())}
        inputs, results = (
            tuple(self._known(i, tensors) for i in ints(ids))
            for ids in (self.subgraph.InputsAsNumpy(), self.subgraph.OutputsAsNumpy())
        )
        ops, tensors = sparse.without_densify([self._op(op, tensors) for op in self._operators()], tensors)
        used = {*inputs, *results, *(i for op in ops for i in (*op.reads, *op.outputs))}
        graph = Graph(
            tensors={i: t for i, t in tensors.items() if i in used},
            ops=ops,
            inputs=inputs,
            outputs=results,
            signatures=tuple(self._signatures(tensors)),
            metadata=tuple(self._metadata()),
            description=text(self.model.Description()),
            archive=archive.split(self.data),
        )
        if self.settled and not any(isinstance(op.kind, SpaceToBatchNd) for op in ops):
            return graph
        shapes = infer(graph, recorded=False)  # the file leaves inner shapes open that follow from the inputs'
        known = {i: replace(t, shape=shapes.get(i, t.shape)) if i in self.open else t for i, t in graph.tensors.items()}
        return replace(graph, tensors=known)

    def _operators(self) -> Iterator[Any]:
        return (self.subgraph.Operators(i) for i in range(self.subgraph.OperatorsLength()))

    def _known(self, i: int, tensors: Mapping[int, Tensor]) -> int:
        if i not in tensors:
            raise ModelError(f"is corrupt: it uses tensor {i} and holds {len(tensors)}")
        return i

    def _tensor(self, i: int, computed: bool) -> Tensor:
        t = self.subgraph.Tensors(i)
        name = text(t.Name())
        with located(f"tensor {name!r}"):
            if t.IsVariable():
                raise UnsupportedError("is a variable that keeps state between calls; export the model without state")
            if t.Type() not in DTYPES:
                raise UnsupportedError(f"has element type {t.Type()}, which Intact does not know; use numbers")
            shape = tuple(ints(t.ShapeAsNumpy()))
            if any(n < 0 for n in shape):
                raise ModelError(f"has the impossible shape {list(shape)}")
            signature = ints(t.ShapeSignatureAsNumpy())
            if i in self.inputs and any(n < 0 for n in signature[1:]):
                raise UnsupportedError(
                    f"has the open shape {signature}; export the model with a fixed input size (open batch is fine)"
                )
            if any(n < 0 for n in signature):
                self.open.add(i)
                self.settled &= all(n >= 0 for n in signature[1:])
            dtype = DTYPES[t.Type()]
            payload = self._buffer(t.Buffer())
            data = None if computed or (not payload and 0 not in shape) else self._values(t, payload, dtype, shape)
            return Tensor(i, name, shape, number_format(t.Quantization(), dtype, shape), data)

    @staticmethod
    def _values(t: Any, payload: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        """The values of a constant, dense however they are stored."""
        if t.Sparsity() is None:
            return decode(payload, dtype, shape)
        if dtype == "int4":
            raise UnsupportedError("is stored sparse in 4 bits; export the model with dense weights")
        count = len(payload) // np.dtype(dtype).itemsize
        return sparse.densify(decode(payload, dtype, (count,)), t.Sparsity(), shape)

    def _buffer(self, index: int) -> bytes:
        """What a buffer holds: inside the flatbuffer, or outside at (offset, size)."""
        if index >= self.model.BuffersLength():
            raise ModelError(f"points to buffer {index} of {self.model.BuffersLength()}")
        buffer = self.model.Buffers(index)
        if buffer.Offset() > 1:
            end = buffer.Offset() + buffer.Size()
            if end > len(self.data):
                raise ModelError(f"ends at byte {end} and the file has {len(self.data)}: it is cut off")
            return self.data[buffer.Offset() : end]
        return b"" if buffer.DataLength() == 0 else bytes(buffer.DataAsNumpy())

    def _op(self, op: Any, tensors: Mapping[int, Tensor]) -> Op:
        if op.OpcodeIndex() >= self.model.OperatorCodesLength():
            raise ModelError("is corrupt: an op has no operator code")
        code = self.model.OperatorCodes(op.OpcodeIndex())
        name = NAMES.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "an unknown builtin")
        outputs = tuple(self._known(i, tensors) for i in ints(op.OutputsAsNumpy()))
        inputs = tuple(None if i == -1 else self._known(i, tensors) for i in ints(op.InputsAsNumpy()))
        if not outputs:
            raise ModelError(f"is corrupt: op {name} has no output")
        if name in KINDS:
            return Op(_kind(KINDS[name], op), inputs, outputs)
        with located(f"op {name} with output {tensors[outputs[0]].name!r}"):
            return Op(opaque.read(op, code, self.data, tensors, (inputs, outputs)), inputs, outputs)

    def _signatures(self, tensors: Mapping[int, Tensor]) -> Iterator[Signature]:
        for i in range(self.model.SignatureDefsLength()):
            s = self.model.SignatureDefs(i)
            pairs = [
                tuple((text(m.Name()), self._known(m.TensorIndex(), tensors)) for m in (at(j) for j in range(count)))
                for at, count in ((s.Inputs, s.InputsLength()), (s.Outputs, s.OutputsLength()))
            ]
            yield Signature(text(s.SignatureKey()), *pairs)

    def _metadata(self) -> Iterator[tuple[str, bytes]]:
        for i in range(self.model.MetadataLength()):
            entry = self.model.Metadata(i)
            yield text(entry.Name()), self._buffer(entry.Buffer())


def _kind(kind: type[OpKind], op: Any) -> OpKind:
    """The op kind with the options that the file gives it; absent options have the schema's defaults."""
    spec = row(kind.name)
    if not spec.options:
        return kind()
    raw = op.BuiltinOptions()
    if raw is None:
        return kind()
    options = getattr(schema, spec.options)()
    options.Init(raw.Bytes, raw.Pos)
    return kind(**{ours: _option(options, theirs, kind.name) for ours, theirs in spec.fields.items()})


def _option(options: Any, spec: OptionField, name: str) -> Any:
    match spec:
        case Number(field):
            return getattr(options, field)()
        case Pair(height, width):
            return getattr(options, height)(), getattr(options, width)()
        case Triple(depth, height, width):
            return tuple(getattr(options, field)() for field in (depth, height, width))
        case Ints(field):
            return tuple(ints(getattr(options, f"{field}AsNumpy")()))
        case Choice(field, values):
            code = getattr(options, field)()
            if code not in values:
                raise UnsupportedError(f"op {name} has {field} {code}, which Intact does not know")
            return values[code]


# ---- writing ------------------------------------------------------------------------------------------------------------


def write(graph: Graph, *, kernels: bool = True) -> bytes:
    """The .tflite file of ``graph``: verified first, deterministic, each repeated vector, string and constant stored once."""
    verify(graph, kernels=kernels)
    return archive.join(_Writer(graph).model(), graph.archive)


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = flatbuffers.Builder(1 << 20)
        self._vectors: dict[tuple[str, bytes, int], int] = {}
        self._buffers: dict[bytes, int] = {b"": 0}
        self._codes: dict[tuple[int, int, bytes], int] = {}
        self.index = {i: n for n, i in enumerate(graph.tensors)}

    def model(self) -> bytes:
        b = self.builder
        constants = {t.id: self._buffer_index(encode(t)) for t in self.graph.constants()}
        metadata = [(name, self._buffer_index(payload)) for name, payload in self.graph.metadata]
        buffers = self._tables([self._write_buffer(payload) for payload in self._buffers])
        tensors = self._tables([self._tensor(t, constants.get(t.id, 0)) for t in self.graph.tensors.values()])
        ops = self._tables([self._op(op) for op in self.graph.ops])
        inputs, outputs = (
            self._vector(np.asarray([self.index[i] for i in ids], np.int32)) for ids in (self.graph.inputs, self.graph.outputs)
        )
        subgraph = self._table("SubGraph", Tensors=tensors, Inputs=inputs, Outputs=outputs, Operators=ops)
        subgraphs = self._tables([subgraph])
        codes = self._tables([self._code(*code) for code in self._codes])
        entries = self._tables([self._table("Metadata", Name=self._string(name), Buffer=i) for name, i in metadata])
        signatures = self._tables([self._signature(s) for s in self.graph.signatures])
        description = self._string(self.graph.description)
        b.Finish(
            self._table(
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

    def _table(self, name: str, **slots: int | float | bool) -> int:
        """A table; the schema's functions leave out what is its default."""
        getattr(schema, f"{name}Start")(self.builder)
        for slot, value in slots.items():
            getattr(schema, f"{name}Add{slot}")(self.builder, value)
        return int(getattr(schema, f"{name}End")(self.builder))

    def _tables(self, offsets: list[int]) -> int:
        """A vector of offsets; 0 (absent) when there are none."""
        if not offsets:
            return 0
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def _vector(self, array: np.ndarray) -> int:
        """A vector of numbers, stored once however often it is asked for."""
        key = (str(array.dtype), array.tobytes(), array.size)
        if key not in self._vectors:
            self._vectors[key] = int(self.builder.CreateNumpyVector(array))
        return self._vectors[key]

    def _string(self, text: str) -> int:
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
        return self._table("Buffer", Data=data)

    def _tensor(self, t: Tensor, buffer: int) -> int:
        outside = t.id in self.graph.inputs or t.id in self.graph.outputs
        shape = self._vector(np.asarray(concrete(t), np.int32))
        signature = 0
        if outside and None in t.shape:
            signature = self._vector(np.asarray([-1 if n is None else n for n in t.shape], np.int32))
        name = self._string(t.name if outside else f"t{self.index[t.id]}")
        quantization = 0
        if isinstance(t.format, Affine):
            scale = self._vector(np.asarray(t.format.scale, np.float32))
            zero_point = self._vector(np.asarray(t.format.zero_point, np.int64))
            quantization = self._table(
                "QuantizationParameters", Scale=scale, ZeroPoint=zero_point, QuantizedDimension=t.format.axis or 0
            )
        return self._table(
            "Tensor",
            Shape=shape,
            Type=_TYPES[t.format.dtype],
            Buffer=buffer,
            Name=name,
            Quantization=quantization,
            ShapeSignature=signature,
            HasRank=True,
        )

    def _op(self, op: Op) -> int:
        code, options = self._opaque(op.kind) if isinstance(op.kind, Opaque) else self._known(op)
        # A bias that is left out is not listed: CONV_2D refuses the -1 that FULLY_CONNECTED takes.
        known = max((n for n, i in enumerate(op.inputs, 1) if i is not None), default=0)
        given = len(op.inputs) if isinstance(op.kind, Opaque) else known
        inputs = self._vector(np.asarray([-1 if i is None else self.index[i] for i in op.inputs[:given]], np.int32))
        outputs = self._vector(np.asarray([self.index[i] for i in op.outputs], np.int32))
        return self._table("Operator", OpcodeIndex=code, Inputs=inputs, Outputs=outputs, **options)

    def _known(self, op: Op) -> tuple[int, dict[str, int]]:
        """The operator code, and the slots that hold the options."""
        name, formats = op.kind.name, _formats(self.graph, op)
        options, union = self._options(op.kind, formats)
        code = self._code_index(CODES[name], version(name, formats), b"")
        return code, {"BuiltinOptionsType": union, "BuiltinOptions": options}

    def _opaque(self, kind: Opaque) -> tuple[int, dict[str, int]]:
        spelling = kind.spelling
        code = self._code_index(spelling.code, spelling.version, spelling.custom)
        return code, opaque.write(self.builder, spelling)

    def _code_index(self, code: int, op_version: int, custom: bytes) -> int:
        return self._codes.setdefault((code, op_version, custom), len(self._codes))

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
                    slots[field] = self._vector(np.asarray(value, np.int32)) if value else 0
                case Choice(field, values):
                    slots[field] = next(code for code, word in values.items() if word == value)
        return self._table(spec.options, **slots), UNIONS[spec.options]

    def _code(self, code: int, op_version: int, custom: bytes) -> int:
        name = int(self.builder.CreateString(custom)) if custom else 0
        known = min(code, 127)
        return self._table("OperatorCode", DeprecatedBuiltinCode=known, CustomCode=name, Version=op_version, BuiltinCode=code)

    def _signature(self, signature: Signature) -> int:
        inputs, outputs = (
            self._tables([self._table("TensorMap", Name=self._string(name), TensorIndex=self.index[i]) for name, i in pairs])
            for pairs in (signature.inputs, signature.outputs)
        )
        return self._table("SignatureDef", Inputs=inputs, Outputs=outputs, SignatureKey=self._string(signature.key))


def _formats(graph: Graph, op: Op) -> str:
    """The key into an op kind's versions: what its activations and its weight are stored as."""
    weight = op.kind.weight
    weight_id = None if weight is None else op.inputs[weight.input]
    stored = "float32" if weight_id is None else graph[weight_id].format.dtype
    flows = [graph[i].format for i in (*op.reads, *op.outputs) if i != weight_id]
    dtypes = {fmt.dtype for fmt in flows if isinstance(fmt, Affine) and fmt.dtype not in ("int32", "int64")}
    if stored == "int4":
        return "int4"
    if "int16" in dtypes:
        return "int16"
    if dtypes:
        return "int8"
    if weight_id is not None and isinstance(graph[weight_id].format, Affine):
        return "hybrid"
    return "float16" if any(fmt.dtype == "float16" for fmt in flows) else "float"

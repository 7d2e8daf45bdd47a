"""Reads .tflite files into Graphs, through the flatbuffer schema of ai-edge-litert."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ai_edge_litert import schema_py_generated as schema

from intact.errors import IntactError, ModelError, ResourceError, UnsupportedError, located
from intact.formats.tflite import archive, control, flatbuffer, loops, opaque, packing, sparse
from intact.formats.tflite.op_names import named
from intact.formats.tflite.op_rows import (
    DTYPES,
    NAMES,
    UNREAD,
    Choice,
    Ints,
    Number,
    OptionField,
    Pair,
    Triple,
    row,
)
from intact.formats.tflite.states import fused_states
from intact.formats.tflite.stored import Stored
from intact.formats.tflite.values import block_format, ints, number_format, of_blocks, text
from intact.formats.tflite.write import write
from intact.network.graph import ARENA_PLAN, Graph, Op, Signature, Tensor
from intact.network.shapes import infer, open_batch
from intact.network.verify import verify, well_formed
from intact.numbers.affine import Format, Index
from intact.ops import KINDS
from intact.ops.base import OpKind
from intact.ops.blocks import SpaceToBatchNd

#: A variable's handle: no numbers, and gone once the file is read.
_RESOURCE: Final = schema.TensorType.RESOURCE
_CONTROL_OPTIONS: Final = {
    "WHILE": "WhileOptions",
    "IF": "IfOptions",
    "CALL_ONCE": "CallOnceOptions",
    "VAR_HANDLE": "VarHandleOptions",
}


def read(source: Path | bytes, *, kernels: bool = True) -> Graph:
    """The verified graph of a .tflite file or its bytes; ``kernels`` as in :func:`intact.network.verify.verify`.

    Raises ModelError for a missing, truncated, corrupt or impossible file, UnsupportedError for what Intact cannot read.
    """
    if isinstance(source, bytes):
        return _parse(source, kernels)
    with located(str(source)):
        try:
            if source.exists() and not source.is_file():
                raise ModelError("is no file, but a folder, a pipe or a device; give the file")
            flatbuffer.check_size(source.stat().st_size)
            data = source.read_bytes()
        except FileNotFoundError:
            raise ModelError("there is no such file; check the path") from None
        except OSError as error:
            raise ModelError(f"cannot be read ({error.strerror}); check the path") from error
        return _parse(data, kernels)


def _parse(data: bytes, kernels: bool) -> Graph:
    """The one place where whatever an untrusted file makes other code raise becomes a sentence."""
    try:
        flatbuffer.check(data)
        graph = opaque.with_kernels(_read(data), lambda alone: write(alone, kernels=False))
        return verify(open_batch(named(well_formed(graph))), kernels=kernels)
    except IntactError:
        raise
    except MemoryError as error:
        raise ResourceError("takes more memory to read than there is; close other programs") from error
    except Exception as error:
        said = str(error).partition("\n")[0] or "it contradicts itself"
        raise ModelError(f"is corrupt: {said}") from error


def _read(data: bytes) -> Graph:
    """The graph of the first subgraph, with what others it runs in place of the ops that run them."""
    reader = _Reader(data, 0)
    block = reader.block()
    if not block.has_control:
        return reader.graph(block)
    others = [_Reader(data, n).block() for n in range(1, reader.model.SubgraphsLength())]
    return reader.graph(loops.unroll([block, *others]), inferred=True)


class _Reader:
    """One pass over a subgraph of a buffer that ``flatbuffer.check`` let through; indices are still to be checked here."""

    def __init__(self, data: bytes, number: int) -> None:
        self.data = data
        self.model = schema.Model.GetRootAs(data, 0)
        count = self.model.SubgraphsLength()
        if count == 0:
            raise ModelError("is corrupt: it holds no subgraph")
        self.number = number
        self.subgraph = self.model.Subgraphs(number)
        self.inputs = ints(self.subgraph.InputsAsNumpy())
        self.open: set[int] = set()
        self.variables: set[int] = set()
        self.stored = Stored(data, self.model)
        #: Whether the shapes that the file leaves open are open in the batch alone, so that what it records for 1 holds.
        self.settled = True

    def block(self) -> control.Block:
        outputs = {int(i) for op in self._operators() for i in ints(op.OutputsAsNumpy())}
        tensors = {i: self._tensor(i, i in outputs) for i in range(self.subgraph.TensorsLength())}
        inputs, results = (
            tuple(self._known(i, tensors) for i in ints(ids))
            for ids in (self.subgraph.InputsAsNumpy(), self.subgraph.OutputsAsNumpy())
        )
        ops, tensors = sparse.without_densify([self._op(op, tensors) for op in self._operators()], tensors)
        ops, tensors = packing.without_decode(ops, tensors)
        block = control.Block(text(self.subgraph.Name()), tensors, ops, inputs, results)
        return fused_states(block, self.variables) if self.variables else block

    def graph(self, block: control.Block, *, inferred: bool = False) -> Graph:
        """The graph of a block without control; ``inferred``: its tensors have the shapes that ops give them."""
        used = {*block.inputs, *block.outputs, *(i for op in block.ops for i in (*op.reads, *op.outputs))}
        used |= {i for state in block.states for i in (state.read, state.write)}
        graph = Graph(
            tensors={i: t for i, t in block.tensors.items() if i in used},
            ops=block.ops,
            inputs=block.inputs,
            outputs=block.outputs,
            signatures=tuple(self._signatures(block.tensors)),
            metadata=tuple(self._metadata()),
            description=text(self.model.Description()),
            states=block.states,
            archive=archive.split(self.data),
        )
        ops = block.ops
        if not graph.outputs:
            raise ModelError("holds a network without outputs; export it with them")
        if inferred:
            return graph
        if self.settled and not any(isinstance(op.kind, SpaceToBatchNd) for op in ops):
            return graph
        shapes = infer(well_formed(graph), recorded=False)  # the file leaves inner shapes open that follow from the inputs'
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
                self.variables.add(i)
            if t.Type() == _RESOURCE:
                return Tensor(i, name, (), Index("int32"))
            if t.Type() not in DTYPES:
                unknown = f"has element type {t.Type()}, which Intact does not know; use numbers"
                raise UnsupportedError(UNREAD.get(t.Type(), unknown))
            shape = tuple(ints(t.ShapeAsNumpy()))
            if any(n < 0 for n in shape):
                raise ModelError(f"has the impossible shape {list(shape)}")
            signature = ints(t.ShapeSignatureAsNumpy())
            if self.number == 0 and i in self.inputs and any(n < 0 for n in signature[1:]):
                raise UnsupportedError(
                    f"has the open shape {signature}; export the model with a fixed input size (open batch is fine)"
                )
            if any(n < 0 for n in signature):
                self.open.add(i)
                self.settled &= all(n >= 0 for n in signature[1:])
            dtype = DTYPES[t.Type()]
            data = None if computed else self.stored.values(t, dtype, shape)
            return Tensor(i, name, shape, self._format(t.Quantization(), dtype, shape), data)

    def _format(self, q: Any, dtype: str, shape: tuple[int, ...]) -> Format:
        table = of_blocks(q)
        if table is None:
            return number_format(q, dtype, shape)
        if not 0 <= table.Scales() < self.subgraph.TensorsLength():
            raise ModelError(f"has its scales in tensor {table.Scales()} of {self.subgraph.TensorsLength()}")
        held = self.subgraph.Tensors(table.Scales())
        known = DTYPES.get(held.Type(), "")
        scales = self.stored.values(held, known, tuple(ints(held.ShapeAsNumpy()))) if known == "float16" else None
        return block_format(table, scales, dtype, shape)

    def _op(self, op: Any, tensors: Mapping[int, Tensor]) -> Op:
        if op.OpcodeIndex() >= self.model.OperatorCodesLength():
            raise ModelError("is corrupt: an op has no operator code")
        code = self.model.OperatorCodes(op.OpcodeIndex())
        name = NAMES.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "an unknown builtin")
        outputs = tuple(self._known(i, tensors) for i in ints(op.OutputsAsNumpy()))
        inputs = tuple(None if i == -1 else self._known(i, tensors) for i in ints(op.InputsAsNumpy()))
        if name in control.CONTROL:
            return Op(control.control(name, _table_of(op, _CONTROL_OPTIONS.get(name, ""))), inputs, outputs)
        if not outputs:
            raise ModelError(f"is corrupt: op {name} has no output")
        if name in KINDS:
            return Op(_kind(KINDS[name], op), inputs, outputs)
        with located(f"op {name} with output {tensors[outputs[0]].name!r}"):
            return Op(opaque.read(op, code, self.data, tensors, (inputs, outputs)), inputs, outputs)

    def _signatures(self, tensors: Mapping[int, Tensor]) -> Iterator[Signature]:
        for i in range(self.model.SignatureDefsLength()):
            s = self.model.SignatureDefs(i)
            if s.SubgraphIndex() != self.number:
                continue  # it calls another network of the same file
            pairs = [
                tuple((text(m.Name()), self._known(m.TensorIndex(), tensors)) for m in (at(j) for j in range(count)))
                for at, count in ((s.Inputs, s.InputsLength()), (s.Outputs, s.OutputsLength()))
            ]
            yield Signature(text(s.SignatureKey()), *pairs)

    def _metadata(self) -> Iterator[tuple[str, bytes]]:
        """All but a plan of the arena: it tells of the file's tensors in the file's order."""
        for i in range(self.model.MetadataLength()):
            entry = self.model.Metadata(i)
            if text(entry.Name()) != ARENA_PLAN:
                yield text(entry.Name()), self.stored.metadata(entry.Buffer())


def _kind(kind: type[OpKind], op: Any) -> OpKind:
    """The op kind with the options that the file gives it; absent options have the schema's defaults."""
    spec = row(kind.name)
    if not spec.options:
        return kind()
    options = _table_of(op, spec.options)
    if options is None:
        return kind()
    return kind(**{ours: _option(options, theirs, kind.name) for ours, theirs in spec.fields.items()})


def _table_of(op: Any, name: str) -> Any:
    """The options table of an op, None where the file has none."""
    raw = op.BuiltinOptions()
    if raw is None or not name:
        return None
    if op.BuiltinOptionsType() != getattr(schema.BuiltinOptions, name):
        raise ModelError(f"is corrupt: an op that takes {name} has options of kind {op.BuiltinOptionsType()}")
    options = getattr(schema, name)()
    options.Init(raw.Bytes, raw.Pos)
    return options


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

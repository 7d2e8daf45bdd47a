"""Where in a .tflite its weights, biases, quantization parameters, other constants and metadata lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, final

from ai_edge_litert import schema_py_generated as schema

from intact.errors import IntactError, ModelError, ResourceError
from intact.formats.tflite import archive, flatbuffer
from intact.formats.tflite.op_rows import NAMES
from intact.formats.tflite.packing import DECODE
from intact.formats.tflite.values import ints, of_blocks
from intact.ops import KINDS
from intact.ops.recurrent import BIASES

#: What bytes are for. Bytes that serve two parts count for the first of them.
Part: TypeAlias = Literal["weights", "biases", "quantization", "constants", "metadata"]
PARTS: Final[tuple[Part, ...]] = ("weights", "biases", "quantization", "constants", "metadata")

#: What inputs are for, by operator and position. Source: LiteRT kernels/lstm_shared.h, svdf.cc, basic_rnn.cc.
_PLACES: Final[Mapping[str, Mapping[int, Part]]] = {
    **{name: {k.weight.input: "weights", k.weight.bias: "biases"} for name, k in KINDS.items() if k.weight is not None},
    **dict.fromkeys(("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"), dict.fromkeys((*BIASES, 17), "biases")),
    **{name: {3: "biases"} for name in ("RNN", "UNIDIRECTIONAL_SEQUENCE_RNN", "SVDF")},
}
#: Operators whose output is their input, stored otherwise: what reads it says what the input is for.
_SAME: Final = frozenset({"DEQUANTIZE", "QUANTIZE", "DENSIFY"})
_DECODE: Final = DECODE.decode()
_REAL: Final = frozenset(
    {schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.FLOAT64, schema.TensorType.BFLOAT16}
)
#: Bytes of an element of the vectors of indices of a sparse constant, by their type.
_INDEX: Final = {
    schema.SparseIndexVector.Int32Vector: 4,
    schema.SparseIndexVector.Uint16Vector: 2,
    schema.SparseIndexVector.Uint8Vector: 1,
}
#: Slots of QuantizationParameters that are vectors, with the bytes of an element: min, max, scale, zero_point.
_QUANTIZATION: Final = ((0, 4), (1, 4), (2, 4), (3, 8))


@final
@dataclass(frozen=True)
class Piece:
    """The bytes ``start`` to ``end`` (exclusive) of a file, and what they are for. Pieces may overlap."""

    part: Part
    start: int
    end: int


def pieces(data: bytes) -> tuple[Piece, ...]:
    """What the bytes of the .tflite ``data`` are for, as far as they are not its structure. ModelError where it is none.

    Weights and biases of convolutions and the like are known by their places. Other real numbers are weights where there are
    several; one alone (the 1/6 of a hard swish) and whole numbers are constants: shapes, axes, paddings, permutations, tables.
    """
    try:
        flatbuffer.check(data)
        return tuple(_File(data).pieces())
    except IntactError:
        raise
    except MemoryError as error:
        raise ResourceError("takes more memory to read than there is; close other programs") from error
    except Exception as error:  # an untrusted file makes the schema's own code raise whatever it likes
        raise ModelError(f"is corrupt: {str(error).partition(chr(10))[0] or 'it contradicts itself'}") from error


@final
class _File:
    def __init__(self, data: bytes) -> None:
        self._data, self._model = data, schema.Model.GetRootAs(data, 0)

    def pieces(self) -> Iterator[Piece]:
        for n in range(self._model.SubgraphsLength()):
            yield from self._subgraph(self._model.Subgraphs(n))
        for n in range(self._model.MetadataLength()):
            yield from self._buffer(self._model.Metadata(n).Buffer(), "metadata")
        tail = archive.start(self._data)
        yield Piece("metadata", tail, len(self._data))

    def _subgraph(self, subgraph: Any) -> Iterator[Piece]:
        known = self._by_place(subgraph) | self._of_blocks(subgraph)
        for i in range(subgraph.TensorsLength()):
            t = subgraph.Tensors(i)
            yield from self._quantization(t.Quantization())
            part = known.get(i) or self._by_kind(t)
            yield from self._buffer(t.Buffer(), part)
            yield from self._sparsity(t.Sparsity(), part)

    def _by_place(self, subgraph: Any) -> dict[int, Part]:
        """What tensors are for whose place among an operator's inputs tells it, and those that they are made of."""
        found: dict[int, Part] = {}
        for op in reversed([subgraph.Operators(i) for i in range(subgraph.OperatorsLength())]):
            name, reads, makes = self._name(op), ints(op.InputsAsNumpy()), ints(op.OutputsAsNumpy())
            places = _PLACES.get(name, {})
            if name in _SAME and makes and makes[0] in found:
                places = {0: found[makes[0]]}
            elif name == _DECODE:  # indices and tables in turn, for each of what it makes
                places = {2 * n + part: found[made] for n, made in enumerate(makes) if made in found for part in (0, 1)}
            found |= {i: places[place] for place, i in enumerate(reads) if place in places}
        return found

    @staticmethod
    def _of_blocks(subgraph: Any) -> dict[int, Part]:
        """The tensors that hold scales of blocks."""
        tables = (of_blocks(subgraph.Tensors(i).Quantization()) for i in range(subgraph.TensorsLength()))
        return {table.Scales(): "quantization" for table in tables if table is not None}

    def _name(self, op: Any) -> str:
        if op.OpcodeIndex() >= self._model.OperatorCodesLength():
            raise ModelError("is corrupt: an op has no operator code")
        code = self._model.OperatorCodes(op.OpcodeIndex())
        if code.CustomCode() == DECODE:
            return _DECODE
        return NAMES.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "")

    @staticmethod
    def _by_kind(t: Any) -> Part:
        quantization, several = t.Quantization(), any(n != 1 for n in ints(t.ShapeAsNumpy()))
        real = t.Type() in _REAL or (quantization is not None and quantization.ScaleLength() > 0)
        return "weights" if real and several else "constants"

    def _buffer(self, index: int, part: Part) -> Iterator[Piece]:
        if index >= self._model.BuffersLength():
            raise ModelError(f"points to buffer {index} of {self._model.BuffersLength()}")
        buffer = self._model.Buffers(index)
        if buffer.Offset() > 1:
            yield from self._piece(part, buffer.Offset(), buffer.Size())
        elif buffer.DataLength():
            yield from self._vector(part, buffer, 0, 1)

    def _quantization(self, table: Any) -> Iterator[Piece]:
        if table is not None:
            for slot, size in _QUANTIZATION:
                yield from self._vector("quantization", table, slot, size)

    def _sparsity(self, table: Any, part: Part) -> Iterator[Piece]:
        """Where the numbers of a sparse constant lie is a part of it."""
        for n in range(0 if table is None else table.DimMetadataLength()):
            level = table.DimMetadata(n)
            for kind, vector in (
                (level.ArraySegmentsType(), level.ArraySegments()),
                (level.ArrayIndicesType(), level.ArrayIndices()),
            ):
                if kind in _INDEX and vector is not None:
                    typed = schema.Int32Vector()
                    typed.Init(vector.Bytes, vector.Pos)
                    yield from self._vector(part, typed, 0, _INDEX[kind])

    def _vector(self, part: Part, table: Any, slot: int, size: int) -> Iterator[Piece]:
        """The elements of the vector in a slot of a table."""
        at = table._tab.Offset(4 + 2 * slot)
        if at:
            yield from self._piece(part, table._tab.Vector(at), table._tab.VectorLen(at) * size)

    def _piece(self, part: Part, start: int, size: int) -> Iterator[Piece]:
        if not 0 <= start <= start + size <= len(self._data):
            raise ModelError(f"ends at byte {start + size} and the file has {len(self._data)}: it is cut off")
        if size:
            yield Piece(part, start, start + size)

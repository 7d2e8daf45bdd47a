"""Which operators a .tflite file runs, as the file has them: what a reader merges or unpacks is among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ai_edge_litert import schema_py_generated as schema

from intact.errors import ModelError
from intact.formats.tflite import flatbuffer
from intact.formats.tflite.op_rows import CODES, NAMES
from intact.formats.tflite.values import text

#: Layers that say of which type a bias would be, where they have none.
_BIASED: Final[Mapping[str, Any]] = {"CONV_2D": schema.Conv2DOptions, "FULLY_CONNECTED": schema.FullyConnectedOptions}


def operators(data: bytes) -> tuple[str, ...]:
    """The names of the operators in all subgraphs, each once, in the order of their first use: ``CONV_2D``, ``TFLM_DECODE``.

    A custom operator has the name that the file gives it. Raises ModelError for a corrupt file.
    """
    return tuple(dict.fromkeys(name for name, _, _ in _uses(data)))


def main_ops(data: bytes) -> tuple[str, ...]:
    """The operators of the main subgraph, one after the other. Raises ModelError for a corrupt file."""
    count = schema.Model.GetRootAs(data, 0).Subgraphs(0).OperatorsLength()
    return tuple(name for name, _, _ in _uses(data))[:count]


def resource_variables(data: bytes) -> int:
    """How many variables the operators of all subgraphs share by name. Raises ModelError for a corrupt file."""
    shared = set()
    for name, op, _ in _uses(data):
        if name == "VAR_HANDLE" and (table := op.BuiltinOptions()) is not None:
            options = schema.VarHandleOptions()
            options.Init(table.Bytes, table.Pos)
            shared.add(options.SharedName())
    return len(shared)


def sums_in_32_bits(data: bytes) -> bool:
    """Whether a layer of 16-bit activations says that its sums have 32 bits, and has no bias that would tell.

    Raises ModelError for a corrupt file.
    """
    for name, op, body in _uses(data):
        table = op.BuiltinOptions()
        if name not in _BIASED or table is None or _reads(op, 2) >= 0:
            continue
        options = _BIASED[name]()
        options.Init(table.Bytes, table.Pos)
        x = _reads(op, 0)
        of_16_bits = 0 <= x < body.TensorsLength() and body.Tensors(x).Type() == schema.TensorType.INT16
        if of_16_bits and options.QuantizedBiasType() == schema.TensorType.INT32:
            return True
    return False


def _reads(op: Any, n: int) -> int:
    """The tensor that is input ``n``; -1 where there is none."""
    return int(op.Inputs(n)) if n < op.InputsLength() else -1


def _uses(data: bytes) -> Iterator[tuple[str, Any, Any]]:
    """Every op of every subgraph, with its operator's name before it and the subgraph behind."""
    flatbuffer.check(data)
    model = schema.Model.GetRootAs(data, 0)
    for body in (model.Subgraphs(n) for n in range(model.SubgraphsLength())):
        for op in (body.Operators(n) for n in range(body.OperatorsLength())):
            if op.OpcodeIndex() >= model.OperatorCodesLength():
                raise ModelError("is corrupt: an op has no operator code")
            yield _name(model.OperatorCodes(op.OpcodeIndex())), op, body


def _name(code: Any) -> str:
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    return text(code.CustomCode()) if number == CODES["CUSTOM"] else NAMES.get(number, f"builtin {number}")

"""Which operators a .tflite file runs, as the file has them: what a reader merges or unpacks is among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from intact.errors import ModelError
from intact.formats.tflite import flatbuffer
from intact.formats.tflite.op_rows import CODES, NAMES
from intact.formats.tflite.values import text


def operators(data: bytes) -> tuple[str, ...]:
    """The names of the operators in all subgraphs, each once, in the order of their first use: ``CONV_2D``, ``TFLM_DECODE``.

    A custom operator has the name that the file gives it. Raises ModelError for a corrupt file.
    """
    return tuple(dict.fromkeys(name for name, _ in _uses(data)))


def resource_variables(data: bytes) -> int:
    """How many variables the operators of all subgraphs share by name. Raises ModelError for a corrupt file."""
    shared = set()
    for name, op in _uses(data):
        if name == "VAR_HANDLE" and (table := op.BuiltinOptions()) is not None:
            options = schema.VarHandleOptions()
            options.Init(table.Bytes, table.Pos)
            shared.add(options.SharedName())
    return len(shared)


def _uses(data: bytes) -> Iterator[tuple[str, Any]]:
    """Every op of every subgraph, with its operator's name."""
    flatbuffer.check(data)
    model = schema.Model.GetRootAs(data, 0)
    for body in (model.Subgraphs(n) for n in range(model.SubgraphsLength())):
        for op in (body.Operators(n) for n in range(body.OperatorsLength())):
            if op.OpcodeIndex() >= model.OperatorCodesLength():
                raise ModelError("is corrupt: an op has no operator code")
            yield _name(model.OperatorCodes(op.OpcodeIndex())), op


def _name(code: Any) -> str:
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    return text(code.CustomCode()) if number == CODES["CUSTOM"] else NAMES.get(number, f"builtin {number}")

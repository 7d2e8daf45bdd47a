"""docs/ops.md lists every op kind, and what it says of each is what the tables say."""

import re
from pathlib import Path

import pytest
from op_cases import CASES, graph_of

from intact.deploy.micro import KERNELS
from intact.formats.tflite.op_rows import CODES, ROWS
from intact.ops import KINDS
from intact.planning.targets import TARGETS
from intact.rewrite.lowerings import LOWERINGS

TEXT = (Path(__file__).parents[2] / "docs" / "ops.md").read_text()
KEEP_STATE = {"UNIDIRECTIONAL_SEQUENCE_LSTM"}  # no case: tests/formats/test_recurrent.py
COLUMNS = (("cpu", "int8"), ("cpu", "int16"), ("mcu", "int8"), ("mcu", "int16"))
#: What the list says of each kind, by column.
LISTED = {row[0]: tuple(row[1:]) for row in re.findall(r"^\| ([A-Z0-9_]+) " + r"\| ([^|]+) " * 4 + r"\|$", TEXT, re.MULTILINE)}

#: Kinds that neither read nor make real numbers.
WHOLE = set(KINDS) - {case.kind.name for case in CASES if any(t.is_float for t in graph_of(case).tensors.values())} - KEEP_STATE


#: Targets of other runtimes, whose files are exported: their pages say what becomes of which op.
BY_EXPORT = {name for name, target in TARGETS.items() if target.exported}


def told(kind, target, activations):
    """What becomes of an op that reads real numbers, in the words of the list."""
    device = TARGETS[target]
    if kind in ("QUANTIZE", "DEQUANTIZE"):
        return "converts"
    if kind in WHOLE:
        return "as it is" if not device.micro or kind in KERNELS else "refused"
    if kind in device.kinds(activations):
        return "integers or float" if activations == "int8" and kind in device.float_inside else "integers"
    if (target, activations, kind) in LOWERINGS:
        return "rewritten"
    return "float" if device.float_islands else "refused"


def test_the_list_has_a_column_for_every_target_and_width():
    own = [name for name in TARGETS if name not in BY_EXPORT]
    assert tuple((name, width) for name in own for width in ("int8", "int16")) == COLUMNS
    header = " | ".join(f"`{name}`, {width.removeprefix('int')} bits" for name, width in COLUMNS)
    assert f"\n| op kind | {header} |\n" in TEXT


def test_the_list_holds_every_kind_and_no_other():
    assert list(LISTED) == sorted(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_list_says_what_the_tables_say(kind):
    assert LISTED[kind] == tuple(told(kind, *column) for column in COLUMNS)


def test_the_tables_name_known_kinds_only():
    named = {*ROWS, *(kind for _, _, kind in LOWERINGS)}
    for target in TARGETS.values():
        named |= target.lacks | target.lacks16 | target.hybrid | target.halved | target.per_channel | target.int4
        named |= target.int2 | target.hybrid2 | target.hybrid4 | target.hybrid4_biased | target.float_inside | target.light
    assert named <= set(KINDS) <= set(CODES)


@pytest.mark.parametrize("name", ["per_channel", "int4", "int2", "hybrid", "hybrid4", "hybrid4_biased", "hybrid2", "halved"])
def test_the_list_of_weights_says_what_the_tables_say(name):
    (row,) = re.findall(rf"^\| .* <!-- {name} --> \| (.*) \| (.*) \|$", TEXT, re.MULTILINE)
    for cell, target in zip(row, ("cpu", "mcu"), strict=True):
        assert re.findall(r"[A-Z0-9_]{3,}", cell) == sorted(getattr(TARGETS[target], name))

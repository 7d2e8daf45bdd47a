"""What ``intact inspect`` calls an op is what ``--keep-float`` takes, whatever the width of the terminal."""

from dataclasses import replace

import pytest
from nets import mobile
from typer.testing import CliRunner

from intact.cli.app import app
from intact.formats import tflite
from intact.planning.integer_ops import kept_float
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target

#: As converters write them: what was fused stands behind the first name.
LONG = ";model_1/batch_normalization_1/FusedBatchNormV3;model_1/conv2d_1/Conv2D;model_1/batch_normalization_1/ReadVariableOp"


@pytest.mark.parametrize("columns", ["40", "80"])
def test_every_op_is_kept_by_the_name_that_is_shown(tmp_path, columns):
    graph = mobile()
    outputs = {op.output for op in graph.ops[:-1]}
    tensors = {i: replace(t, name=t.name + LONG, origin=t.name + LONG) if i in outputs else t for i, t in graph.tensors.items()}
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(replace(graph, tensors=tensors)))
    graph = tflite.read(path.read_bytes())
    shown = CliRunner().invoke(app, ["inspect", str(path)], env={"COLUMNS": columns})
    rows = [line for line in shown.output.splitlines() if line.split(" ")[0] in {op.kind.name for op in graph.ops}]
    assert len(rows) == len(graph.ops)
    for op, row in zip(graph.ops, rows, strict=True):
        name = row[: row.index("  ")]
        assert kept_float(graph, Request(scheme("int8"), target("cpu"), keep_float=(name,))) == {op.output}

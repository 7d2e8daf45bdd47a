"""``intact inspect``: what it calls an op is what ``--keep-float`` takes, no row wraps, and its sums are those of its rows."""

import hashlib
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from nets import images, mobile
from typer.testing import CliRunner

from intact.cli.app import app
from intact.formats import tflite
from intact.planning.integer_ops import kept_float
from intact.planning.request import Request
from intact.planning.schemes import scheme
from intact.planning.targets import target
from intact.runtime import litert

#: As converters write them: what was fused stands behind the first name.
LONG = ";model_1/batch_normalization_1/FusedBatchNormV3;model_1/conv2d_1/Conv2D;model_1/batch_normalization_1/ReadVariableOp"


def written(path, name):
    """A file of the ops of ``mobile``, whose tensors inside are called as ``name`` says; and the graph in it."""
    graph = mobile()
    outputs = {op.output for op in graph.ops[:-1]}
    tensors = {i: replace(t, name=name(t), origin="") if i in outputs else t for i, t in graph.tensors.items()}
    graph = replace(graph, tensors=tensors, outputs=graph.outputs)
    path.write_bytes(tflite.write(replace(graph, outputs=(*graph.outputs, *sorted(outputs)))))  # outputs keep their names
    return tflite.read(path.read_bytes())


def rows_of(text, graph):
    kinds = {op.kind.name for op in graph.ops}
    return [line.rstrip() for line in text.splitlines() if line.split(" ")[0] in kinds][: len(graph.ops)]


@pytest.mark.parametrize("columns", ["40", "80"])
def test_every_op_is_kept_by_the_name_that_is_shown(tmp_path, columns):
    graph = written(tmp_path / "net.tflite", lambda t: f"model_1/{t.name}/Relu{LONG}")
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "net.tflite")], env={"COLUMNS": columns})
    rows = rows_of(shown.output, graph)
    assert len(rows) == len(graph.ops)
    for op, row in zip(graph.ops, rows, strict=True):
        kind, name = row.split(" ")[0], re.split(r" {2,}", row)[-1]
        for typed, exactly in ((f"{kind} {name!r}", True), (name, False)):
            kept = kept_float(graph, Request(scheme("int8"), target("cpu"), keep_float=(typed,)))
            assert kept == {op.output} if exactly else op.output in kept


def test_names_are_whole_where_there_is_no_terminal(tmp_path):
    deep = "/".join(f"stage_{n}" for n in range(12))
    graph = written(tmp_path / "net.tflite", lambda t: f"net/{deep}/{t.name}/Relu")
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "net.tflite")], env={"COLUMNS": "80"})
    assert all("…" not in row and f"{deep}/" in row for row in rows_of(shown.output, graph)[:-1])


def in_tables(text):
    return [line for line in text.splitlines() if not line.startswith(("input ", "output "))]


def in_a_terminal(columns, *typed):
    """What a command prints on a terminal that is so wide."""
    ours, theirs = pty.openpty()
    env = os.environ | {"COLUMNS": str(columns), "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-m", "intact", *typed], stdout=theirs, env=env) as child:
        os.close(theirs)
        said = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            said += part
        os.close(ours)
        assert child.wait() == 0
    return re.sub(r"\x1b\[[\d;]*m", "", said.decode())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other terminals")
@pytest.mark.parametrize(("columns", "titles"), [(80, "kind shape MACs parameters op"), (46, "kind op"), (132, "bytes op")])
def test_a_terminal_wraps_no_row_and_loses_columns_before_names(tmp_path, columns, titles):
    graph = written(tmp_path / "net.tflite", lambda t: f"net/features_{t.name}/depthwise/conv/Relu")
    text = in_a_terminal(columns, "inspect", str(tmp_path / "net.tflite"))
    lines = in_tables(text)
    assert max(map(len, lines)) <= columns
    head = next(line for line in lines if line.startswith("kind"))
    assert " ".join(head.split()).endswith(titles)
    rows = rows_of(text, graph)
    assert len(rows) == len(graph.ops)
    assert all(row.endswith("/conv") for row in rows[:-1])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other terminals")
def test_a_name_longer_than_a_terminal_says_that_it_is_cut_and_is_taken_so(tmp_path):
    deep = "/".join(f"stage_{n}" for n in range(12))
    graph = written(tmp_path / "net.tflite", lambda t: f"net/{deep}/{t.name}/Relu")
    text = in_a_terminal(60, "inspect", str(tmp_path / "net.tflite"))
    assert max(map(len, in_tables(text))) <= 60
    for op, row in list(zip(graph.ops, rows_of(text, graph), strict=True))[:-1]:
        name = row.split()[-1]
        assert name[0] == "…"
        assert op.output in kept_float(graph, Request(scheme("int8"), target("cpu"), keep_float=(name,)))


def test_json_has_all_of_it_and_the_sums_are_right(tmp_path):
    path = tmp_path / "net.tflite"
    graph = written(path, lambda t: f"net/{t.name}/Relu")
    found = json.loads(CliRunner().invoke(app, ["inspect", str(path), "--json"]).stdout)
    assert [row["op"] for row in found["ops"]] == [graph.label(op) for op in graph.ops]
    assert {row["name"] for row in found["ops"][:-1]} == {graph[op.output].origin for op in graph.ops[:-1]}
    for key, count in (("macs", "macs"), ("parameters", "parameters"), ("parameter_bytes", "parameter_bytes")):
        assert sum(row[key] for row in found["kinds"]) == sum(row[count] for row in found["ops"]) > 0
    assert sum(row["count"] for row in found["kinds"]) == len(graph.ops)
    assert sum(found["sizes"].values()) == found["bytes"] == path.stat().st_size
    assert (found["converted"], found["quantized"]) == (False, False)
    text = CliRunner().invoke(app, ["inspect", str(path)]).output
    shares = re.findall(r"^(\w+) +([\d,]+) +([\d.]+) %$", text, re.MULTILINE)
    assert {name: int(count.replace(",", "")) for name, count, _ in shares} == {**found["sizes"], "all": found["bytes"]}
    assert sum(float(share) for name, _, share in shares if name != "all") == pytest.approx(100, abs=0.5)


def test_a_file_of_a_run_has_the_names_that_its_run_gave(tmp_path):
    """A file that Intact writes calls its tensors t1, t2; details.json beside it knows better, if it is of this very file."""
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(mobile()))
    graph = tflite.read(path.read_bytes())
    rows = [
        {
            "op": f"{op.kind.name} 'layer.{n}'",
            "kind": op.kind.name,
            "shape": [1],
            "macs": 0,
            "parameters": 0,
            "bytes": 0,
            "live_bytes": 0,
        }
        for n, op in enumerate(graph.ops)
    ]
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    details = {"schema": "intact-details/1", "model_sha256": sha256, "ops": rows, "tensors": []}

    def names(**other):
        (tmp_path / "details.json").write_text(json.dumps(details | other))
        found = json.loads(CliRunner().invoke(app, ["inspect", str(path), "--json"]).stdout)
        return [row["name"] for row in found["ops"]]

    assert names() == [f"layer.{n}" for n in range(len(rows))]
    assert names(model_sha256="0" * 64)[0] == graph.called(graph.ops[0])
    assert names(ops=rows[1:])[0] == graph.called(graph.ops[0])
    assert names(ops="no rows")[0] == graph.called(graph.ops[0])
    assert names(ops=[*rows[:-1], {**rows[-1], "op": "no label"}])[0] == "layer.0"


def test_a_copy_to_look_at_has_the_names_and_computes_the_same(tmp_path):
    """Two ops of one layer are told apart, as are names that a layer happens to have; ports and the file itself stay."""
    path, copy = tmp_path / "model.tflite", tmp_path / "looked at" / "named.tflite"
    path.write_bytes(tflite.write(mobile()))
    graph, data = tflite.read(path.read_bytes()), path.read_bytes()
    layers = ["stem", "stem #2", "stem", "<b>\n", "head", "scores"]
    ops = [
        {"op": f"{op.kind.name} {layer!r}", "kind": op.kind.name, "shape": [1], "macs": 0, "parameters": 0, "bytes": 0,
         "live_bytes": 0}
        for op, layer in zip(graph.ops, layers, strict=True)
    ]  # fmt: skip
    about = {"schema": "intact-details/1", "model_sha256": hashlib.sha256(data).hexdigest(), "tensors": []}
    (tmp_path / "details.json").write_text(json.dumps({**about, "ops": ops}))
    copy.parent.mkdir()
    done = CliRunner().invoke(app, ["inspect", str(path), "--named", str(copy)])
    assert (done.exit_code, path.read_bytes()) == (0, data)
    found = tflite.read(copy.read_bytes())
    names = [found[op.output].name for op in found.ops]
    assert names == ["stem", "stem #2", "stem #3", r"<b>\n", "head", "scores"]
    assert (found.input_names, found.output_names) == (graph.input_names, graph.output_names)
    x = images(3)
    for name, y in litert.run(path, {"image": x}).items():
        assert np.array_equal(y, litert.run(copy, {"image": x})[name])


def test_no_copy_takes_the_place_of_the_model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(tflite.write(mobile()))
    done = CliRunner().invoke(app, ["inspect", str(path), "--named", str(tmp_path / "." / "model.tflite")])
    assert (done.exit_code, path.read_bytes()) == (2, tflite.write(mobile()))
    assert "--named would write over the model itself" in done.stderr


def test_foreign_integer_files(shared):
    """Published int8 files: every op has its layer's name, and the scales of vww are over a quarter of it."""
    for name in ("ad01", "kws", "resnet8_cifar10", "vww_96"):
        path = shared / "models" / f"{name}_int8.tflite"
        found = json.loads(CliRunner().invoke(app, ["inspect", str(path), "--json"]).stdout)
        assert found["quantized"]
        assert sum(found["sizes"].values()) == path.stat().st_size
        layers = r"(conv2d|depthwise_conv2d|dense|add|average_pooling2d|flatten)(_\d+)?"
        assert [row["op"] for row in found["ops"] if not re.fullmatch(layers, row["name"])] == []

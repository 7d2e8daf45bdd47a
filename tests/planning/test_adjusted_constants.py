"""What remedies changed, as a value: put back to the last bit, and refused where it is damaged or of something else."""

import hashlib
import io
import itertools
import json
import os
import pickle
import re
import sys
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import raw_files
from op_cases import CASES, graph_of
from remedy_nets import chain

from intact.errors import OptionError
from intact.formats import tflite
from intact.network.graph import Graph, Op
from intact.ops.convolution import Conv2D, DepthwiseConv2D
from intact.planning.adjusted_constants import Adjusted, _unusual, changed, changes, digest
from intact.planning.plan import Plan, Remedied

INSTEAD = "leave out --plan and type --remedies bias"


def with_data(graph, i, data):
    return replace(graph, tensors={**graph.tensors, i: replace(graph[i], data=np.float32(data))})


def adjusted_chain():
    """``chain`` with another bias and RELU instead of RELU6."""
    before = chain("relu6")
    first = before.ops[0]
    after = with_data(before, first.inputs[2], before[first.inputs[2]].data + np.float32(0.1))
    return before, replace(after, ops=(replace(first, kind=replace(first.kind, activation="relu")), *after.ops[1:]))


def test_constants_and_options_come_back_to_the_last_bit():
    before, after = adjusted_chain()
    kept = Adjusted.between(before, after)
    assert kept.file == "plan.npz"
    assert kept.sha256 == hashlib.sha256(kept.data).hexdigest()
    with np.load(io.BytesIO(kept.data), allow_pickle=False) as held:
        assert sorted(held.files) == ["about", f"constant {before.ops[0].inputs[2]}"]
    assert tflite.write(kept.on(before, INSTEAD)) == tflite.write(after)
    assert Adjusted.between(before, after) == kept  # the same bytes again


def test_what_is_not_changed_needs_no_file():
    graph = chain()
    same = with_data(graph, graph.ops[0].inputs[2], graph[graph.ops[0].inputs[2]].data.copy())
    kept = Adjusted.between(graph, same)
    assert (kept.file, kept.data) == ("", b"")
    assert kept.on(graph, INSTEAD) is graph


OF_A_KIND = [
    (one.kind, other.kind)
    for one, other in itertools.pairwise(sorted(CASES, key=lambda case: case.kind.name))
    if type(one.kind) is type(other.kind) and one.kind != other.kind
]


@pytest.mark.parametrize("kinds", OF_A_KIND, ids=lambda kinds: "-".join(k.name for k in kinds))
def test_every_option_of_every_kind_comes_back(kinds):
    before, after = (Graph({}, (Op(kind, (0,), (1,)),), (0,), (1,)) for kind in kinds)
    (op,) = changed(before, changes(before, after)).ops
    assert (op.kind, type(op.kind)) == (kinds[1], type(kinds[1]))
    assert repr(op.kind) == repr(kinds[1])  # 1 is no 1.0 and no True
    assert digest(before) != digest(after)


def test_many_kinds_were_tried():
    assert len({one.name for one, _ in OF_A_KIND}) > 30


def packed(arrays, **options):
    file = io.BytesIO()
    np.savez(file, **options, **arrays)
    return file.getvalue()


def about(graph, kinds=()):
    return np.frombuffer(json.dumps({"version": 1, "graph": digest(graph), "kinds": dict(kinds)}).encode(), np.uint8)


def spoiled():
    """Every way in which bytes are not what Intact wrote, and what is said of it."""
    before, after = adjusted_chain()
    good = Adjusted.between(before, after).data
    b, x = before.ops[0].inputs[2], before.inputs[0]
    bias, head = before[b].data, {"about": about(before)}
    other = json.loads(np.load(io.BytesIO(good))["about"].tobytes())["kinds"]
    row = next(iter(other.values()))
    output = before.ops[0].output
    options = row["options"]
    yield "truncated", good[: len(good) // 2], "is not what Intact wrote beside the plan"
    yield "no npz", b"PK\3\4 and no more", "is not what Intact wrote beside the plan"
    yield "a pickle", pickle.dumps({"about": 1}), "is not what Intact wrote beside the plan"
    yield "one array", np.lib.format.magic(1, 0) + good, "is not what Intact wrote beside the plan"
    yield (
        "pickled",
        packed({**head, f"constant {b}": np.array([{}], object)}, allow_pickle=True),
        "is not what Intact wrote beside the plan",
    )
    yield "nothing", packed({}), "is not what Intact wrote beside the plan"
    yield "no json", packed({"about": np.zeros(9, np.uint8)}), "is not what Intact wrote beside the plan"
    yield "shape", packed({**head, f"constant {b}": bias[:-1]}), rf"has float32 \(7,\) for tensor {b}, which is float32 \(8,\)"
    yield "dtype", packed({**head, f"constant {b}": bias.astype(np.float64)}), "has float64"
    yield "id", packed({**head, "constant 999": bias}), "changes 'constant 999', which is no constant of this model"
    yield "activation", packed({**head, f"constant {x}": bias}), f"changes 'constant {x}', which is no constant of this model"
    yield "name", packed({**head, "more": bias}), "changes 'more', which is no constant of this model"
    yield "spelling", packed({**head, f"constant  {b}": bias}), "which is no constant of this model"
    yield "infinite", packed({**head, f"constant {b}": bias * np.float32("inf")}), "that are not finite"
    yield "nan", packed({**head, f"constant {b}": bias * np.float32("nan")}), "that are not finite"
    yield (
        "op",
        packed({"about": about(before, {"999": row})}),
        "changes the op that makes tensor 999, which no op",
    )
    kind = {"kind": "ADD", "options": {"activation": "relu"}}
    yield "kind", packed({"about": about(before, {output: kind})}), f"has ADD where tensor {output} is made by CONV_2D"
    for name, value in (("activation", "magic"), ("stride", ["a", "b"]), ("stride", [1, 10**12]), ("dilation", None)):
        shown = repr(tuple(value) if isinstance(value, list) else value)
        spoilt = {output: {**row, "options": {**options, name: value}}}
        yield f"{name} {value}", packed({"about": about(before, spoilt)}), re.escape(f"has {shown} for {name} of CONV_2D")
    for name, value in (("stride", [0, 1]), ("new", 1)):
        spoilt = {output: {**row, "options": {**options, name: value}}}
        yield f"{name} {value}", packed({"about": about(before, spoilt)}), "is not what Intact wrote beside the plan"
    newer = json.dumps({"version": 2, "graph": digest(before), "kinds": {}}).encode()
    yield "version", packed({"about": np.frombuffer(newer, np.uint8)}), "is of version 2, and this Intact reads version 1"
    yield "empty", b"", "is not what Intact wrote beside the plan"
    compressed = io.BytesIO()
    np.savez_compressed(compressed, **head)
    yield "compressed", compressed.getvalue(), "is not what Intact wrote beside the plan"
    yield "large", packed({**head, f"constant {b}": np.zeros(1 << 16, np.float32)}), "more than that can be"
    moved = with_data(before, b, bias * 2)
    yield "weights", Adjusted.between(moved, after).data, "constants of another model than this, or of other weights"
    yield "model", Adjusted.between(*(graph_of(c) for c in different())).data, "of another model than this"


def different():
    """Two convolutions with different weights."""
    first = next(case for case in CASES if isinstance(case.kind, Conv2D))
    return first, replace(first, inputs=(first.inputs[0], first.inputs[1] * 2, *first.inputs[2:]))


@pytest.mark.parametrize(("data", "says"), [pytest.param(*rest, id=name) for name, *rest in spoiled()])
def test_bytes_that_are_of_something_else_are_refused(data, says, tmp_path):
    before, _ = adjusted_chain()
    kept = Adjusted("plan.npz", hashlib.sha256(data).hexdigest(), data)
    with pytest.raises(OptionError, match=rf"plan\.npz .*{says}.*; {INSTEAD}$"):
        kept.on(before, INSTEAD)
    (tmp_path / "plan.npz").write_bytes(data)
    assert Adjusted("plan.npz", kept.sha256).beside(tmp_path / "plan.json", INSTEAD).data == data


def test_no_byte_of_it_can_be_changed_unseen():
    """Any byte that is another: refused, or of no meaning (padding, a date); never anything else than an OptionError."""
    before, after = adjusted_chain()
    good = Adjusted.between(before, after).data
    wanted, draw, refused = tflite.write(after), np.random.default_rng(0), 0
    for _ in range(400):
        bad = bytearray(good)
        for at in draw.integers(0, len(good), 1 + int(draw.integers(3))):
            bad[at] = int(draw.integers(256))
        try:
            assert tflite.write(Adjusted("plan.npz", "", bytes(bad)).on(before, INSTEAD)) == wanted
        except OptionError:
            refused += 1
    assert refused > 250


def test_a_file_of_another_run_is_not_taken(tmp_path):
    before, after = adjusted_chain()
    kept = Adjusted.between(before, after)
    path, named = tmp_path / "plan.json", Adjusted(kept.file, kept.sha256)
    assert named.beside(path, INSTEAD).data is None
    (tmp_path / "plan.npz").write_bytes(kept.data + b"\0")
    with pytest.raises(OptionError, match=rf"plan\.npz is damaged or of another run.* that plan\.json names; .*or {INSTEAD}"):
        named.beside(path, INSTEAD)
    (tmp_path / "plan.npz").unlink()
    (tmp_path / "plan.npz").mkdir()
    with pytest.raises(OptionError, match=rf"plan\.npz is a folder, not a file; .*; {INSTEAD}"):
        named.beside(path, INSTEAD)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes among its files")
def test_nobody_waits_for_a_pipe_in_place_of_a_plan_or_its_constants(tmp_path):
    os.mkfifo(tmp_path / "plan.npz")
    with pytest.raises(OptionError, match=rf"plan\.npz is a named pipe, not a file; .*; {INSTEAD}"):
        Adjusted("plan.npz", "0" * 64).beside(tmp_path / "plan.json", INSTEAD)
    os.mkfifo(tmp_path / "plan.json")
    for path in (tmp_path / "plan.json", Path("/dev/zero")):
        with pytest.raises(OptionError, match="cannot be read as a plan"):
            Plan.load(path)


def test_a_plan_is_saved_with_its_constants(tmp_path):
    before, after = adjusted_chain()
    kept = Adjusted.between(before, after)
    plan = Plan("int8", "cpu", {}, remedied=Remedied(("bias",), 9, 0, ""), adjusted=kept)
    assert Plan.load(plan.save(tmp_path / "a" / "first.json")).adjusted == replace(kept, file="first.npz")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["first.json", "first.npz"]
    assert Plan.from_json(plan.to_json()).adjusted == Adjusted("plan.npz", kept.sha256)
    assert not Plan.from_json(plan.to_json()).is_whole
    nothing = Plan("int8", "cpu", {}, adjusted=Adjusted("", "", b""))
    assert json.loads(nothing.to_json())["adjusted"] is None
    assert Plan.from_json(nothing.to_json()).is_whole
    assert Plan.load(nothing.save(tmp_path / "b" / "plan.json")).is_whole
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    "row", ["plan.npz", {"file": "plan.npz"}, {"file": "../plan.npz", "sha256": ""}, {"file": "", "sha256": ""}, 3]
)
def test_what_names_no_file_beside_it_is_no_plan(row):
    document = json.loads(Plan("int8", "cpu", {}).to_json()) | {"adjusted": row}
    with pytest.raises(OptionError, match="not a plan that Intact wrote"):
        Plan.from_json(json.dumps(document))


def test_the_digest_is_of_what_a_network_computes():
    graph = chain()
    named = replace(graph, tensors={i: replace(t, name=f"other {t.name}") for i, t in graph.tensors.items()})
    assert digest(named) == digest(graph)
    assert re.fullmatch(r"[0-9a-f]{64}", digest(graph))
    depthwise = next(op for op in graph.ops if isinstance(op.kind, DepthwiseConv2D))
    ops = tuple(replace(op, kind=replace(op.kind, activation="none")) if op is depthwise else op for op in graph.ops)
    assert digest(replace(graph, ops=ops)) != digest(graph)


def test_the_digest_tells_ops_apart_that_nobody_knows():
    def opaque(options):
        return tflite.read(raw_files.custom(options=options))

    same, other = (digest(opaque(options)) for options in (b"\0\1", b"\0\2"))
    assert same == digest(opaque(b"\0\1"))
    assert same != other


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    before, after = adjusted_chain()
    file = io.BytesIO(Adjusted.between(before, after).data)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("constant 1.npy", bytes(1 << 20))
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(OptionError, match="is not what Intact wrote beside the plan"):
        Adjusted("plan.npz", "", file.getvalue()).on(before, INSTEAD)


def test_a_digest_outlives_options_that_are_added_later():
    """An option that has its kind's usual value has no part in it."""
    graph = chain()
    (usual,) = {f.name: f.default for f in fields(Conv2D) if f.name == "dilation"}.values()
    assert graph.ops[0].kind.dilation == usual
    assert "dilation" not in repr(_unusual(graph.ops[0]))
    assert "activation" in repr(_unusual(graph.ops[0]))


@pytest.mark.parametrize("name", ["plan.npz", "", "a/b.npz"])
def test_a_plan_is_not_written_over_its_constants(name, tmp_path):
    with pytest.raises(OptionError, match="a plan cannot be called"):
        Plan("int8", "cpu", {}).save(tmp_path / name if name else "")


ROW = {"id": 1, "name": "x", "dtype": "int8", "scale": [1.0], "zero_point": 0, "axis": None, "range": None, "why": ""}


@pytest.mark.parametrize(
    "change",
    [
        {"adjusted": {"file": "a\0b", "sha256": ""}, "remedied": {"names": ["bias"], "samples": 1, "skipped": 0, "digest": ""}},
        {"adjusted": {"file": "plan.npz", "sha256": ""}},
        {"scheme": ["int8"]},
        {"target": {}},
        {
            "tensors": [
                {
                    "id": 1,
                    "name": "x",
                    "dtype": "int17",
                    "scale": [1.0],
                    "zero_point": 0,
                    "axis": None,
                    "range": None,
                    "why": "",
                }
            ]
        },
        {
            "tensors": [
                {"id": 1, "name": "x", "dtype": "int8", "scale": [1.0], "zero_point": 0, "axis": 0.0, "range": None, "why": ""}
            ]
        },
        {
            "tensors": [
                {"id": 1, "name": "x", "dtype": "int8", "scale": [1.0], "zero_point": 0, "axis": None, "range": [], "why": ""}
            ]
        },
    ],
    ids=["name", "no remedy", "scheme", "target", "type", "axis", "range"],
)
def test_a_damaged_plan_is_no_plan(change):
    document = json.loads(Plan("int8", "cpu", {}).to_json()) | change
    with pytest.raises(OptionError, match="not a plan that Intact wrote"):
        Plan.from_json(json.dumps(document))


def test_a_text_that_nests_without_end_is_no_plan():
    with pytest.raises(OptionError, match="not a plan that Intact wrote"):
        Plan.from_json("[" * 200_000)

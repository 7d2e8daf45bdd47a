"""``intact study`` as it is typed."""

import errno
import json
import re

import numpy as np
import pytest
from nets import images, mobile
from typer.testing import CliRunner

from intact import files
from intact.cli.app import app
from intact.errors import OutputError
from intact.formats import tflite

RUN = CliRunner()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("typed")
    (path / "net.tflite").write_bytes(tflite.write(mobile()))
    np.savez(path / "val.npz", x=images(80), y=np.arange(80) % 4)
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.2)
    monkeypatch.setattr("intact.measure.figures._ROUNDS", 6)
    monkeypatch.setattr("intact.run.advice._SECONDS", 0.5)
    monkeypatch.setattr("intact.run.conduct.throughput", lambda *_: ())


def call(*args):
    return RUN.invoke(app, ["study", *map(str, args)], env={"COLUMNS": "80"})


def test_a_study_file_and_options_are_the_same(folder):
    (folder / "refs.toml").write_text('[[reference]]\nsource = "A paper"\nmethod = "QAT"\ndrop = 0.5\n')
    (folder / "plan.toml").write_text(
        'models = "net.tflite"\ndata = "val.npz"\nschemes = "float32,float16"\nreference = "refs.toml"\nout = "of_file"\n'
        'accept = ["file size <= 1 MiB"]\n'
    )
    by_file = call(folder / "plan.toml")
    assert by_file.exit_code == 0, by_file.output
    document = json.loads((folder / "of_file" / "study.json").read_bytes())
    assert [row["scheme"] for row in document["rows"]] == ["float32", "float16"]
    assert document["references"][0]["source"] == "A paper"
    assert document["decision"]["taken"] in {"net float32 cpu", "net float16 cpu"}
    assert "A paper" in (folder / "of_file" / "study.md").read_text()
    assert f"cpu: take {document['decision']['taken']}: " in by_file.stdout
    table, _, notes = by_file.stdout.split("\n\n")[0].partition("\nnote: ")
    assert "near chance for 4 classes" in notes  # which both runs found
    table = table.splitlines()
    assert table[0].startswith("variant")
    assert max(map(len, table)) <= 80
    typed = ("--schemes", "float32,float16", "--reference", folder / "refs.toml", "--out", folder / "of_file")
    again = call(folder / "net.tflite", "--data", folder / "val.npz", *typed, "--accept", "file size <= 10 B", "--json")
    assert again.exit_code == 1  # nothing passes
    record = json.loads(again.stdout)
    assert record["decision"]["taken"] is None
    assert [row["figures"] for row in record["rows"]] == [row["figures"] for row in document["rows"]]
    other = call(folder / "plan.toml", "--schemes", "float16")  # what is typed counts more
    assert other.exit_code == 2
    assert "holds a study of another job (schemes ['float32', 'float16'] there, ['float16'] now)" in other.output


def test_where_there_is_no_terminal_what_is_done_is_a_line(folder):
    made = call(
        folder / "net.tflite",
        "--data",
        folder / "val.npz",
        "--schemes",
        "float16",
        "--targets",
        "mcu,cpu",
        "--out",
        folder / "x",
    )
    assert made.exit_code == 0
    lines = made.stderr.splitlines()
    assert lines[0].startswith("net float16 mcu: failed: --scheme float16 cannot be had with --target mcu")
    assert lines[1].startswith("net float16 cpu: top-1 ")
    assert "note: net float16 mcu: --scheme float16 cannot be had" in made.stdout


def test_a_model_that_cannot_be_read_is_rows_and_the_others_go_on(folder):
    whole = (folder / "net.tflite").read_bytes()
    (folder / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    typed = ("--data", folder / "val.npz", "--schemes", "float16,float32", "--out", folder / "some")
    made = call(folder / "cut.tflite", folder / "net.tflite", folder / "none.keras", *typed)
    assert made.exit_code == 0
    assert made.stderr.splitlines()[0].startswith(f"note: {folder / 'cut.tflite'}: is corrupt or cut off: ")
    assert f"note: none float16 cpu and 1 more: {folder / 'none.keras'}: there is no such file" in made.stdout
    document = json.loads((folder / "some" / "study.json").read_text())
    assert {row["name"]: row["status"] for row in document["rows"]} == {
        "cut float16 cpu": "failed", "cut float32 cpu": "failed", "net float16 cpu": "done", "net float32 cpu": "done",
        "none float16 cpu": "failed", "none float32 cpu": "failed",
    }  # fmt: skip
    before = (folder / "some" / "runs" / "net-float16-cpu" / "result.json").stat().st_mtime_ns
    (folder / "cut.tflite").write_bytes(whole)  # mended: what was made of the others still counts
    again = call(folder / "cut.tflite", folder / "net.tflite", folder / "none.keras", *typed)
    assert again.exit_code == 0
    rows = json.loads((folder / "some" / "study.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["done"] * 4 + ["failed"] * 2
    assert (folder / "some" / "runs" / "net-float16-cpu" / "result.json").stat().st_mtime_ns == before
    (folder / "net.tflite").write_bytes(whole[:-8])
    other = call(folder / "cut.tflite", folder / "net.tflite", folder / "none.keras", *typed)
    (folder / "net.tflite").write_bytes(whole)
    assert other.exit_code == 2
    assert re.search(r"holds a study of another job \(models cut \w{8}, net \w{8}, none unreadable there, ", other.stderr)


def test_where_no_model_can_be_read_the_study_is_refused(folder):
    (folder / "empty.tflite").write_bytes(b"")
    made = call(folder / "empty.tflite", folder / "none.pt2", "--data", folder / "val.npz", "--out", folder / "no")
    assert made.exit_code == 2
    assert made.stderr == f"error: {folder / 'empty.tflite'}: the file is empty\n"
    assert not (folder / "no").exists()


def test_on_a_full_disk_no_other_variant_begins(folder, monkeypatch):
    real, begun = files.write_bytes, []

    def full(path, data):
        if "runs" not in path.parts:
            real(path, data)
            return
        begun.append(path.parent.name)
        error = OutputError(f"{path} cannot be written")
        raise error from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "write_bytes", full)
    made = call(folder / "net.tflite", "--data", folder / "val.npz", "--schemes", "float16,float32", "--out", folder / "full")
    assert made.exit_code == 2
    assert "cannot be written" in made.stderr
    assert set(begun) == {"net-float16-cpu"}


def test_where_nothing_can_be_made_the_command_fails(folder):
    made = call(
        folder / "net.tflite",
        "--data",
        folder / "val.npz",
        "--schemes",
        "float16",
        "--targets",
        "mcu",
        "--out",
        folder / "none",
    )
    assert made.exit_code == 2
    assert "no variant could be made; the first: --scheme float16 cannot be had" in made.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("net.tflite",), "a study needs data"),
        (("net.tflite", "plan.toml", "--data", "val.npz"), "a study.toml says which models there are; type it alone"),
        (("net.tflite", "--data", "val.npz", "--schemes", "int9"), "no scheme is called 'int9'; type --schemes with one of"),
        (("net.tflite", "--data", "val.npz", "--accept", "speed <= 2"), "speed"),
        (("net.tflite", "--data", "val.npz", "--accept", "drop >= 2"), "which is worse; type drop <= 2"),
        (("net.tflite", "--data", "val.npz", "--accept", "."), "'.' is a folder; give the path of an accept.toml"),
        (("net.tflite", "--data", "val.npz", "--accept", "arena <= 9 KB"), "cpu has no TFLM arena; type --targets mcu"),
        (("net.tflite", "--data", "val.npz", "--accept", "mse <= 2"), "no metric is measured; type --metric as well"),
        (("net.tflite", "--data", "val.npz", "--jobs", "0"), "--jobs 0 must be at least 1"),
        (("net.tflite", "--data", "nothing"), "nothing"),
        (("none.tflite", "--data", "val.npz"), "none.tflite"),
        (("net.tflite", "--data", "val.npz", "--reference", "none.toml"), "no such file"),
        (("net.tflite", "--data", "val.npz", "--threads", "two"), "--threads 'two' must be whole numbers"),
        (("net.tflite", "--data", "val.npz", "--mean", "1"), "--mean and --std go together"),
        (("net.tflite", "--data", "val.npz", "--metric", "luck"), "no metric is called 'luck'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(folder, monkeypatch, args, says):
    monkeypatch.chdir(folder)
    before = sorted(p.name for p in folder.iterdir())
    made = call(*args)
    assert made.exit_code == 2
    assert says in made.output
    assert len(made.stderr.splitlines()) == 1
    assert sorted(p.name for p in folder.iterdir()) == before

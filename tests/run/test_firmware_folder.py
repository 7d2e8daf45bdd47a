"""What deploy --overwrite leaves in a folder: the new project, and what its user added or changed."""

import json

import pytest
from firmware_nets import two_convolutions

from intact.formats import tflite
from intact.run.deploy import deploy
from intact.run.firmware_folder import fill


def held(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.tflite"
    path.write_bytes(tflite.write(two_convolutions()))
    return path


def test_another_name_or_kind_of_project_takes_the_place_of_the_one_before(model, tmp_path):
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    deploy(model, out, name="one", runtime="both")
    (out / "port" / "mine.c").write_text("int mine;\n")
    (out / "notes.txt").write_text("years of work\n")
    assert {"one.c", "tflm/main.cc", "tflm/arduino/one/one.ino"} <= held(out)
    made = deploy(model, out, name="two", overwrite=True)
    deploy(model, fresh, name="two")
    assert held(out) == held(fresh) | {"port/mine.c", "notes.txt"}
    assert not (out / "tflm").exists()
    assert made.document == json.loads((out / "deploy.json").read_text())
    assert set(made.document["files"]) == held(fresh) - {"deploy.json"}


def test_a_file_that_was_changed_stays_and_is_told(model, tmp_path):
    out = tmp_path / "out"
    deploy(model, out, name="one")
    with (out / "one.c").open("a") as file:
        file.write("/* years of work */\n")
    made = deploy(model, out, name="two", overwrite=True)
    assert held(out) >= {"one.c", "two.c"}
    assert "one.h" not in held(out)
    assert made.notes[-1] == f"{out / 'one.c'} is of an earlier project, and was changed since: it stays there"
    again = deploy(model, out, name="two", overwrite=True)  # from now on it is its user's
    assert not [note for note in again.notes if "earlier" in note]


def test_a_record_of_a_stranger_removes_nothing_elsewhere(tmp_path):
    out = tmp_path / "out"
    document = {}
    fill(out, {"a/b.c": "b\n", "c.c": "c\n"}, document)
    others = tmp_path / "others"
    others.mkdir()
    for name in ("x.c", "y.c", "z.c"):
        (others / name).write_text("c\n")
    (out / "away").symlink_to(others)
    (out / "a" / "mine.c").touch()
    digest = document["files"]["c.c"]
    strange = {
        "../others/x.c": digest,
        str(others / "y.c"): digest,
        "away/z.c": digest,
        "a": digest,
        "gone.c": digest,
        "\0": digest,
    }
    (out / "deploy.json").write_text(json.dumps({"files": document["files"] | strange | {"c.c": 3}}))
    assert fill(out, {"d.c": "d\n"}, {}) == (f"{out / 'a'} is of an earlier project, and was changed since: it stays there",)
    assert held(others) == {"x.c", "y.c", "z.c"}
    assert held(out) - {"away/x.c", "away/y.c", "away/z.c"} == {"a/mine.c", "c.c", "d.c", "deploy.json"}


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}', "[" * 100_000, '{"files": {"c.c": null}}', "{}"])
def test_a_record_that_says_nothing_of_files_removes_nothing(tmp_path, text):
    fill(tmp_path, {"c.c": "c\n"}, {})
    (tmp_path / "deploy.json").write_text(text)
    assert fill(tmp_path, {"d.c": "d\n"}, {}) == ()
    assert held(tmp_path) == {"c.c", "d.c", "deploy.json"}

"""The command ``explore``: what it writes, what it says, and what it refuses before any work."""

import json

import numpy as np
import pytest
from nets import images, mobile
from typer.testing import CliRunner

from intact.cli.app import app
from intact.formats import tflite


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "net.tflite").write_bytes(tflite.write(mobile()))
    np.savez(tmp_path / "data.npz", x=images(16))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def intact(*arguments):
    return CliRunner().invoke(app, ["explore", *arguments])


def test_a_page_and_node_data(folder):
    done = intact("net.tflite", "--data", "data.npz", "--out", "page.html", "--model-explorer", "nodes.json")
    assert done.exit_code == 0, done.output
    assert "page.html: open it in a browser" in done.output
    assert "--node_data_paths=nodes.time.json" in done.output
    assert (folder / "page.html").read_text().startswith("<!doctype html>")
    assert json.loads((folder / "nodes.json").read_text())["results"]


def test_json_is_the_document(folder):
    done = intact("net.tflite", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["schema"] == "intact-explorer/1"
    assert len(document["ops"]) == 6
    assert (folder / "explore.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("net.tflite", "--out", "."), "--out . is a folder; give the name of a file in it"),
        (("net.tflite", "--out", "there.html"), "--out there.html is there already; add --overwrite"),
        (("net.tflite", "--model-explorer", "nodes.txt"), "--model-explorer nodes.txt must end in .json"),
        (("net.tflite", "--out", "a.json", "--model-explorer", "a.json"), "name the same file"),
        (("none.tflite",), "none.tflite: there is no such file"),
        (("net.tflite", "--data", "none.npz"), "none.npz"),
        (("net.tflite", "--against", "net.tflite"), "is not quantized; leave out --against"),
        (("net.tflite", "--target", "moon"), "moon"),
        (("data.npz",), "data.npz"),
    ],
)
def test_what_cannot_be_is_one_sentence(folder, arguments, words):
    (folder / "there.html").write_text("mine")
    done = intact(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
    said = done.stderr.strip()  # a progress bar that went leaves an empty line
    assert said.startswith("error: ")
    assert "\n" not in said
    assert (folder / "there.html").read_text() == "mine"


def test_overwrite_replaces(folder):
    (folder / "there.html").write_text("mine")
    assert intact("net.tflite", "--out", "there.html", "--overwrite", "--quiet").output == ""
    assert (folder / "there.html").stat().st_size > 100_000

"""Names that take over a terminal, go through every command: none of them does, and none makes a command fail."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nets import images, mobile

from intact.formats import tflite
from intact.network.graph import Graph, Tensor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not have such file names")
EVIL = "\x1b[31mRED\x1b]0;owned\x07\n|<b>`\u202e[red]"
#: As a file's name: no UTF-8 either.
FILE = "\x1b[31m\n[red]caf\udce9|"
COMMANDS = """
import sys
from intact.cli.app import app
code = 0
for typed in sys.argv[1].split(" ; "):
    try:
        app(eval(typed))
    except SystemExit as end:
        print("exit", end.code)
"""


def hostile(graph: Graph) -> Graph:
    def named(t: Tensor) -> Tensor:
        return replace(t, name=t.name + EVIL, origin="")

    return replace(graph, tensors={i: named(t) for i, t in graph.tensors.items()})


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What all commands print on an ASCII terminal, and the folder that they ran in."""
    root = tmp_path_factory.mktemp("names") / FILE
    root.mkdir()
    (root / f"{FILE}.tflite").write_bytes(tflite.write(hostile(mobile())))
    x = images(200)
    np.savez(root / f"{FILE}.npz", x=x, y=np.arange(200) % 4)
    model, data, out = f"{FILE}.tflite", f"{FILE}.npz", f"{FILE}.out"
    typed = [
        ["inspect", model],
        ["evaluate", model, "--data", data, "--against", model],
        ["benchmark", model],
        ["diagnose", model, "--data", data],
        ["quantize", model, "--data", data, "--out", out, "--remedies", "none"],
        ["quantize", model, "--data", f"{FILE}.gone"],
        ["inspect", data],
    ]
    env = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "200"}
    script = [sys.executable, "-c", COMMANDS, " ; ".join(map(ascii, typed))]
    ran = subprocess.run(script, cwd=root, env=env, capture_output=True, check=False)
    return ran.stdout, ran.stderr, root / out


def test_no_command_fails_for_its_names(said):
    out, err, _ = said
    codes = [line for line in out.decode().splitlines() if line.startswith("exit")]
    assert codes == ["exit 0"] * 5 + ["exit 2"] * 2, err.decode()
    assert b"Traceback" not in err
    assert err.count(b"error: ") == 2


@pytest.mark.parametrize("stream", [0, 1], ids=["out", "err"])
def test_nothing_but_printable_characters_is_printed(said, stream):
    text = said[stream].decode("ascii")
    assert all(c.isprintable() or c == "\n" for c in text), ascii(text)
    assert r"\x1b[31m\n[red]caf\udce9|" in text


def test_the_results_can_be_read(said):
    folder: Path = said[2]
    page = (folder / "result.md").read_text("utf-8")
    assert "\x1b" not in page
    assert r"# \x1b\[31m\n\[red\]caf\udce9&#124;.tflite as int8" in page
    for name in ("result.json", "plan.json", "job.json"):
        text = (folder / name).read_bytes().decode("ascii")
        json.loads(text)
        assert all(c.isprintable() or c == "\n" for c in text)

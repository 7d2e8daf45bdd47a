"""Networks written as C, compiled for this machine with every warning and sanitizer, and run on given samples."""

from __future__ import annotations

import shutil
import subprocess
from math import prod
from pathlib import Path

import numpy as np
import pytest

from intact.deploy.c.network import Text, write
from intact.network.graph import Graph
from intact.network.shapes import infer

WARNINGS = (
    *("all", "extra", "conversion", "sign-conversion", "shadow", "strict-prototypes"),
    *("double-promotion", "float-equal", "error"),
)
STRICT = ("-std=c99", "-pedantic", *(f"-W{warning}" for warning in WARNINGS))
SANITIZED = ("-O1", "-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")


def compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler")
    return found


def outputs_in_c(graph: Graph, samples: dict[str, np.ndarray], folder: Path, ram: int | None = None) -> dict[str, np.ndarray]:
    """What the C of ``graph`` makes of ``samples``, by tensor name as they are: every output by name, [n, ...]."""
    net, shapes = write(graph, Text("net", "a test"), ram), infer(graph)
    lines = ['#include "net.h"', "#include <stdio.h>", "int main(void) {", "for (;;) {"]
    for n, i in enumerate(graph.inputs):
        size = prod(shapes[i])
        lines.append(f"if (fread(net_input_{n}(), sizeof *net_input_{n}(), {size}, stdin) != {size}) return 0;")
    lines.insert(3, "net_init();")
    lines.append("net_run();")
    lines += [
        f"fwrite(net_output_{n}(), sizeof *net_output_{n}(), {prod(shapes[i])}, stdout);" for n, i in enumerate(graph.outputs)
    ]
    for name, text in (("net.h", net.header), ("net.c", net.body), ("main.c", "\n".join([*lines, "}", "}", ""]))):
        (folder / name).write_text(text)
    made = subprocess.run(
        [compiler(), *STRICT, *SANITIZED, "net.c", "main.c", "-o", "run"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    count = len(next(iter(samples.values())))
    given = b"".join(samples[graph[i].name][n].tobytes() for n in range(count) for i in graph.inputs)
    ran = subprocess.run([str(folder / "run")], input=given, capture_output=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    held = {i: shapes[i][1:] if shapes[i][0] == 1 else shapes[i] for i in graph.outputs}  # of one call
    types = [(graph[i].name, np.dtype(graph[i].format.dtype), shape) for i, shape in held.items()]
    rows = np.frombuffer(ran.stdout, np.dtype([(name, dtype, shape) for name, dtype, shape in types]))
    assert len(rows) == count
    return {name: rows[name] for name, _, _ in types}

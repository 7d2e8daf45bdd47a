"""Child process: what Arm's compiler Vela says of a .tflite file. Needs ethos-u-vela only.

Vela is a process of its own below this one: its native code may end it.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(request: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Compile ``request["model"]`` for ``accelerator``, ``system`` and ``memory``; the exit ``status`` of Vela, what it
    ``printed``, and the rows of its two tables, ``summary`` and ``layers``.
    """
    del progress
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-P", "-m", "ethosu.vela", request["model"], "--output-dir", folder, "--verbose-performance"),
            *("--config", "Arm/vela.ini", "--accelerator-config", request["accelerator"]),
            *("--system-config", request["system"], "--memory-mode", request["memory"]),
        ]
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        tables = {"summary": "*_summary_*.csv", "layers": "*_per-layer.csv"}
        rows = {name: _rows(Path(folder), pattern) for name, pattern in tables.items()}
    return {"status": done.returncode, "printed": done.stdout.decode(errors="replace"), **rows}


def _rows(folder: Path, pattern: str) -> list[dict[str, str]]:
    """The rows of the table that is called so; none where Vela wrote none."""
    rows = list[dict[str, str]]()
    for path in folder.glob(pattern):
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            rows += [{str(k): str(v) for k, v in row.items()} for row in csv.DictReader(file)]
    return rows

"""Examples, and other folders that are no packages: their recipes as a user types them, and their modules."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, out: Path, *options: str | Path) -> Path:
    """The smallest budget of the example ``name``; the folder ``out`` that it wrote."""
    command = [sys.executable, EXAMPLES / name / "recipe.py", "--budget", "test", "--out", out, *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return out


def rows(out: Path) -> list[list[str]]:
    """The rows of all tables in what an example wrote, headings too, cell by cell; empty cells at a row's end are left out."""
    lines = (line for line in (out / "table.md").read_text().splitlines() if line.startswith("| "))
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]


def by_name(out: Path) -> dict[str, list[str]]:
    """The cells of each row, by the first of them."""
    return {row[0]: row[1:] for row in rows(out)}


def classes(file: Path, samples: Iterable[np.ndarray]) -> np.ndarray:
    """The class that LiteRT gives each of ``samples`` (float32, without a batch) by ``file``, int64 ``[n]``, one at a time."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    runtime = Interpreter(str(file))
    runtime.allocate_tensors()
    taken, given = runtime.get_input_details()[0], runtime.get_output_details()[0]
    scale, zero_point = taken["quantization"]
    found = []
    for sample in samples:
        stored = sample
        if scale:
            stored = np.clip(np.round(sample / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
        runtime.set_tensor(taken["index"], stored[None])
        runtime.invoke()
        found.append(runtime.get_tensor(given["index"]).argmax())
    return np.array(found)


@contextmanager
def modules(folder: Path, *names: str) -> Iterator[list[ModuleType]]:
    """Modules of ``folder``, importable by ``names``. At the end others of these names are what they were."""
    before = {name: sys.modules.pop(name, None) for name in names}
    sys.path.insert(0, str(folder))
    try:
        yield [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(folder))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module

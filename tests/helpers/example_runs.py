"""Examples, and other folders that are no packages: their recipes as a user types them, and their modules."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, out: Path, *options: str | Path) -> Path:
    """The smallest budget of the example ``name``; the folder ``out`` that it wrote."""
    command = [sys.executable, EXAMPLES / name / "recipe.py", "--budget", "test", "--out", out, *options]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return out


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

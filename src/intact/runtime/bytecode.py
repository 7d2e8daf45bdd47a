"""Compiled modules of installed packages, before a child needs them.

A confined child cannot keep what Python compiles for it, and some installers leave compiling to the first import: each child
would compile TensorFlow again, which takes longer than most conversions.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_SECONDS: Final = 600.0


def compile_once(packages: Sequence[str]) -> None:
    """Import ``packages`` in a process of its own, without a stranger's file, if one of them is not compiled and can be."""
    if not sys.dont_write_bytecode and any(_wants_compiling(package) for package in packages):
        script = f"import {', '.join(packages)}"
        try:
            subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return  # the child is slower for it


def _wants_compiling(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.cached is None or spec.origin is None:
        return False
    cached = Path(spec.cached)
    folder = cached.parent if cached.parent.is_dir() else Path(spec.origin).parent
    return not cached.exists() and os.access(folder, os.W_OK)

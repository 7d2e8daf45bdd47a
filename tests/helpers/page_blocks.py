"""The blocks of a page's text, and a child that runs them in order in one folder, as a reader would type them.

``python page_blocks.py PAGE.md`` is that child: blocks of Python share their names, blocks of shell end at the first line that
fails. A block under ``<!-- not executed: reason -->`` is left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"(?:^<!-- not executed: ([^\n]+) -->\n)?^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of ``sh`` or ``python``, and why it is not executed, if it is not."""

    language: str
    code: str
    reason: str | None


def blocks(text: str) -> list[Block]:
    """The blocks of shell and Python of a text, in order."""
    return [Block(found[2], found[3], found[1]) for found in _BLOCK.finditer(text)]


def run(page: Path, folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run what ``page`` says to type in ``folder``, with the commands of this interpreter's environment."""
    path = os.pathsep.join((str(Path(sys.executable).parent), env["PATH"]))
    program = [sys.executable, __file__, str(page)]
    return subprocess.run(program, cwd=folder, env={**env, "PATH": path}, capture_output=True, text=True, check=False)


def _follow(page: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page.read_text()):
        if block.reason is not None:
            continue
        print(f"--- {block.language}\n{block.code}---", flush=True)
        if block.language == "sh":
            subprocess.run(["bash", "-euo", "pipefail", "-c", block.code], check=True)
        else:
            exec(compile(block.code, str(page), "exec"), names)


if __name__ == "__main__":
    _follow(Path(sys.argv[1]))

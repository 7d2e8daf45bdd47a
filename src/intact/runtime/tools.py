"""Compilers and emulators that users have installed: found by name, run with a time limit, their first error told."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from intact.errors import ChildError, MissingToolError
from intact.runtime import ending

#: Words of a message that are told, at most.
_TOLD: Final = 300
_ERROR: Final = re.compile(r"(?:error|undefined reference|overflowed by|cannot|not found|No such)", re.IGNORECASE)


@final
@dataclass(frozen=True)
class Tool:
    """A program by ``name``, and the line that ``installs`` it on Debian and its like."""

    name: str
    installs: str

    @property
    def path(self) -> str | None:
        """Where it is; None where it is not installed."""
        return shutil.which(self.name)

    def run(self, arguments: Sequence[str], folder: Path, *, timeout: float) -> str:
        """What it prints when it runs with ``arguments`` in ``folder``.

        MissingToolError where it is not installed; ChildError with its first error where it fails, and where it is not done
        after ``timeout`` seconds, when it and what it started are ended.
        """
        path = self.path
        if path is None:
            raise MissingToolError(f"{self.name} is not installed; type: {self.installs}")
        with subprocess.Popen(
            [path, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **ending.APART,
        ) as process:
            try:
                printed = str(process.communicate(timeout=timeout)[0], errors="replace")
            except BaseException as error:
                ending.end(process)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise ChildError(f"{self.name} was not done after {timeout:g} seconds, and was ended") from error
                raise
        if process.returncode:
            failed = ChildError(f"{self.name} failed: {_first_error(printed) or f'exit code {process.returncode}'}")
            failed.add_note(printed)
            raise failed
        return printed


def _first_error(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    found = next((line for line in lines if _ERROR.search(line)), lines[-1] if lines else "")
    return found[:_TOLD]


HOST_COMPILER: Final = Tool("cc", "apt-get install gcc")
ARM_COMPILER: Final = Tool("arm-none-eabi-gcc", "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi")
ARM_SIZE: Final = Tool("arm-none-eabi-size", ARM_COMPILER.installs)
EMULATOR: Final = Tool("qemu-system-arm", "apt-get install qemu-system-arm")

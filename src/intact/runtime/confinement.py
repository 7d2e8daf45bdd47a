"""What a child process may do and use: said by its caller as a value, held to by the kernel (``scripts/confine.py``).

Where the system cannot deny writing (all but Linux with Landlock), folders are compared before and after instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, final

_GB: Final = 10**9
#: Taken for the machine's memory where the system does not tell.
_UNKNOWN_MEMORY: Final = 16 * _GB
#: The variables that a child sees. Nobody's tokens and keys are among them.
_PASSED: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|(DY)?LD_\w*(PATH|PRELOAD)|VIRTUAL_ENV|CONDA_PREFIX"
    r"|PYTHON(PATH|HOME|USERBASE|NOUSERSITE|HASHSEED|UTF8|WARNINGS|DONTWRITEBYTECODE|PYCACHEPREFIX|FAULTHANDLER|MALLOC)"
    r"|\w+_NUM_THREADS|(OMP|GOMP|KMP|MKL|OPENBLAS|MALLOC)_\w+|CUDA_VISIBLE_DEVICES|TF_(CPP_MIN_LOG_LEVEL|ENABLE_ONEDNN_OPTS)"
    r"|SYSTEM(ROOT|DRIVE)|WINDIR|COMSPEC|PATHEXT|USERPROFILE|HOMEDRIVE|HOMEPATH|(LOCAL)?APPDATA|PROGRAM(DATA|FILES\S*)"
    r"|NUMBER_OF_PROCESSORS|PROCESSOR_\w+",
    re.IGNORECASE,  # as Windows has them
)

#: What a folder holds: when each file in it was last written, and its size; zeros for folders, in which others work too.
Listing: TypeAlias = Mapping[Path, tuple[int, int]]


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return _UNKNOWN_MEMORY


def _most_memory() -> int:
    return max(machine_memory() * 9 // 10, 2 * _GB)


@final
@dataclass(frozen=True)
class Confinement:
    """The limits of one child, beside which it has no network, no core dumps and a clean environment.

    ``writes``: the files and folders that it may change, besides a scratch folder of its own. ``memory`` and ``file_bytes`` (of
    one file) are in bytes; ``cpu_seconds`` count from the start or the last progress, over all threads. ``watched``: folders
    whose content is compared afterwards where the system cannot deny writing.
    """

    writes: tuple[Path, ...] = ()
    memory: int = field(default_factory=_most_memory)
    cpu_seconds: int = 4 * 3600
    file_bytes: int = 64 * _GB
    watched: tuple[Path, ...] = ()

    def rules(self, scratch: Path) -> str:
        """As the child reads them."""
        limits = {"memory": self.memory, "cpu_seconds": self.cpu_seconds, "file_bytes": self.file_bytes}
        return json.dumps({"writes": [str(path) for path in (*self.writes, scratch)], **limits})


def environment(scratch: Path) -> dict[str, str]:
    """A child's environment variables: those that it needs of ours, and ``scratch`` for temporary files."""
    passed = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
    return (
        passed | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)) | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    )


def listing(folders: tuple[Path, ...]) -> Listing:
    """What lies in folders, not below them."""
    found: dict[Path, tuple[int, int]] = {}
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    stat = entry.stat(follow_symlinks=False)
                    is_folder = entry.is_dir(follow_symlinks=False)
                    found[Path(entry.path)] = (0, 0) if is_folder else (stat.st_mtime_ns, stat.st_size)
    return found


def changed(before: Listing, after: Listing) -> list[Path]:
    """What is new, gone or written since, in order."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))

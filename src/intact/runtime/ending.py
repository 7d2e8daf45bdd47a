"""How child processes end: all that one started with it, and what its exit status says of the reason.

On POSIX a child leads a process group of its own, and the group is killed. Windows has no such groups, and its ``taskkill``
ends a process with those that it started.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from typing import Any, Final

from intact.runtime.confinement import Confinement

#: For ``subprocess.Popen``: Ctrl-C in a terminal goes to us alone, and all that the child starts can be ended with it.
APART: Final[Mapping[str, Any]] = {
    "start_new_session": True,
    "creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows alone has it
}
_KILL_GROUP: Final = getattr(os, "killpg", None)  # Windows has none
_USUAL_CAUSES: Final[Mapping[str, str]] = {
    "SIGKILL": ", often for want of memory",
    "SIGBUS": ", often for want of disk space",
}
#: Exit statuses of Windows that stand for a crash (NTSTATUS).
_CRASHES: Final[Mapping[int, str]] = {
    0xC0000005: "an access violation",
    0xC000001D: "an instruction that this processor does not have",
    0xC00000FD: "a stack overflow",
    0xC0000409: "abort or a damaged stack",
}
#: What libraries print or raise where memory ends.
_NO_MEMORY: Final = re.compile(
    r"MemoryError|bad_alloc|[Oo]ut of memory|[Cc]an(?:'t|not) allocate|Unable to allocate|OOM when allocating|length_error"
)


def end(process: subprocess.Popen[bytes]) -> int:
    """Kill a process that was started :data:`APART` and all that it started; its exit status."""
    if _KILL_GROUP is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            _KILL_GROUP(process.pid, signal.SIGKILL)
    elif (tool := shutil.which("taskkill")) is not None:
        subprocess.run([tool, "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    with contextlib.suppress(PermissionError):  # Windows' word for one that has ended already
        process.kill()
    return process.wait()


def out_of_memory(text: str) -> bool:
    """Whether an error or the last thing printed says that memory ended."""
    return _NO_MEMORY.search(text) is not None


def no_memory(confinement: Confinement) -> str:
    """What is said of a child that wanted more memory than it may have."""
    return (
        f"ran out of memory: it may take {confinement.memory / 1e9:.3g} GB on this machine; give it a smaller model, or a "
        "machine with more memory"
    )


def died(status: int, confinement: Confinement, last_words: str) -> str:
    """What is said of a child that ended by itself, without an answer; ``last_words`` of what it printed, if there are any."""
    name = _name(-status) if status < 0 else ""
    if name == "SIGXCPU":
        return f"used {confinement.cpu_seconds:,} seconds of processor time without progress, and was stopped"
    if name == "SIGXFSZ":
        return f"wrote a file of more than {confinement.file_bytes / 1e9:.3g} GB, and was stopped"
    if out_of_memory(last_words):
        return no_memory(confinement)
    said = f"; its last words: {last_words!r}" if last_words else ""
    if status < 0:
        return f"died of {_signal(-status, name)}{said}"
    if status in _CRASHES:
        return f"died of {_CRASHES[status]}{said}"
    return f"ended with status {status} and no answer{said}"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _signal(number: int, name: str) -> str:
    """``SIGABRT (Aborted)``, with what usually stands behind it."""
    text = signal.strsignal(number)
    return f"{name or f'signal {number}'} ({text}{_USUAL_CAUSES.get(name, '')})" if text else name or f"signal {number}"

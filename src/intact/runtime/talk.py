"""What is said with one child process, here or elsewhere."""

from __future__ import annotations

import contextlib
import json
import queue
import re
import subprocess
import time
from collections.abc import Mapping
from typing import Any, Final, final

from intact import scratch
from intact.errors import ChildError
from intact.progress import StepProgress
from intact.runtime import ending
from intact.runtime.confinement import Confinement
from intact.runtime.process import Process, started

#: Bytes kept of what a child prints, and the longest line of an answer; arrays travel in files.
_KEEP: Final = 1 << 20
_LONGEST: Final = 1 << 24
#: Chunks that wait to be looked at; a child that says more waits too.
_AHEAD: Final = 64
#: Seconds between looks at the clock. Windows does not let Ctrl-C end a wait.
_TICK: Final = 0.25
#: Seconds that the last of what a child printed may take to arrive: a grandchild may hold the pipe open for ever.
_LAST: Final = 1.0
#: Lines that native libraries print without meaning anything: glog and absl prefixes, blank or bracket-only lines.
_NOISE: Final = re.compile(
    r"\s*$|INFO\b|WARNING\b|[IW]\d{4} |\W*$|.*(?:Warning: |oneDNN|cuda drivers)|\s+(?:warnings\.warn|File )"
)


@final
class Talk:
    """One child, from its first request to its end; mutable, owned by whoever started it."""

    def __init__(self, what: str, process: Process, confinement: Confinement, on_progress: StepProgress | None) -> None:
        self.process = process
        #: What the child says that the system holds it to, of "memory", "cpu", "files", "writes", "network".
        self.confined: frozenset[str] = frozenset()
        self._what, self._confinement, self._on_progress = what, confinement, on_progress
        self._heard: queue.Queue[bytes] = queue.Queue(_AHEAD)
        self._pending, self._printed = bytearray(), bytearray()
        self._readers = process.listen(self._heard.put, self._keep)

    def finish(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """The answer; ChildError where there is none, with what was printed in its notes."""
        started(self._say, (json.dumps(request) + "\n").encode())
        match self._answer(timeout):
            case {"result": dict() as result}:
                return result
            case {"result": _}:
                raise self._error("answered garbage: its result is not a dictionary")
            case {"limit": _}:
                raise self._error(ending.no_memory(self._confinement))
            case {"error": said} if ending.out_of_memory(str(said)):
                raise self._error(f"{ending.no_memory(self._confinement)} ({_shorten(str(said))})")
            case {"error": said}:
                raise scratch.told_of_no_room(str(said)) or self._error(f"failed ({_shorten(str(said))})")
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._error("closed its channel without an answer and did not end") from None
        raise self._error(ending.died(status, self._confinement, self._last_words()))

    def close(self) -> None:
        """End the child with everything that it started, and leave no pipe open; twice is once."""
        self.process.end()
        latest = time.monotonic() + _LAST
        for reader in self._readers:
            while reader.is_alive() and time.monotonic() < latest:
                with contextlib.suppress(queue.Empty):
                    self._heard.get(timeout=0.01)  # what nobody wants must not hold the reader up
        self.process.close()

    def _answer(self, timeout: float) -> dict[str, Any]:
        """The first message that ends a request; empty where the child closed its channel instead."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            try:
                chunk = self._heard.get(timeout=min(left, _TICK))
            except queue.Empty:
                continue
            if not chunk:
                return {}
            for line in self._lines(chunk):
                match _parse(line):
                    case {"confined": [*names]}:
                        self.confined = frozenset(map(str, names))
                    case {"progress": [int(done), int(total)]}:
                        deadline = time.monotonic() + timeout
                        if self._on_progress is not None:
                            self._on_progress(done, total)
                    case {"result": _} | {"error": _} | {"limit": _} as answer:
                        return answer
                    case _:
                        raise self._error(f"answered garbage: {_shorten(line.decode(errors='replace'), 80)!r}")
        raise self._error(f"gave no sign of life for {timeout:g} seconds and was stopped")

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that are complete by now."""
        self._pending += chunk
        if len(self._pending) > _LONGEST:
            raise self._error(f"answered garbage: a line of more than {_LONGEST} bytes")
        if b"\n" not in chunk:
            return []
        *lines, rest = bytes(self._pending).split(b"\n")
        self._pending = bytearray(rest)
        return lines

    def _say(self, data: bytes) -> None:
        """Say ``data``; a child that died before it read all is told of by its exit status instead."""
        with contextlib.suppress(OSError, ValueError):
            self.process.say(data)

    def _keep(self, chunk: bytes) -> None:
        self._printed += chunk
        del self._printed[:-_KEEP]

    def _text(self) -> str:
        """What was printed so far; all of it where the child has ended."""
        self._readers[1].join(_LAST)
        return bytes(self._printed).decode(errors="replace")

    def _error(self, says: str) -> ChildError:
        error = ChildError(f"{self._what} {says}")
        if printed := self._text().strip():
            error.add_note(f"What {self._what} printed:\n{printed}")
        return error

    def _last_words(self) -> str:
        lines = [line for line in self._text().splitlines() if not _NOISE.match(line)]
        return _shorten(lines[-1]) if lines else ""


def _parse(line: bytes) -> dict[str, Any]:
    """The message, or an empty one for garbage."""
    with contextlib.suppress(ValueError, RecursionError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return {}


def _shorten(text: str, limit: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"

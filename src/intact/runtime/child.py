"""Run a script in a child process, so that its crash, hang or garbage is an error message and not ours."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from intact import scratch
from intact.errors import ChildError
from intact.progress import StepProgress

_SCRIPTS: Final = Path(__file__).resolve().parent / "scripts"
#: Bytes kept of what a child prints, and the longest line of an answer; arrays travel in files.
_KEEP: Final = 1 << 20
_LONGEST: Final = 1 << 24
#: Lines that native libraries print without meaning anything: glog and absl prefixes, blank or bracket-only lines.
_NOISE: Final = re.compile(
    r"\s*$|INFO\b|WARNING\b|[IW]\d{4} |\W*$|.*(?:Warning: |oneDNN|cuda drivers)|\s+(?:warnings\.warn|File )"
)

_USUAL_CAUSES: Final[Mapping[int, str]] = {
    signal.SIGKILL: ", often for want of memory",
    signal.SIGBUS: ", often for want of disk space",
}


def call(  # noqa: PLR0913  # three of them have defaults
    script: Path | str,
    request: Mapping[str, Any],
    *,
    what: str,
    timeout: float,
    on_progress: StepProgress | None = None,
    env: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run ``main(request, progress)`` of a Python file in a fresh process and return the dict that it returns.

    ``script`` is the name of a file in ``scripts/``, or an absolute path. It never imports ``intact``; the files beside it are
    there by plain name. ``request`` and result are JSON; large arrays travel as files that they name. ``progress(done, total)``
    in the script becomes ``on_progress(done, total)`` here. Whatever the script or native code prints is captured.

    ``what`` names the work in messages (``"LiteRT"``). ``timeout`` is in seconds since the start or the last progress:
    how long silence is taken for work. ``env`` is added to the environment.

    Raises :class:`ChildError` with one sentence when the script raises, dies of a signal, exits early, falls silent or answers
    garbage; everything the child printed is in the error's notes, which a traceback shows. Any exception here, Ctrl-C
    included, ends the child and its own children first; the child also ends when this process is killed.
    """
    talk = _start(script, what, on_progress, env)
    try:
        return talk.finish(request, timeout)
    finally:
        talk.close()


@final
class Conversation:
    """A child that answers one request after another, so that what it loaded is loaded once; safe to ask from several threads.

    ``script`` and ``what`` as in :func:`call`. The child starts at the first request and ends with :meth:`close`, with this
    object, with this process, or with a request that fails; the next request starts another.
    """

    def __init__(self, script: Path | str, *, what: str) -> None:
        self._script, self._what = script, what
        self._lock = threading.Lock()
        self._talk: _Talk | None = None

    def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """The answer; ChildError as :func:`call` raises it."""
        with self._lock:
            if self._talk is not None and self._talk.process.poll() is not None:
                self._end()  # Linux ends a child with the thread that started it
            if self._talk is None:
                self._talk = _start(self._script, self._what)
                weakref.finalize(self, self._talk.close)
            try:
                return self._talk.finish(request, timeout)
            except BaseException:
                self._end()
                raise

    def close(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._talk is not None:
            self._talk.close()
            self._talk = None


def _start(
    script: Path | str, what: str, on_progress: StepProgress | None = None, env: Mapping[str, str] | None = None
) -> _Talk:
    """A fresh process that waits for a request."""
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPTS / "serve.py"), str(_SCRIPTS / script), str(write_end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(write_end,),
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | dict(scratch.environment()) | dict(env or {}),
            start_new_session=True,  # Ctrl-C in a terminal goes to us alone, and we can end its whole group
        )
    except OSError as error:
        os.close(read_end)
        raise ChildError(f"{what} could not be started ({error}); is {sys.executable} still there?") from error
    finally:
        os.close(write_end)
    return _Talk(what, process, read_end, on_progress)


@final
@dataclass
class _Talk:
    """What is said with one child; mutable, owned by :func:`call` or a :class:`Conversation`."""

    what: str
    process: subprocess.Popen[bytes]
    channel: int
    on_progress: StepProgress | None
    printed: bytearray = field(default_factory=bytearray)
    pending: bytearray = field(default_factory=bytearray)
    answer: dict[str, Any] = field(default_factory=dict)
    closed: bool = False

    def finish(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        self.answer = {}
        self._listen((json.dumps(request) + "\n").encode(), timeout)
        if isinstance(result := self.answer.get("result"), dict):
            return result
        if "error" in self.answer:
            said = str(self.answer["error"])
            raise scratch.told_of_no_room(said) or self._error(f"failed ({_shorten(said)})")
        if "result" in self.answer:
            raise self._error("answered garbage: its result is not a dictionary")
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise self._error("closed its channel without an answer and did not end") from None
        if status < 0:
            raise self._error(f"died of {_signal(-status)}{self._last_words()}")
        raise self._error(f"ended with status {status} and no answer{self._last_words()}")

    def _listen(self, request: bytes, timeout: float) -> None:
        """Send the request and read until the answer is there or the channel is closed, whichever comes first."""
        pipe_in, pipe_out = self.process.stdin, self.process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        for fd in (pipe_in.fileno(), pipe_out.fileno(), self.channel):
            os.set_blocking(fd, False)
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(pipe_in.fileno(), selectors.EVENT_WRITE)
            selector.register(pipe_out.fileno(), selectors.EVENT_READ)
            selector.register(self.channel, selectors.EVENT_READ)
            while not self.answer:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._error(f"gave no sign of life for {timeout:g} seconds and was stopped")
                for key, _ in selector.select(left):
                    if key.fd == pipe_in.fileno():
                        request = request[_write(key.fd, request) :]
                        if not request:
                            selector.unregister(key.fd)  # stays open: its closing tells the child that we died
                    elif key.fd == self.channel:
                        chunk = os.read(key.fd, 1 << 16)
                        if not chunk:
                            self._drain()
                            return
                        if self._take(chunk):
                            deadline = time.monotonic() + timeout
                    elif not self._keep(os.read(key.fd, 1 << 16)):
                        selector.unregister(key.fd)
        self._drain()

    def _take(self, chunk: bytes) -> bool:
        """Handle the complete lines so far; True when one of them was progress."""
        self.pending += chunk
        if len(self.pending) > _LONGEST:
            raise self._error(f"answered garbage: a line of more than {_LONGEST} bytes")
        if b"\n" not in chunk:
            return False
        *lines, rest = bytes(self.pending).split(b"\n")
        self.pending = bytearray(rest)
        progressed = False
        for line in lines:
            match _parse(line):
                case {"progress": [int(done), int(total)]}:
                    progressed = True
                    if self.on_progress is not None:
                        self.on_progress(done, total)
                case {"result": _} | {"error": _} as answer:
                    self.answer = answer
                    return progressed
                case _:
                    raise self._error(f"answered garbage: {_shorten(line.decode(errors='replace'), 80)!r}")
        return progressed

    def _keep(self, chunk: bytes) -> bool:
        self.printed += chunk
        del self.printed[:-_KEEP]
        return bool(chunk)

    def _drain(self) -> None:
        """Take what is printed already; a grandchild may hold the pipe open, so do not wait for its end."""
        assert self.process.stdout is not None
        with contextlib.suppress(BlockingIOError):
            while self._keep(os.read(self.process.stdout.fileno(), 1 << 16)):
                pass

    def _error(self, says: str) -> ChildError:
        error = ChildError(f"{self.what} {says}")
        if printed := self._text().strip():
            error.add_note(f"What {self.what} printed:\n{printed}")
        return error

    def _text(self) -> str:
        return self.printed.decode(errors="replace")

    def _last_words(self) -> str:
        lines = [line for line in self._text().splitlines() if not _NOISE.match(line)]
        return f"; its last words: {_shorten(lines[-1])!r}" if lines else ""

    def close(self) -> None:
        """End the child with everything that it started, and leave no descriptor open; twice is once."""
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.channel)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _write(fd: int, data: bytes) -> int:
    """Bytes written; a child that died before reading is told of by its exit status instead."""
    try:
        return os.write(fd, data[: 1 << 16])
    except BrokenPipeError:
        return len(data)


def _parse(line: bytes) -> dict[str, Any]:
    """The message, or an empty one for garbage."""
    with contextlib.suppress(ValueError, RecursionError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return {}


def _signal(number: int) -> str:
    """``SIGABRT (Aborted)``, with what usually stands behind it."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    text = signal.strsignal(number)
    hint = _USUAL_CAUSES.get(number, "")
    return f"{name} ({text}{hint})" if text else name


def _shorten(text: str, limit: int = 300) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"

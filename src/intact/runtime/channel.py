"""What is said with ``scripts/remote.py`` on a machine elsewhere: one process there takes one step after the other."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, Protocol, final

from intact.errors import IntactError, LineLostError, OutputError, PlaceError
from intact.runtime import ending
from intact.runtime.devices import Device
from intact.runtime.lacking import OLDEST, no_python
from intact.runtime.process import Taking, started
from intact.runtime.runner import steps
from intact.runtime.ssh import FAILED

_CHUNK: Final = 1 << 18
#: Seconds between signs of life of ours, and without one after which what runs there ends.
_BEAT, _SILENCE = 5.0, 40.0
#: Seconds that a step may take, and one that moves a file.
STEP: Final = 120.0
_TRANSFER: Final = 3600.0
#: Bytes that a login shell may print before the first word of ours.
_GREETING: Final = 1 << 20
#: Seconds for the end of a process to be told.
_ENDING: Final = 5.0


class Line(Protocol):
    """How words are run on another machine; ssh is one (:class:`intact.runtime.ssh.Ssh`)."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def command(self, words: list[str]) -> list[str]: ...

    def refusal(self, printed: str) -> PlaceError: ...


@final
class Channel:
    """A process on ``device`` that takes steps until one fails, with signs of life to it from a thread of their own.

    ``session``: the folder there that is in use meanwhile. ``seconds``: how long the start may take. One thread at a time takes
    steps. PlaceError where the device has no Python that does them, LineLostError where it cannot be reached.
    """

    def __init__(self, device: Device, line: Line, session: str, seconds: float = STEP) -> None:
        self._device, self._line = device, line
        self._saying, self._over, self._greeted = threading.Lock(), threading.Event(), False
        token = secrets.token_hex(8)
        self._process = subprocess.Popen(
            line.command(_words(device.python, {"token": token, "silence": _SILENCE, "session": session})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **ending.APART,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._printed = bytearray()
        self._listener = started(self._listen)
        with self._within(seconds):
            self.say(steps())
            self._greet(json.dumps({"serving": token}).encode())
        started(self._beat)

    @property
    def is_open(self) -> bool:
        return not self._over.is_set() and self._process.poll() is None

    def ask(self, step: str, arguments: Mapping[str, Any], data: bytes = b"", seconds: float = STEP) -> dict[str, Any]:
        """The answer of a step that takes ``data``. OutputError where no room is left there, PlaceError where it failed."""
        with self._within(seconds):
            self.say(_told(step, arguments) + data)
            return self._answer()

    def upload(self, step: str, arguments: Mapping[str, Any], rests: Iterable[tuple[Path, int, int]]) -> dict[str, Any]:
        """The answer of a step that takes ``rests``: of files, from one byte to another."""
        with self._within(_TRANSFER):
            with self._saying, contextlib.suppress(BrokenPipeError):  # why it takes no more is in the answer
                self._stdin.write(_told(step, arguments))
                for path, begin, end in rests:
                    with path.open("rb") as source:
                        source.seek(begin)
                        if _poured(source, self._stdin, end - begin):
                            raise PlaceError(f"{path.name} became shorter while it was sent to {self._device.name}")
                self._stdin.flush()
            return self._answer()

    def download(self, step: str, arguments: Mapping[str, Any], into: IO[bytes]) -> dict[str, Any]:
        """The answer of a step that gives bytes, which go to ``into``."""
        with self._within(_TRANSFER):
            self.say(_told(step, arguments))
            answer = self._answer()
            left = answer["bytes"]
            while left:
                into.write(chunk := self._exactly(min(left, _CHUNK)))
                left -= len(chunk)
            return answer

    def call(self, arguments: Mapping[str, Any]) -> Worker:
        """A worker that the step of this name starts; the channel is its own until it ends."""
        self.say(_told("call", arguments))
        return Worker(self)

    def close(self) -> None:
        """End what runs there; twice is once."""
        self._over.set()
        ending.end(self._process)
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def failure(self) -> PlaceError:
        """Why nothing more is said there."""
        try:
            status = self._process.wait(_ENDING)
        except subprocess.TimeoutExpired:
            status = FAILED
        self._listener.join(1.0)
        said = self._printed.decode(errors="replace")
        if status == FAILED or status < 0:
            return self._line.refusal(said)
        if self._greeted:
            last = next(reversed(said.strip().splitlines()), "it said nothing")[:200]
            return LineLostError(f"what does the steps on {self._device.name} ended with {status} ({last})")
        return no_python(self._device, status, said)

    def say(self, data: bytes) -> None:
        """Write ``data``; lost where nobody takes it, which whoever reads the answer hears of."""
        with self._saying, contextlib.suppress(OSError, ValueError):
            self._stdin.write(data)
            self._stdin.flush()

    def said(self) -> tuple[dict[str, Any], bytes]:
        """The next line, and the bytes that it tells of as what a worker printed; LineLostError where there is none."""
        if (answer := _parsed(self._stdout.readline())) is None:
            raise self.failure()
        match answer:
            case {"out": int(count)} | {"err": int(count)}:
                return answer, self._exactly(count)
        return answer, b""

    @contextlib.contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        """A step that takes so many seconds at most; what fails closes the channel."""
        limit = threading.Timer(seconds, ending.end, (self._process,))
        limit.daemon = True
        limit.start()
        try:
            yield
        except BaseException:
            self.close()
            raise
        finally:
            limit.cancel()

    def checked(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer that says no error."""
        match answer:
            case {"full": str(where)}:
                name = self._device.name
                raise OutputError(f"no room is left on {name} ({where}); make some there, or type: intact devices add "
                                  f"{name} … --folder with a folder that has some")  # fmt: skip
            case {"error": str(said)}:
                raise PlaceError(f"{self._device.name} failed ({said})")
        return answer

    def _answer(self) -> dict[str, Any]:
        return self.checked(self.said()[0])

    def _exactly(self, count: int) -> bytes:
        taken: bytes = self._stdout.read(count)
        if len(taken) != count:
            raise self.failure()
        return taken

    def _greet(self, greeting: bytes) -> None:
        """Pass by what a login shell prints."""
        passed = 0
        while (line := self._stdout.readline(_GREETING)).strip() != greeting:
            passed += len(line)
            if not line or passed > _GREETING:
                raise self.failure()
        self._greeted = True

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            self.say(b"\n")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError, OSError), self._process.stderr as pipe:
            while chunk := os.read(pipe.fileno(), _CHUNK):
                self._printed += chunk
                del self._printed[:-_GREETING]


@final
class Worker:
    """A worker script there as a :class:`~intact.runtime.process.Process`: what is said goes through the channel."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ended = threading.Event()
        self._status = FAILED
        self._saying, self._over = threading.Lock(), False
        #: Why there was no worker, or none any more, where that is not its own doing.
        self.lost: IntactError | None = None

    def poll(self) -> int | None:
        return self._status if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired("a worker", timeout or 0.0)
        return self._status

    def say(self, data: bytes) -> None:
        with self._saying:
            if not self._over:
                self._channel.say(b">" + data)

    def listen(self, out: Taking, err: Taking) -> tuple[threading.Thread, threading.Thread]:
        listener = started(self._listen, out, err)
        return listener, listener

    def end(self) -> None:
        """Have it killed there, or the channel closed where that is not done soon."""
        with self._saying:
            if not self._over and not self._ended.is_set():
                self._channel.say(b".\n")
            self._over = True
        if not self._ended.wait(_ENDING):
            self._channel.close()

    def close(self) -> None:
        """Nothing: the pipes are the channel's."""

    def _listen(self, out: Taking, err: Taking) -> None:
        try:
            while not self._ended.is_set():
                match self._channel.said():
                    case {"out": _}, data:
                        out(data)
                    case {"err": _}, data:
                        err(data)
                    case {"status": int(status)}, _:
                        self._status = status
                        self._ended.set()
                    case answer, _:
                        raise LineLostError(f"the line is disturbed ({self._channel.checked(answer)})")
        except (IntactError, ValueError, OSError) as error:
            self.lost = error if isinstance(error, IntactError) else LineLostError(f"the line broke ({error})")
            self._ended.set()
            self._channel.close()
        out(b"")


def _words(python: str, told: Mapping[str, Any]) -> list[str]:
    """A Python that reads the source of the steps from stdin, and nothing after it."""
    old = f"import os, sys; sys.version_info >= {OLDEST} or sys.exit('Python ' + sys.version.split()[0])"
    source = f"s = b''\nwhile len(s) < {len(steps())}: s += os.read(0, {len(steps())} - len(s)) or sys.exit(1)"
    return [python, "-c", f"{old}\n{source}\nexec(compile(s, 'remote.py', 'exec'))", "serve", json.dumps(told)]


def _told(step: str, arguments: Mapping[str, Any]) -> bytes:
    return json.dumps({"step": step, "arguments": arguments}).encode() + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        answer = json.loads(line)
        if isinstance(answer, dict):
            return answer
    return None


def _poured(source: IO[bytes], into: IO[bytes], count: int) -> int:
    """How many of ``count`` bytes are missing after the others went."""
    while chunk := source.read(min(_CHUNK, count)):
        into.write(chunk)
        count -= len(chunk)
    return count

"""Processes that compute with Intact itself: a function, a request in bytes and files go in, bytes come out.

Unlike the children of ``child.py`` they run our code on our values, and are not confined. A process answers one request after
another, so that what it loaded is loaded once; it ends with the process that started it, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeAlias, final, runtime_checkable

from intact import scratch
from intact.errors import ChildError, IntactError
from intact.progress import Progress
from intact.runtime import ending
from intact.runtime.confinement import Confinement, machine_memory

#: A function of a module: a request, files by name, and how far it is; the answer.
Compute: TypeAlias = Callable[[bytes, Mapping[str, Path], Progress], bytes]
#: Seconds between looks whether the work is still wanted.
TICK: Final = 0.25
#: The part of the machine's memory that they may take.
_PART: Final = 0.8
_LENGTH: Final = 8
#: Bytes kept of what a process prints, and seconds that the last of it may take to arrive.
_KEEP: Final = 1 << 16
_LAST: Final = 1.0
_START: Final = "import sys; sys.path[:] = {path!r}; from intact.runtime.workers import serve; serve()"


@final
@dataclass(frozen=True, eq=False)
class Asked:
    """``function(request, files, progress)``, with ``files`` as they lie where it is computed; ``what`` errors call it.

    It begins once there are the ``memory`` bytes that it takes, beside what others take there. ``check`` raises when it is no
    longer wanted.
    """

    function: Compute
    request: bytes
    files: Mapping[str, Path]
    what: str
    memory: int
    progress: Progress
    check: Callable[[], None]


@runtime_checkable
class Computer(Protocol):
    """Where functions of Intact are computed, ``at_once`` of them side by side.

    ``is_here``: whether files of this machine are at hand there, and work there disturbs what is timed here.
    """

    @property
    def at_once(self) -> int: ...

    @property
    def is_here(self) -> bool: ...

    def lacking(self) -> str:
        """Why what is computed there would be no equal of what is computed here; empty where it is."""
        ...

    def compute(self, asked: Asked) -> bytes:
        """The answer. The IntactError that is raised there is raised here. ChildError where the process fails or dies."""
        ...


@final
class Workers:
    """Processes of this machine, ``at_once`` at most; use it with ``with``. Safe to ask from several threads.

    ``memory``: bytes that they may take together; by default most of what there is. ``ready``: what they will compute, for
    which they load what it needs at once.
    """

    is_here: Final = True

    def __init__(self, at_once: int, memory: int | None = None, ready: Compute | None = None) -> None:
        self.at_once, self._memory = at_once, _PART * machine_memory() if memory is None else memory
        self._changed = threading.Condition()
        self._busy = self._taken = 0
        self._idle: list[_Worker] = []
        self._ready = ready

    def __enter__(self) -> Workers:
        if self._ready is not None:
            self._idle += [_Worker(self._ready) for _ in range(self.at_once)]
        return self

    def __exit__(self, *_: object) -> None:
        while self._idle:
            self._idle.pop().end()

    def lacking(self) -> str:
        return ""

    def compute(self, asked: Asked) -> bytes:
        request = pickle.dumps((asked.function, asked.request, dict(asked.files)))
        with self._room(asked.memory, asked.check):
            worker = self._idle.pop() if self._idle else _Worker()
            try:
                answer = worker.ask(request, asked.what, asked.progress, asked.check)
            except BaseException:
                worker.end()
                raise
            self._idle.append(worker)
        if isinstance(answer, bytes):
            return answer
        error, cause = answer
        raise error from cause

    @contextlib.contextmanager
    def _room(self, memory: int, check: Callable[[], None]) -> Iterator[None]:
        """A process and the memory for it; whoever is alone has room."""
        with self._changed:
            while self._busy and (self._busy == self.at_once or self._taken + memory > self._memory):
                check()
                self._changed.wait(TICK)
            self._busy, self._taken = self._busy + 1, self._taken + memory
        try:
            yield
        finally:
            with self._changed:
                self._busy, self._taken = self._busy - 1, self._taken - memory
                self._changed.notify_all()


@final
class _Worker:
    """One process, from its start to its end; whoever has it owns it."""

    def __init__(self, ready: Compute | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | scratch.environment(),
            **ending.APART,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._said: queue.Queue[bytes | None] = queue.Queue()
        self._printed = bytearray()
        self._readers = [_listening(self._process.stdout, self._said.put), _printing(self._process.stderr, self._printed)]
        self._end = weakref.finalize(self, ending.end, self._process)
        if ready is not None:
            self._say(pickle.dumps(ready))

    def ask(
        self, request: bytes, what: str, progress: Progress, check: Callable[[], None]
    ) -> bytes | tuple[IntactError, BaseException | None]:
        """The answer, or the error that the work came to with its cause."""
        self._say(request)
        while True:
            check()
            try:
                said = self._said.get(timeout=TICK)
            except queue.Empty:
                continue
            if said is None:
                raise self._died(what)
            match pickle.loads(said):
                case ("progress", step, done, total):
                    progress(step, done, total)
                case ("answer", bytes() as answer):
                    return answer
                case ("error", IntactError() as error, cause):
                    return error, cause
                case ("failed", why):
                    self._readers[1].join(_LAST)
                    error = ChildError(f"{what} failed ({why})")
                    error.add_note(f"What it printed:\n{self._text()}")
                    raise error

    def _say(self, message: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # a process that died is told of by its exit status
            _say(self._process.stdin, message)

    def end(self) -> None:
        """End it with all that it started; twice is once."""
        self._end()
        for reader in self._readers:
            reader.join(_LAST)
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _died(self, what: str) -> ChildError:
        status = self._process.wait()
        self._readers[1].join(_LAST)
        lines = self._text().strip().splitlines()
        return ChildError(f"{what} {ending.died(status, Confinement(), lines[-1] if lines else '')}")

    def _text(self) -> str:
        return bytes(self._printed).decode(errors="replace")


def serve() -> None:
    """In a process of :class:`Workers`: answer requests until nobody is there to ask."""
    channel, asked = os.fdopen(os.dup(1), "wb"), queue.SimpleQueue[bytes]()
    os.dup2(2, 1)  # what is printed is no answer
    saying = threading.Lock()

    def say(*message: object) -> None:
        with saying:
            _say(channel, pickle.dumps(message))

    def listen() -> None:
        while (request := _heard(sys.stdin.buffer)) is not None:
            asked.put(request)
        os._exit(1)  # nobody is there any more

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            match pickle.loads(asked.get()):
                case (function, request, files):
                    answer = function(request, files, lambda step, done, total: say("progress", step, done, total))
                case _:  # which is loaded now
                    continue
        except IntactError as error:
            say("error", error, error.__cause__ if isinstance(error.__cause__, OSError) else None)
        except Exception as error:  # whoever asked must hear of everything
            traceback.print_exc()
            sys.stderr.flush()
            say("failed", "".join(traceback.format_exception_only(error)).strip())
            os._exit(1)
        else:
            say("answer", answer)


def _say(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(_LENGTH, "big"))
    pipe.write(message)
    pipe.flush()


def _heard(pipe: IO[bytes]) -> bytes | None:
    """The next message; None where the other side is gone."""
    size = int.from_bytes(head, "big") if len(head := pipe.read(_LENGTH)) == _LENGTH else -1
    message = pipe.read(size) if size >= 0 else b""
    return message if len(message) == size else None


def _listening(pipe: IO[bytes], take: Callable[[bytes | None], Any]) -> threading.Thread:
    def listen() -> None:
        with pipe:
            while (message := _heard(pipe)) is not None:
                take(message)
        take(None)

    return _started(listen)


def _printing(pipe: IO[bytes], kept: bytearray) -> threading.Thread:
    def listen() -> None:
        with pipe:
            while chunk := os.read(pipe.fileno(), _KEEP):
                kept.extend(chunk)
                del kept[:-_KEEP]

    return _started(listen)


def _started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread

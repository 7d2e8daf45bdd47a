"""A machine elsewhere as a place to measure: worker scripts and files go there once, arrays and times come back.

The steps are those of ``scripts/remote.py``, taken by one process there (``channel.py``). A line that breaks is taken up again
for a while: files go on where they broke off, and a call is made anew. Nothing runs on there without us, and what a session
left is removed at its end.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, final

from intact import files
from intact.errors import ChildError, IntactError, LineLostError, OutputError, PlaceError
from intact.progress import StepProgress
from intact.runtime.channel import STEP, Channel, Line, Worker
from intact.runtime.confinement import Confinement
from intact.runtime.devices import Device
from intact.runtime.lacking import check, not_installed
from intact.runtime.patience import PATIENCE, Patience
from intact.runtime.places import answered, below, paths_in, replaced
from intact.runtime.runner import home, zipped_scripts
from intact.runtime.ssh import FAILED
from intact.runtime.talk import Talk

#: Seconds for a board to install a package.
_INSTALLING: Final = 1800.0
#: Seconds for what a session left to be removed.
_LEAVING: Final = 10.0
#: Bytes of inputs that a session keeps there for the next file that runs on them.
_KEPT: Final = 1 << 30
#: Seconds that a file has been as it is, for its hash to hold until its time of change is another.
_SETTLED: Final = 2.0


@final
class Elsewhere:
    """A device over a line, as a :class:`~intact.runtime.places.Place`; calls of several threads wait for each other, so that
    each has the device for itself.

    ``patience``: seconds for which a line that broke is taken up again. Use it with ``with``; PlaceError where the device
    cannot be reached or lacks what the worker scripts need.
    """

    piece_bytes: Final = 32 << 20
    at_once: Final = 1

    def __init__(self, device: Device, line: Line, *, patience: float = PATIENCE) -> None:
        self.device = device
        self.patience = Patience(patience, self._reached)
        self._line = line
        self._session = f"sessions/{uuid.uuid4().hex}"
        self._sent: dict[str, int] = {}
        self._hashed: dict[tuple[Path, int, int, int], str] = {}
        self._folder = ""
        self._channel: Channel | None = None
        self._calling = threading.RLock()
        self.cores, self.memory = 1, 0
        self.machine: Mapping[str, Any] = {}

    @property
    def name(self) -> str:
        return self.device.name

    def __enter__(self) -> Elsewhere:
        self._line.open()
        try:
            self._begin()
        except BaseException:
            self._hang_up()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(PlaceError, OutputError, OSError):
            self._step("drop", {"paths": [f"{self._folder}/{self._session}"]}, seconds=_LEAVING)
        self._hang_up()

    def _begin(self) -> None:
        found = self.look()
        check(self.name, found)
        self._folder, self.patience.boot = found["folder"], found["state"]["boot"]
        self.cores, self.memory, self.machine = found["cores"], found["memory"], found
        if not found["has_runner"]:
            scripts = zipped_scripts()
            self._step("install", {"folder": self._scripts, "size": len(scripts)}, scripts)
        self._step("sweep", {"folder": self._folder, "runner": home()})

    def look(self) -> dict[str, Any]:
        """What the device is and how it does now: see ``look`` in ``scripts/remote.py``."""
        return self._step("look", {"folder": self.device.folder, "runner": home()})

    def prepare(self) -> Device:
        """Install LiteRT there, in an environment of its own, and say the row that uses it. PlaceError where it cannot be."""
        self._line.open()
        try:
            found = self.look()
        finally:
            self._hang_up()
        environment = f"{found['folder']}/python"
        python = f"{environment}/bin/python"
        for words in (
            [self.device.python, "-m", "venv", environment],
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "ai-edge-litert", "numpy"],
        ):
            ended = subprocess.run(self._line.command(words), capture_output=True, timeout=_INSTALLING, check=False)
            if ended.returncode == FAILED:
                raise self._line.refusal(ended.stderr.decode(errors="replace"))
            if ended.returncode:
                raise not_installed(self.name, (ended.stdout + ended.stderr).decode(errors="replace"), found)
        return replace(self.device, python=python)

    def call(  # noqa: PLR0913  # as the protocol has it
        self,
        script: str,
        request: Mapping[str, Any],
        *,
        what: str,
        timeout: float,
        on_progress: StepProgress | None = None,
        confinement: Confinement | None = None,
    ) -> dict[str, Any]:
        """See :class:`~intact.runtime.places.Place`. LineLostError where the line does not come back."""
        held = replace(confinement or Confinement(), memory=self.memory * 9 // 10)
        title = f"{what} on {self.name}"

        def once() -> dict[str, Any]:
            there = f"{self._folder}/{self._session}/calls/{uuid.uuid4().hex}"
            sent = self.patience.keep(lambda: self._all_sent([path for path in paths_in(request) if not path.is_dir()]))
            told = replaced(request, lambda path: sent.get(path, there))
            rules = json.loads(held.rules(Path(there)))
            worker = self._talking().call({"script": script, "rules": rules, "folder": there, "scripts": self._scripts})
            talk = Talk(title, worker, held, on_progress)
            try:
                said = talk.finish(told, timeout)
            except ChildError as error:
                raise _lost(worker) or error from None
            finally:
                talk.close()
            here = next((path for path in paths_in(request) if path.is_dir()), None)
            answer: dict[str, Any] = answered(
                said, there, lambda name: str(self._fetched(f"{there}/{name}", below(here, name, self.name)))
            )
            with contextlib.suppress(LineLostError):  # the answer is here, and the session's end removes the rest
                self._step("drop", {"paths": [there, *self._surplus()]})
            return answer

        with self._calling:
            return self.patience.keep(once)

    # ---- the steps --------------------------------------------------------------------------------------------------------

    @property
    def _scripts(self) -> str:
        """Where the worker scripts are there, once for each version of them."""
        return f"{self._folder}/{home()}"

    def sent(self, path: Path) -> str:
        """The file there, which goes as far as it is not there yet."""
        with self._calling:
            return self.patience.keep(lambda: self._all_sent([path]))[path]

    def _all_sent(self, paths: list[Path]) -> dict[Path, str]:
        """Files there by path; those that are not there yet go."""
        folder = f"{self._folder}/{self._session}/files"
        digests = {path: self._hash(path) for path in paths}
        by_digest = {digest: path for path, digest in digests.items()}
        sizes = {digest: path.stat().st_size for digest, path in by_digest.items() if digest not in self._sent}
        begun = self._step("have", {"folder": folder, "sizes": sizes})["have"] if sizes else {}
        rests = {digest: (begun[digest], size) for digest, size in sizes.items() if begun[digest] < size}
        if rests:
            parts = [(by_digest[digest], *rest) for digest, rest in rests.items()]
            self._talking().upload("receive", {"folder": folder, "rests": rests}, parts)
        self._sent |= sizes
        return {path: f"{folder}/{digest}" for path, digest in digests.items()}

    def _hash(self, path: Path) -> str:
        """The SHA-256 of a file, computed once while it stays the same."""
        seen = path.stat()
        key = (path, seen.st_ino, seen.st_size, seen.st_mtime_ns)
        if key in self._hashed:
            return self._hashed[key]
        digest = files.sha256(path)
        if time.time() - seen.st_mtime > _SETTLED:
            self._hashed[key] = digest
        return digest

    def _surplus(self) -> list[str]:
        """Files there that make room for others: the oldest beyond what a session keeps."""
        gone: list[str] = []
        while sum(self._sent.values()) > _KEPT:
            digest = next(iter(self._sent))
            del self._sent[digest]
            gone.append(f"{self._folder}/{self._session}/files/{digest}")
        return gone

    def _fetched(self, there: str, here: Path) -> Path:
        """A file from there, piece by piece."""
        part = here.with_name(f"{here.name}.part")

        def once() -> Path:
            have = part.stat().st_size if part.exists() else 0
            with part.open("ab") as file:
                told = self._talking().download("send", {"path": there, "offset": have}, file)
            if files.sha256(part) != told["sha256"]:
                part.unlink()
                raise LineLostError(f"{here.name} did not come from {self.name} as it was sent")
            part.replace(here)
            return here

        return self.patience.keep(once)

    def _step(self, step: str, arguments: Mapping[str, Any], data: bytes = b"", seconds: float = STEP) -> dict[str, Any]:
        with self._calling:
            return self._talking(seconds).ask(step, arguments, data, seconds)

    def _talking(self, seconds: float = STEP) -> Channel:
        """The channel to what does the steps there; another, which takes so many seconds at most, where it has ended."""
        if self._channel is None or not self._channel.is_open:
            self._channel = Channel(self.device, self._line, f"{self.device.folder}/{self._session}", seconds)
        return self._channel

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
        self._line.close()

    def _reached(self) -> str:
        """Take the line up again."""
        self._line.open()
        boot: str = self.look()["state"]["boot"]
        return boot


def _lost(worker: Worker) -> IntactError | None:
    """The error of the line or the device, where that is why a call failed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(1)
    return worker.lost

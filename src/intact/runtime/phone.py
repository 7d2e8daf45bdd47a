"""An Android device over adb: it times files by ``benchmark_model``, and does nothing else, for LiteRT has no Python there.

Files go there once, by their hash, and are removed at the end. Nothing runs on there without us. A line that breaks is taken up
again for a while, and what was measured then is measured again.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

from intact import files
from intact.errors import ChildError, LineLostError, OptionError, OutputError, PlaceError, located
from intact.progress import StepProgress
from intact.runtime import android, benchmark_model
from intact.runtime.adb import Adb
from intact.runtime.benchmark_model import Timed
from intact.runtime.devices import Android
from intact.runtime.patience import PATIENCE, Patience

#: Seconds that a step without large files may take.
_STEP: Final = 60.0
#: Seconds that a warm-up, or what follows it, may take in one process.
_LONGEST: Final = 150.0
#: Rounds that are made whatever they take.
_LEAST: Final = 5
#: Minutes after which what a lost line left there is removed.
_STALE: Final = 60
#: How the folders of sessions begin: whatever else lies beside them is the user's.
_OURS: Final = "session-"
#: What is printed where a folder was not there.
_NEW: Final = "intact-new-folder"
#: Characters of a program's hash that tell it from others in figures.
SHOWN: Final = 8


@final
class Phone:
    """An Android device as a :class:`~intact.runtime.places.Clock`.

    ``patience``: seconds for which a line that broke is taken up again. Use it with ``with``; PlaceError where the device
    cannot be reached, or ``benchmark_model`` does not run there.
    """

    def __init__(self, row: Android, *, patience: float = PATIENCE) -> None:
        self.row = row
        self.patience = Patience(patience, self._reached)
        #: The shortest time that was measured, in microseconds, which is the unit that they are counted in.
        self.least_us: int | None = None
        self.machine: Mapping[str, Any] = {}
        self._line = Adb(row.name, row.adb)
        self._session = f"{row.folder}/{_OURS}{uuid.uuid4().hex}"
        self._sent: set[str] = set()

    @property
    def name(self) -> str:
        return self.row.name

    def __enter__(self) -> Phone:
        program = Path(self.row.benchmark_model)
        benchmark_model.program(program)
        self._line.open()
        found = self.look()
        benchmark_model.check_abi(program, self.name, found["abis"])
        self.machine = {**found, "tool": files.sha256(program)}
        self.patience.boot = found["state"]["boot"]
        try:
            self._make_room()
            asked = self.patience.keep(lambda: f"./{self._program()} --help")
            ended = self._line.watched(asked, self._session, seconds=_STEP)
            benchmark_model.check_runs(self.name, ended.status, ended.printed)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def look(self) -> dict[str, Any]:
        """What the device is and how it does now: see :func:`intact.runtime.android.found`."""
        return android.found(self._line.shell(android.SCRIPT, seconds=_STEP).printed)

    def time(self, request: Mapping[str, Any], *, timeout: float, on_progress: StepProgress | None = None) -> dict[str, Any]:
        """See :class:`~intact.runtime.places.Clock`: each block is a fresh process's median, after a warm-up of its own."""
        other = next((kernels for kernels in request["kernels"].values() if kernels != "default"), None)
        if other is not None:
            raise OptionError(
                f"{self.name} times .tflite files in LiteRT's own kernels (XNNPACK) alone, and {other} was asked for; leave "
                "--target out, and give a .onnx file --runtime litert, which converts it"
            )
        models: Mapping[str, Path] = request["models"]
        samples: dict[str, list[float]] = {name: [] for name in models}
        repeats: dict[str, int] = {}
        self.patience.keep(self._make_room)  # another session may have swept this one away meanwhile
        digests = {name: files.sha256(path) for name, path in models.items()}
        rounds, told = request["rounds"], on_progress or (lambda *_: None)
        started = time.monotonic()
        for done in range(rounds):
            if done >= _LEAST and time.monotonic() - started > request["max_seconds"]:
                break
            told(done, rounds)
            for name in list(models) if done % 2 == 0 else list(models)[::-1]:
                one = self._timed(models[name], digests[name], request, timeout)
                samples[name].append(one.median_us / 1e3)
                repeats[name] = min(one.count, repeats.get(name, one.count))
        told(rounds, rounds)
        return {"samples": samples, "repeats": repeats}

    def _timed(self, model: Path, digest: str, request: Mapping[str, Any], timeout: float) -> Timed:
        """What one process there measures, in its turn."""

        def once() -> Timed:
            line = benchmark_model.command(
                self._program(),
                self._there(model, digest),
                threads=request["threads"],
                warmup_seconds=request["warmup_seconds"],
                block_seconds=request["block_seconds"],
                max_seconds=_LONGEST,
            )
            ended = self._line.watched(line, self._session, seconds=timeout)
            return benchmark_model.timed(ended.status, ended.printed)

        with located(f"{model.name} on {self.name}"):
            one = self.patience.keep(once)
        self.least_us = min(one.median_us, self.least_us or one.median_us)
        return one

    # ---- files there ------------------------------------------------------------------------------------------------------

    def _program(self) -> str:
        return self._there(Path(self.row.benchmark_model), self.machine["tool"])

    def _there(self, path: Path, digest: str) -> str:
        """What a file is called in this session's folder, where it goes if it is not there yet."""
        if digest not in self._sent:
            self._line.push(path, f"{self._session}/{digest}")
            self._sent.add(digest)
        return digest

    def _make_room(self) -> None:
        """A folder for this session, which shows that it is in use, and what a lost line left there gone."""
        left = f"-mindepth 1 -maxdepth 1 -type d -name '{_OURS}*' -mmin +{_STALE}"
        stale = f"find {self.row.folder} {left} -exec rm -rf {{}} + 2>/dev/null"
        mine = f"umask 077; test -d {self._session} || echo {_NEW}; mkdir -p {self._session} 2>&1 && touch {self._session}"
        made = self._line.shell(f"{mine} && {{ {stale}; true; }}", seconds=_STEP)
        if _NEW in made.printed:
            self._sent.clear()
        if made.status:
            said = " ".join(made.printed.split())[-200:]
            raise PlaceError(f"{self.name} takes no files in {self.row.folder} ({said}); name another --folder")

    def _leave(self) -> None:
        with contextlib.suppress(PlaceError, OutputError, ChildError, OSError):
            self._line.shell(f"rm -rf {self._session}; rmdir {self.row.folder} 2>/dev/null", seconds=_STEP)

    def _reached(self) -> str:
        """Take the line up again; a phone that comes back may be locked at first, and is waited for."""
        try:
            self._line.open()
            boot: str = self.look()["state"]["boot"]
            self._make_room()
        except PlaceError as error:
            raise LineLostError(error.message) from error
        return boot

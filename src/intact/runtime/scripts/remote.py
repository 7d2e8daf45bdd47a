"""What runs on a machine elsewhere for :mod:`intact.runtime.elsewhere`; standard library only.

``python remote.py serve {…}`` (arguments of :func:`serve`) says ``{"serving": token}`` on a line of stdout, after whatever a
login shell printed there, and takes one step after the other from stdin: a line ``{"step": …, "arguments": {…}}``, and the data
of those that take some. The answer is a line of JSON and the data that it tells of. Whoever asks gives signs of life, empty
lines. After ``silence`` seconds without one, at the end of stdin, and after an error, which it tells as ``{"error": …}`` or
``{"full": …}``, this process ends with all that it started. The steps:

- ``look``: what the machine is and how it does, as JSON.
- ``install``: takes the zip of worker scripts, and unpacks it where ``call`` finds them.
- ``have``: how much of some files is here, by their SHA-256; those of sessions that were interrupted count.
- ``receive``: takes the rests of files.
- ``send``: gives the bytes of a file from an offset on.
- ``call``: runs a worker script by ``serve.py``. Meanwhile lines after ``>`` are its stdin, and a line ``.`` ends it; what it
  prints are lines ``{"out": bytes}`` or ``{"err": bytes}`` with as many bytes after them. The answer has its exit status.
- ``drop``: removes a session's files; ``sweep`` those of sessions that nobody has touched for an hour.

``python remote.py look {…}`` does this one step. Paths are below the folder of the runner, which is private to its user.
"""

from __future__ import annotations

import contextlib
import ctypes
import getpass
import hashlib
import io
import json
import os
import platform
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

#: Bytes that are read or written at a time.
_CHUNK = 1 << 18
#: Seconds after which a session that nobody touches is swept away, and a runner: another release's may be in use elsewhere.
_STALE, _OLD = 3600, 30 * 86400
#: Seconds between looks at a worker, and at one that closed its pipes, which it does as it ends.
_TICK, _SOON = 0.5, 0.02
#: Seconds between touches of a session that is alive.
_TOUCH = 60.0
#: What steps need that only POSIX systems have; a Ray node without it only looks.
_KILL_GROUP: Any = getattr(os, "killpg", None)
_SET_BLOCKING: Any = getattr(os, "set_blocking", None)
#: Packages that decide what comes out.
_PACKAGES = ("ai-edge-litert", "numpy", "tflite-micro", "onnxruntime", "torch")
#: What a disk that is full says.
_FULL = {28, 122}


class Line:
    """Stdin and stdout, whose other end is taken for gone, by EOFError, after ``silence`` seconds without a word."""

    def __init__(self, silence: float) -> None:
        self.silence = silence
        self._pending = b""
        _SET_BLOCKING(1, False)

    def hear(self) -> None:
        """Wait for more of stdin."""
        if not select.select([0], [], [], self.silence)[0]:
            raise EOFError("nobody spoke any more")
        chunk = os.read(0, _CHUNK)
        if not chunk:
            raise EOFError("the line broke off")
        self._pending += chunk

    def heard(self) -> bytes | None:
        """The next line, if all of it is here."""
        line, end, rest = self._pending.partition(b"\n")
        if not end:
            return None
        self._pending = rest
        return line

    def taken(self, count: int) -> Iterator[bytes]:
        """The next ``count`` bytes, in pieces."""
        while count:
            if not self._pending:
                self.hear()
            piece, self._pending = self._pending[:count], self._pending[count:]
            count -= len(piece)
            yield piece

    def say(self, answer: dict[str, Any], data: bytes = b"") -> None:
        self.give(json.dumps(answer).encode() + b"\n" + data)

    def give(self, data: bytes) -> None:
        """Write ``data``."""
        left = memoryview(data)
        while left:
            if not select.select([], [1], [], self.silence)[1]:
                raise EOFError("nobody listened any more")
            try:
                left = left[os.write(1, left) :]
            except BlockingIOError:
                continue
            except BrokenPipeError as error:
                raise EOFError("the line broke off") from error


def look(line: Line, folder: str, runner: str) -> None:
    """What is :func:`found`."""
    line.say(found(folder, runner))


def found(folder: str, runner: str) -> dict[str, Any]:
    """The machine, its clocks and temperatures now, and whether the ``runner`` of this name is in ``folder`` already."""
    root = Path(folder).expanduser()
    above = next(path for path in (root, *root.parents) if path.exists())
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "processor": platform.machine(),
        "bits": 8 * ctypes.sizeof(ctypes.c_void_p),
        "system": platform.platform(),
        "libc": " ".join(platform.libc_ver()).strip(),
        "user": _user(),
        "node": platform.node() or "the device",
        "folder": str(root),
        "has_runner": (root / runner).is_dir(),
        "cpuinfo": _text("/proc/cpuinfo")[:20_000],  # its first cores
        "board": _text("/proc/device-tree/model").strip("\0"),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        "memory": _memory(),
        "free": shutil.disk_usage(above).free,
        "versions": {name: _version(name) for name in _PACKAGES},
        "state": _state(),
    }


def install(line: Line, folder: str, size: int) -> None:
    """Unpack the worker scripts, a zip of ``size`` bytes, into ``folder``, compiled: a worker cannot keep what it compiles."""
    import compileall  # noqa: PLC0415  # takes as long to load as a step, and is needed once

    home = Path(folder)
    draft = home.with_name(f"{home.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    try:
        with zipfile.ZipFile(io.BytesIO(b"".join(line.taken(size)))) as packed:
            packed.extractall(draft)
        compileall.compile_dir(draft, ddir=str(home), quiet=2)
        shutil.rmtree(home, ignore_errors=True)
        draft.rename(home)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    line.say({"installed": str(home)})


def have(line: Line, folder: str, sizes: dict[str, int]) -> None:
    """How many bytes of files are in ``folder``, a session's, by SHA-256; a whole one of another session becomes this one's."""
    held = Path(folder)
    held.mkdir(parents=True, exist_ok=True, mode=0o700)
    line.say({"have": {digest: _adopted(held, digest) or _begun(held / digest, size) for digest, size in sizes.items()}})


def _adopted(held: Path, digest: str) -> int:
    """The size of a file that is in ``held`` or in the same folder of another session; 0 where there is none."""
    whole = held / digest
    for other in held.parents[1].glob(f"*/{held.name}/{digest}"):
        with contextlib.suppress(OSError):  # a file system without links, or a session that ended meanwhile
            if not whole.exists() and _sha256(other).hexdigest() == digest:
                os.link(other, whole)
    return whole.stat().st_size if whole.exists() else 0


def _begun(whole: Path, size: int) -> int:
    """How much of a file an earlier try brought."""
    part = whole.with_suffix(".part")
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    return part.stat().st_size if part.exists() else 0


def receive(line: Line, folder: str, rests: dict[str, tuple[int, int]]) -> None:
    """Take the rests of files into ``folder``, one after the other: by SHA-256 where each begins, and the size of the file."""
    for digest, (offset, size) in rests.items():
        _received(line, Path(folder, digest), offset, size)
    line.say({})


def _received(line: Line, whole: Path, offset: int, size: int) -> None:
    part = whole.with_suffix(".part")
    digest = _sha256(part) if offset else hashlib.sha256()
    with part.open("ab" if offset else "wb") as file:
        for piece in line.taken(size - offset):
            file.write(piece)
            digest.update(piece)
    if part.stat().st_size != size or digest.hexdigest() != whole.name:
        part.unlink()
        raise ValueError("what arrived is not what was sent")
    part.rename(whole)


def send(line: Line, path: str, offset: int) -> None:
    """Give a file from ``offset`` on."""
    whole = Path(path)
    size = whole.stat().st_size
    line.say({"size": size, "sha256": _sha256(whole).hexdigest(), "bytes": size - offset})
    with whole.open("rb") as file:
        file.seek(offset)
        while piece := file.read(_CHUNK):
            line.give(piece)


def call(line: Line, script: str, rules: dict[str, Any], folder: str, scripts: str) -> None:
    """Run a worker of the folder ``scripts`` in ``folder``, which is made; its exit status, below 0 for a signal."""
    scratch = Path(folder)
    scratch.mkdir(parents=True, mode=0o700, exist_ok=True)
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    own = [path for path in rules["writes"] if path.startswith("/proc/self/")]
    held = {**rules, "writes": [str(scratch), *own], "memory": max(_memory() * 9 // 10, 1 << 29)}
    with subprocess.Popen(
        [sys.executable, *safe, f"{scripts}/serve.py", f"{scripts}/{script}", json.dumps(held)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=str(scratch),
        env={**os.environ, **temporary, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"},
        start_new_session=True,
    ) as worker:
        assert worker.stdout is not None
        assert worker.stderr is not None
        printed = {worker.stdout.fileno(): "out", worker.stderr.fileno(): "err"}
        try:
            _relayed(worker, printed, line)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                _KILL_GROUP(worker.pid, signal.SIGKILL)
            status = worker.wait()
        while ready := select.select([*printed], [], [], 0)[0]:
            _handed_on(ready, printed, line)
    line.say({"status": status})


def _relayed(worker: subprocess.Popen[bytes], printed: dict[int, str], line: Line) -> None:
    """Hand on what is said to a worker and what it prints, until it ends or is to end."""
    assert worker.stdin is not None
    into, waiting, deadline = worker.stdin.fileno(), b"", time.monotonic() + line.silence
    _SET_BLOCKING(into, False)
    while worker.poll() is None:
        ready, takes, _ = select.select([0, *printed], [into] if waiting else [], [], _TICK if printed else _SOON)
        if 0 in ready:
            line.hear()
            deadline = time.monotonic() + line.silence
        if time.monotonic() > deadline:
            raise EOFError("nobody spoke any more")
        _handed_on(ready, printed, line)
        if takes:
            try:
                waiting = waiting[os.write(into, waiting) :]
            except BrokenPipeError:
                waiting = b""
        while (told := line.heard()) is not None:
            if told == b".":
                return
            if told.startswith(b">"):
                waiting += told[1:] + b"\n"


def _handed_on(ready: list[int], printed: dict[int, str], line: Line) -> None:
    for descriptor in printed.keys() & ready:
        if chunk := os.read(descriptor, _CHUNK):
            line.say({printed[descriptor]: len(chunk)}, chunk)
        else:
            del printed[descriptor]


def drop(line: Line, paths: list[str]) -> None:
    """Remove files and folders."""
    for path in map(Path, paths):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    line.say({})


def sweep(line: Line, folder: str, runner: str) -> None:
    """Remove from ``folder`` what a lost line left of sessions, and runners a month after they were last used."""
    home, own = Path(folder), {"sessions/" + 32 * "[0-9a-f]": _STALE, "runner-" + 16 * "[0-9a-f]": _OLD}  # none of a user's
    os.utime(home / runner)
    for path, seconds in ((path, seconds) for names, seconds in own.items() for path in home.glob(names)):
        newest = max((each.stat().st_mtime for each in (path, *path.rglob("*"))), default=0.0)
        if time.time() - newest > seconds:
            shutil.rmtree(path, ignore_errors=True)
    line.say({})


# ---- what the machine says ------------------------------------------------------------------------------------------------


def _state() -> dict[str, Any]:
    """What decides how fast it is now. ``throttled``: the Raspberry Pi's own word, bits as its firmware documents them."""
    policies = sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq"))
    zones = sorted(Path("/sys/class/thermal").glob("thermal_zone*"))
    heat = {_text(zone / "type").strip() or zone.name: int(t) / 1000 for zone in zones if (t := _number(zone / "temp"))}
    return {
        "governor": sorted({g for p in policies if (g := _text(p / "scaling_governor").strip())}),
        "mhz": [int(f) // 1000 for p in policies if (f := _number(p / "scaling_cur_freq"))],
        "top_mhz": [int(f) // 1000 for p in policies if (f := _number(p / "cpuinfo_max_freq"))],
        "celsius": heat,
        "throttled": _throttled(),
        "load": os.getloadavg()[0],
        "boot": _text("/proc/sys/kernel/random/boot_id").strip(),
    }


def _throttled() -> int | None:
    said = _text("/sys/devices/platform/soc/soc:firmware/get_throttled").strip()
    if not said and (tool := shutil.which("vcgencmd")):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, timeout=5, check=False).stdout
    found = re.search(r"(?:0x)?([0-9a-fA-F]+)\s*$", said)
    return int(found[1], 16) if found else None


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a number without a name
        return ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> str:
    text = _text(path).strip()
    return text if re.fullmatch(r"-?\d+", text) else ""


# ---- one step after the other ---------------------------------------------------------------------------------------------


def _sha256(path: Path) -> hashlib._Hash:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest


_STEPS: dict[str, Callable[..., None]] = {
    "look": look,
    "install": install,
    "have": have,
    "receive": receive,
    "send": send,
    "call": call,
    "drop": drop,
    "sweep": sweep,
}


def serve(token: str, silence: float, session: str) -> int:
    """Take steps until one fails or nobody speaks any more, the exit status. ``session``: the folder of files that
    are in use meanwhile.
    """
    line = Line(silence)
    try:
        line.give(b"\n")  # what a login shell printed may have left a line open
        line.say({"serving": token})
        while True:
            told = line.heard()
            if told is None:
                line.hear()
                _touch(Path(session).expanduser())
            elif told.startswith(b"{") and not _done(line, **json.loads(told)):
                return 1
    except EOFError:
        return 0


def _touch(session: Path) -> None:
    with contextlib.suppress(OSError):
        if time.time() - session.stat().st_mtime > _TOUCH:
            os.utime(session)


def _done(line: Line, step: str, arguments: dict[str, Any]) -> bool:
    """Whether a step was done; why not is said."""
    try:
        _STEPS[step](line, **arguments)
    except OSError as error:
        said = f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
        line.say({"full" if error.errno in _FULL else "error": said})
    except (ValueError, zipfile.BadZipFile) as error:
        line.say({"error": str(error)})
    else:
        return True
    return False


if __name__ == "__main__":
    os.umask(0o077)
    if sys.argv[1] == "look":
        json.dump(found(**json.loads(sys.argv[2])), sys.stdout)
    else:
        sys.exit(serve(**json.loads(sys.argv[2])))

"""A line to an Android device by adb's own client: which devices there are, files sent, and commands run there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, final

from intact import scratch
from intact.errors import ChildError, IntactError, LineLostError, MissingToolError, OutputError, PlaceError
from intact.runtime import ending

#: Seconds for adb to start its server, and for a command that only asks.
_ASKING: Final = 60.0
#: Bytes a second that the slowest line carries, which is Wi-Fi.
_SLOWEST: Final = 200_000
#: What a device is called that cannot be used, and what to do about it.
_STATES: Final = {
    "unauthorized": "{serial} does not trust this computer yet; unlock it and allow USB debugging there",
    "authorizing": "{serial} does not trust this computer yet; unlock it and allow USB debugging there",
    "offline": "{serial} is offline; unlock it, plug it in anew, or type: adb reconnect offline",
    "no permissions": (
        "this user may not use USB for {serial}; type: sudo apt install android-sdk-platform-tools-common, and plug it in anew"
    ),
    "recovery": "{serial} is in recovery; start Android there",
    "bootloader": "{serial} is in its bootloader; start Android there",
    "sideload": "{serial} is in sideload mode; start Android there",
}
#: What the client prints where a line may come back.
_LOST: Final = (
    (r"device '?.*'? not found|no devices|device not found", "{serial} is not connected; plug it in, and type: adb devices"),
    (r"offline", "{serial} is offline; unlock it, or plug it in anew"),
)
#: What it prints where it will not.
_REFUSED: Final = (
    (r"unauthorized|still authorizing", _STATES["unauthorized"]),
    (r"insufficient permissions|no permissions|USB permission", _STATES["no permissions"]),
    (r"more than one", "more than one device is connected; type: adb devices, and add it with --serial"),
    (r"cannot connect to daemon|failed to start daemon|smartsocket", "adb starts no server ({said}); type: adb kill-server"),
)  # fmt: skip
_NOT_TAKEN: Final = re.compile(r"Permission denied|Read-only file system|couldn't create|[Nn]ot a directory|Is a directory")
_PLUG_IN: Final = "plug it in, allow USB debugging in its developer options, and type: adb devices"
_FULL: Final = re.compile(r"No space left on device|Disk quota exceeded")


@final
@dataclass(frozen=True)
class Listed:
    """A row of ``adb devices -l``. ``state``: ``device`` for one that can be used; ``model``: what it calls itself."""

    serial: str
    state: str
    model: str


@final
@dataclass(frozen=True)
class Ended:
    """What a command there printed, and its exit status: 128 and more for the signals that it died of."""

    status: int
    printed: str


def client() -> str:
    """Where adb is; MissingToolError where it is not."""
    found = shutil.which("adb")
    if found is None:
        raise MissingToolError("adb is not installed; type: sudo apt install adb, or put Android's platform-tools on PATH")
    return found


def connected() -> tuple[Listed, ...]:
    """The devices that adb sees. Its server is started where it is not, and stays, as with any command of adb's."""
    _asked("start-server")
    rows = []
    for line in _asked("devices", "-l").splitlines():
        row = re.fullmatch(r"(\S+)\s+(no permissions|\w+)\b(.*)", line.strip())
        if row and not line.startswith(("List of", "*")):
            model = re.search(r"\bmodel:(\S+)", row[3])
            rows.append(Listed(row[1], row[2], model[1].replace("_", " ") if model else ""))
    return tuple(rows)


def chosen(serial: str) -> str:
    """The serial number of the device that is meant: the only one that is connected where none is named. PlaceError says what
    is wrong with it, or which there are.
    """
    there = connected()
    found = [row for row in there if row.serial == serial] if serial else list(there)
    names = ", ".join(f"{row.serial} ({row.model or row.state})" for row in there)
    if not found:
        raise PlaceError(
            f"{serial or 'no Android device'} is {'not ' * bool(serial)}connected{names and f'; connected are {names}'}; "
            + (f"type: adb connect {serial}" if ":" in serial else _PLUG_IN)
        )
    usable = [row for row in found if row.state == "device"]
    if len(usable) > 1:
        raise PlaceError(f"more than one device is connected: {names}; type --serial with one of them")
    if not usable:
        told = _STATES.get(found[0].state, "{serial} cannot be used; adb calls it " + repr(found[0].state))
        raise PlaceError(told.format(serial=found[0].serial))
    return usable[0].serial


@final
class Adb:
    """One Android device, by the serial number that ``adb devices`` lists. ``name``: what messages call it."""

    def __init__(self, name: str, serial: str) -> None:
        self._name, self._serial = name, serial
        self._mark = f"intact-{uuid.uuid4().hex}"

    def open(self) -> None:
        """See that it is there; PlaceError says why it is not and what to do."""
        chosen(self._serial)

    def push(self, path: Path, there: str) -> None:
        """Send a file that may be executed there. OutputError where no room is left, PlaceError where it cannot be written,
        LineLostError where the line breaks.
        """
        size = path.stat().st_size
        status, _, said = self._run("push", str(path), there, seconds=_ASKING + size / _SLOWEST)
        if _FULL.search(said):
            self._full(there)
        if status and _NOT_TAKEN.search(said):
            raise PlaceError(f"{self._name} does not take files in {there.rpartition('/')[0]} ({_last(said)}); name a --folder")
        if status:
            raise self._refusal(said)
        arrived = self.shell(f"chmod 700 {there}; wc -c < {there}", seconds=_ASKING)
        if arrived.printed.strip() != str(size):
            raise LineLostError(f"{path.name} did not come to {self._name} as it was sent")

    def shell(self, script: str, *, seconds: float, late: IntactError | None = None) -> Ended:
        """Run a script of the shell there. PlaceError where the line is refused, LineLostError where it breaks; ``late`` is
        raised instead where ``seconds`` are over.
        """
        _, printed, said = self._run("shell", f"{script}\necho {self._mark} $?", seconds=seconds, late=late)
        body, found, ended = printed.rpartition(f"{self._mark} ")
        if not found:
            raise self._refusal(said)
        if _FULL.search(body):
            self._full("the folder there")
        return Ended(int(ended.split()[0]), body)

    def watched(self, command: str, folder: str, *, seconds: float) -> Ended:
        """Run a program in ``folder`` there, which is killed as soon as this process or the line is gone.

        Its standard input is a pipe that we hold: at its end a shell there kills the program. What reads the pipe is built
        into the shell, so that nothing else has to be ended.
        """
        return self.shell(
            "watched() {\n"
            f"cd {folder} 2>&1 || return 1\n"
            "exec 3<&0\n"
            f"{command} </dev/null 2>&1 3<&- &\n"
            "t=$!\n"
            "{ while read -r x <&3; do :; done; kill -9 $t; } >/dev/null 2>&1 &\n"
            "w=$!\n"
            "wait $t; s=$?\n"
            "kill -9 $w 2>/dev/null; wait $w 2>/dev/null\n"
            "return $s\n"
            "}\n"
            "watched",
            seconds=seconds,
            late=ChildError(f"did not end on {self._name} within {seconds:.0f} seconds, and was stopped"),
        )

    def _run(self, *words: str, seconds: float, late: IntactError | None = None) -> tuple[int, str, str]:
        """The client's exit status, and what it printed on both of its outputs."""
        with _held_pipe() as pipe:
            process = subprocess.Popen(
                [client(), "-s", self._serial, *words],
                stdin=pipe,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **ending.APART,
            )
            try:
                out, err = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                raise late or LineLostError(f"{self._name} did not answer within {seconds:.0f} seconds") from None
            finally:
                ending.end(process)
                for output in (process.stdout, process.stderr):
                    assert output is not None
                    output.close()
        return process.returncode, _text(out), _text(err) if words[0] == "shell" else _text(out + err)

    def _refusal(self, said: str) -> PlaceError:
        for error, table in ((PlaceError, _REFUSED), (LineLostError, _LOST)):
            for pattern, words in table:
                if re.search(pattern, said):
                    return error(words.format(serial=self._serial, said=_last(said)))
        return LineLostError(f"the line to {self._name} broke ({_last(said) or 'adb said nothing'})")

    def _full(self, where: str) -> NoReturn:
        raise OutputError(f"no room is left on {self._name} ({where}); make some there")


@contextlib.contextmanager
def _held_pipe() -> Iterator[int]:
    """The end to read of a pipe that ends when this process does, or at the end."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(writing)
        os.close(reading)


def _asked(*words: str) -> str:
    """What the client answers to a question that no device is needed for."""
    with scratch.file() as said:  # a pipe would be held open by the server that stays
        try:
            status = subprocess.run(
                [client(), *words], stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=_ASKING, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            raise PlaceError(f"adb {words[0]} gave no answer; type: adb kill-server") from None
        said.seek(0)
        printed = _text(said.read())
    if status:
        raise PlaceError(f"adb {words[0]} failed ({_last(printed) or 'it said nothing'}); type: adb kill-server")
    return printed


def _text(said: bytes) -> str:
    return said.decode(errors="replace").replace("\r\n", "\n")


def _last(said: str) -> str:
    return " ".join(said.split())[-200:]

"""The user's devices: rows of ``devices.toml`` that say how each is reached and what was found there."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import tomli_w

from intact import files
from intact.errors import OptionError, located

#: Says where the file is, instead of the user's folder for settings.
VARIABLE: Final = "INTACT_DEVICES"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: Places that are no device.
_TAKEN: Final = frozenset({"here", "ray", "mcu", "cpu", "gpu"})
#: Where the runner is put, below the home of the user there.
FOLDER: Final = "~/.cache/intact"
#: Where files go on an Android device: what adb may write, and start programs in.
ANDROID_FOLDER: Final = "/data/local/tmp/intact"
_PLAIN_FOLDER: Final = re.compile(r"/[A-Za-z0-9_./-]+")


@final
@dataclass(frozen=True)
class Device:
    """One row of a machine over ssh. ``ssh``: the machine as ``ssh`` takes it; ``config``: a file to read instead of the user's
    ssh configuration.

    ``python``: the interpreter there that has LiteRT. ``folder``: where files go there. ``found``: what it was when added.
    """

    name: str
    ssh: str
    config: str = ""
    python: str = "python3"
    folder: str = FOLDER
    found: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name)

    def to_toml(self) -> dict[str, Any]:
        return _filled(self, "ssh", "config", "python", "folder")


@final
@dataclass(frozen=True)
class Android:
    """One row of an Android device. ``adb``: its serial number, as ``adb devices`` lists it; ``benchmark_model``: the path here
    of the program that times files there, in ``folder``. ``found``: what it was when added.
    """

    name: str
    adb: str
    benchmark_model: str
    folder: str = ANDROID_FOLDER
    found: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not _PLAIN_FOLDER.fullmatch(self.folder):
            raise OptionError(f"{self.folder!r} is no folder for {self.name}; type --folder with a path like {ANDROID_FOLDER}")

    def to_toml(self) -> dict[str, Any]:
        return _filled(self, "adb", "benchmark_model", "folder")


#: What has to stand in a row, with an example.
_EXAMPLES: Final = {"ssh": "user@host", "adb": "its serial number", "benchmark_model": "the path of the program"}
#: A row of either kind.
Row: TypeAlias = Device | Android


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name in _TAKEN:
        raise OptionError(
            f"a device cannot be called {name!r}; type a short name of letters, digits, '.', '_' and '-', "
            f"other than {', '.join(sorted(_TAKEN))}"
        )


def _filled(row: Row, *texts: str) -> dict[str, Any]:
    """The fields of a row that say something."""
    told = {name: getattr(row, name) for name in texts} | {"found": dict(row.found)}
    return {name: value for name, value in told.items() if value}


def path() -> Path:
    """Where the rows are: ``$INTACT_DEVICES``, or ``intact/devices.toml`` in the user's folder for settings."""
    if told := os.environ.get(VARIABLE):
        return Path(told)
    home = Path.home()
    if sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return folder / "intact" / "devices.toml"


def read() -> dict[str, Row]:
    """The rows by name; none where there is no file. OptionError says which line is no row."""
    file = path()
    if not file.exists():
        return {}
    with located(str(file)):
        try:
            rows = tomllib.loads(file.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise OptionError(f"it is no TOML ({error}); mend it, or remove it and add the devices anew") from error
        return {name: _row(name, row) for name, row in rows.items()}


def named(name: str) -> Row:
    """The row called ``name``; OptionError says which there are."""
    rows = read()
    if name not in rows:
        known = f"known are {', '.join(sorted(rows))}" if rows else "none is known yet"
        raise OptionError(f"no device is called {name!r}; {known}; type: intact devices add {name} --ssh user@host")
    return rows[name]


def write(device: Row) -> Path:
    """Add or replace a row; the file."""
    return _written({**read(), device.name: device})


def remove(name: str) -> Path:
    """Take a row away; OptionError where there is none."""
    rows = read()
    del rows[named(name).name]
    return _written(rows)


def _written(rows: Mapping[str, Row]) -> Path:
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(file, tomli_w.dumps({name: row.to_toml() for name, row in sorted(rows.items())}))
    return file


def _row(name: str, row: Any) -> Row:
    needed: tuple[str, ...]
    texts: tuple[str, ...]
    if isinstance(row, dict) and "adb" in row:
        needed, texts = ("adb", "benchmark_model"), ("adb", "benchmark_model", "folder")
        how = f"type: intact devices add {name} --adb --benchmark-model PATH"
    else:
        needed, texts = ("ssh",), ("ssh", "config", "python", "folder")
        how = f"type: intact devices add {name} --ssh user@host"
    for key in needed:
        if not isinstance(row, dict) or not isinstance(row.get(key), str) or not row[key]:
            raise OptionError(f'[{name}] has no {key} = "{_EXAMPLES[key]}"; add it, or {how}')
    wrong = [key for key in texts if not isinstance(row.get(key, ""), str)]
    wrong += [key for key in row if key not in {*texts, "found"}] + ["found"] * (not isinstance(row.get("found", {}), dict))
    if wrong:
        raise OptionError(f"[{name}] has a {wrong[0]!r} that cannot be read; known are {', '.join(texts)} (texts) and found")
    told = {key: row[key] for key in texts if row.get(key)}
    return (Android if "adb" in row else Device)(name, found=row.get("found", {}), **told)

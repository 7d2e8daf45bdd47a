"""Devices of the user's: looked at, prepared, and kept as rows of ``devices.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from intact.measure import machine
from intact.runtime import adb, benchmark_model, devices, litert
from intact.runtime.android import THERMAL
from intact.runtime.devices import Android, Device, Row
from intact.runtime.elsewhere import Elsewhere
from intact.runtime.phone import Phone
from intact.runtime.places import Place
from intact.runtime.ssh import Ssh

#: Seconds for which a device that is looked at may be gone.
_PATIENCE: Final = 20.0


def place_of(device: Device) -> Elsewhere:
    """The device over its line, for a look."""
    line = Ssh(device.ssh, Path(device.config) if device.config else None)
    return Elsewhere(device, line, patience=_PATIENCE)


def add(device: Device, *, install: bool = False) -> Device:
    """Look at a device, see that LiteRT starts there, and keep the row; ``install`` LiteRT there first, in an environment of
    its own. PlaceError says what is missing, and nothing is kept then.
    """
    if install:
        device = place_of(device).prepare()
    with place_of(device) as place:
        litert.check("default", place=place)
        device = replace(device, found=found(place))
    devices.write(device)
    return device


def add_phone(name: str, serial: str, program: Path, folder: str = devices.ANDROID_FOLDER) -> Android:
    """Look at an Android device, see that ``program``, a ``benchmark_model``, starts there, and keep the row. ``serial`` may be
    empty where one device is connected. PlaceError says what is missing, and nothing is kept then.
    """
    benchmark_model.program(program)
    row, _ = _looked_at(Android(name, adb.chosen(serial), str(program.resolve()), folder))
    devices.write(row)
    return row


def check(name: str) -> tuple[Row, dict[str, Any]]:
    """A device of the user's as it is now: the row, kept anew, and the state of its clocks and temperatures."""
    device = devices.named(name)
    if isinstance(device, Android):
        device, state = _looked_at(device)
        devices.write(device)
        return device, state
    with place_of(device) as place:
        litert.check("default", place=place)
        device = replace(device, found=found(place))
        state = dict(place.machine["state"])
    devices.write(device)
    return device, state


def _looked_at(row: Android) -> tuple[Android, dict[str, Any]]:
    """The row with what was found there now, and its state."""
    with Phone(row, patience=_PATIENCE) as phone:
        return replace(row, found=found_phone(phone)), dict(phone.machine["state"])


def found_phone(phone: Phone) -> dict[str, Any]:
    """What a row says of an Android device: see ``docs/devices.md``."""
    told, seen, state = phone.machine, machine.document(phone), phone.machine["state"]
    row = {
        "cpu": str(replace(machine.parse(told["cpuinfo"]), name=told["board"])),
        "abi": ", ".join(told["abis"]),
        "cores": told["cores"],
        "memory": told["memory"],
        "system": told["system"],
        "benchmark_model": told["tool"],
        "governor": seen["governor"],
        "celsius": _warmest(state),
        "thermal": None if state["thermal"] is None else THERMAL[min(state["thermal"], len(THERMAL) - 1)],
        "battery": state["battery"],
        "charging": state["charging"],
        "seen": _now(),
    }
    return _told(row)


def found(place: Place) -> dict[str, Any]:
    """What a row says of the device: see ``docs/devices.md``."""
    told, seen = place.machine, machine.document(place)
    row = {
        "cpu": str(machine.parse(told["cpuinfo"], told["board"] or told["processor"])),
        "board": told["board"],
        "cores": told["cores"],
        "memory": told["memory"],
        "system": told["system"],
        "python": told["python"],
        "litert": told["versions"]["ai-edge-litert"],
        "governor": seen["governor"],
        "celsius": _warmest(told["state"]),
        "seen": _now(),
    }
    return _told(row)


def _warmest(state: Mapping[str, Any]) -> float | None:
    celsius = max(state["celsius"].values(), default=None)
    return None if celsius is None else round(celsius, 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row is known."""
    return {key: value for key, value in row.items() if value not in {None, ""}}

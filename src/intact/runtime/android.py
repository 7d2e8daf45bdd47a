"""What an Android device says of itself: one script for its shell, and what the answer means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

#: Properties of the system that say what it is.
_PROPERTIES: Final = (
    "ro.product.manufacturer",
    "ro.product.model",
    "ro.soc.manufacturer",
    "ro.soc.model",
    "ro.board.platform",
    "ro.product.cpu.abilist",
    "ro.product.cpu.abi",
    "ro.build.version.release",
    "ro.build.version.sdk",
)
#: Before each part of the answer.
_PART: Final = "=====intact"
#: The parts by name, each a command whose failure leaves it empty.
_PARTS: Final[Mapping[str, str]] = {
    "properties": "; ".join(f'echo "{name}=$(getprop {name})"' for name in _PROPERTIES),
    "cpuinfo": "cat /proc/cpuinfo",
    "memory": "cat /proc/meminfo",
    "load": "cat /proc/loadavg",
    "boot": "cat /proc/sys/kernel/random/boot_id",
    "kernel": "uname -r",
    "clocks": (
        'for c in /sys/devices/system/cpu/cpu[0-9]*; do echo "$(cat $c/cpufreq/scaling_governor),'
        '$(cat $c/cpufreq/scaling_cur_freq),$(cat $c/cpufreq/scaling_max_freq),$(cat $c/cpufreq/cpuinfo_max_freq)"; done'
    ),
    "zones": 'for z in /sys/class/thermal/thermal_zone*; do echo "$(cat $z/type) $(cat $z/temp)"; done',
    "thermal": "dumpsys thermalservice",
    "battery": "dumpsys battery",
    "saver": "settings get global low_power",
}
#: What asks for all of it.
SCRIPT: Final = "\n".join(f"echo; echo {_PART} {name}; {{ {command}; }} 2>/dev/null" for name, command in _PARTS.items())
#: Kinds of sensors whose values are no temperatures: voltage, current and charge of a battery.
_NO_HEAT: Final = frozenset({6, 7, 8})
#: Degrees Celsius that a sensor may tell; drivers that have none tell other numbers.
_COLDEST, _HOTTEST = -40.0, 150.0
#: What Android calls how much it slows down (``PowerManager.THERMAL_STATUS_…``).
THERMAL: Final = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


def found(printed: str) -> dict[str, Any]:
    """The device and how it is now, by what :data:`SCRIPT` printed, in the form of ``found`` of ``scripts/remote.py``.

    ``abis``: what programs may be built for, the best first. Of the ``state``: ``cap_mhz`` is what the clocks may reach now,
    ``thermal`` the place in :data:`THERMAL`, ``battery`` its charge in per cent, ``charging``, ``saver`` whether the battery is
    saved. What the device does not tell is None or empty.
    """
    parts = dict.fromkeys(_PARTS, "")
    for part in printed.split(f"{_PART} ")[1:]:
        name, _, text = part.partition("\n")
        parts[name.strip()] = text.strip()
    own = dict(line.partition("=")[::2] for line in parts["properties"].splitlines())
    memory = re.search(r"MemTotal:\s*(\d+) kB", parts["memory"])
    abis = own.get("ro.product.cpu.abilist") or own.get("ro.product.cpu.abi", "")
    return {
        "board": _called(own),
        "processor": own.get("ro.board.platform", ""),
        "abis": [abi for abi in abis.split(",") if abi],
        "android": own.get("ro.build.version.release", ""),
        "system": f"Android {own.get('ro.build.version.release', '?')} (API {own.get('ro.build.version.sdk', '?')}), Linux "
        f"{parts['kernel'] or '?'}",
        "cpuinfo": parts["cpuinfo"][:20_000],
        "cores": len(re.findall(r"^processor\s*:", parts["cpuinfo"], re.MULTILINE)) or len(parts["clocks"].splitlines()) or 1,
        "memory": 1024 * int(memory[1]) if memory else 0,
        "state": _state(parts),
    }


def _called(own: Mapping[str, str]) -> str:
    """``Google Pixel 8 (Google Tensor G3)``."""
    maker, model = own.get("ro.product.manufacturer", ""), own.get("ro.product.model", "")
    name = model if model.lower().startswith(maker.lower()) else f"{maker} {model}"
    chip = f"{own.get('ro.soc.manufacturer', '')} {own.get('ro.soc.model', '')}".strip() or own.get("ro.board.platform", "")
    return f"{name.strip() or 'Android device'} ({chip})" if chip else name.strip() or "Android device"


def _state(parts: Mapping[str, str]) -> dict[str, Any]:
    clocks = [row for line in parts["clocks"].splitlines() if len(row := line.strip().split(",")) == 4]
    load, status = re.match(r"[\d.]+", parts["load"]), re.search(r"Thermal Status:\s*(\d+)", parts["thermal"])
    battery, powered = re.search(r"^\s*level:\s*(\d+)", parts["battery"], re.MULTILINE), "powered: true" in parts["battery"]
    return {
        "governor": sorted({row[0] for row in clocks if row[0]}),
        **{
            name: [int(row[n]) // 1000 for row in clocks if row[n].isdigit()]
            for n, name in enumerate(("mhz", "cap_mhz", "top_mhz"), 1)
        },
        "celsius": _sensors(parts["thermal"]) or _zones(parts["zones"]),
        "thermal": int(status[1]) if status else None,
        "battery": int(battery[1]) if battery else None,
        "charging": powered if battery else None,
        "saver": {"1": True, "0": False}.get(parts["saver"]),
        "load": float(load[0]) if load else None,
        "boot": parts["boot"],
    }


def _sensors(told: str) -> dict[str, float]:
    """Degrees Celsius by the sensor's name, as Android's own service has them now; those that it kept from before are old."""
    now = told.partition("Current temperatures from HAL:")[2].partition("Current cooling devices")[0]
    rows = re.findall(r"mValue=(-?[\d.]+).*?mType=(-?\d+).*?mName=([^,}]+)", now)
    heat = {name.strip(): float(value) for value, kind, name in rows if int(kind) not in _NO_HEAT}
    return {name: celsius for name, celsius in heat.items() if _COLDEST < celsius < _HOTTEST and celsius}


def _zones(told: str) -> dict[str, float]:
    """The same of the kernel's zones, in thousandths of a degree."""
    rows = re.findall(r"^(\S+) (-?\d+)$", told, re.MULTILINE)
    heat = {name: int(value) / 1000 for name, value in rows}
    return {name: celsius for name, celsius in heat.items() if _COLDEST < celsius < _HOTTEST and celsius}

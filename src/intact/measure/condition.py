"""Whether a device was as it should be while it was measured: a hot one is not a slow model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

from intact.data import Finding
from intact.runtime.android import THERMAL
from intact.runtime.elsewhere import Elsewhere
from intact.runtime.phone import Phone
from intact.runtime.places import Timer
from intact.wording import counted

#: Degrees Celsius at which boards begin to slow down: the Raspberry Pi's firmware does at 80.
_HOT: Final = 80.0
#: Load of each core, before anything is measured, that other work makes.
_BUSY: Final = 0.5
#: Of the highest clock; governors that save power reach the rest when there is work.
_FULL_CLOCK: Final = 0.95
#: The firmware's bits of what is so now: under-voltage, capped, throttled, at the soft limit of temperature.
_NOW: Final = {0: "under-voltage", 1: "a capped clock", 2: "throttling", 3: "the soft limit of temperature"}
#: The same since it started.
_SINCE: Final = 16
#: Governors that keep one clock.
_STEADY: Final = frozenset({"performance", "userspace"})
#: Per cent of charge below which phones slow down by themselves.
_EMPTY: Final = 15
#: Microseconds below which whole ones tell a time no better than to one per cent.
_COARSE: Final = 100


def condition(place: Timer) -> tuple[dict[str, Any], tuple[Finding, ...]]:
    """How a device is now, for the record of what was just measured there, and what its times may suffer from.

    Nothing for this machine.
    """
    if isinstance(place, Phone):
        after = place.look()["state"]
        said = [*_warm(place.machine["state"], after), *_coarse(place), *_line(place)]
    elif isinstance(place, Elsewhere):
        after = place.look()["state"]
        said = [*felt(place.machine, after), *_line(place)]
    else:
        return {}, ()
    return after, tuple(Finding("device", f"{place.name}: {each}") for each in said)


def felt(machine: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """What the times of a machine may suffer from, by what it said of itself before and of its state ``after``."""
    before = machine["state"]
    return (*_said(before, after), *_busy(before, machine["cores"]), *_versions(machine["versions"]["ai-edge-litert"]))


def _said(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    flags, earlier = after["throttled"] or 0, before["throttled"] or 0
    anew = flags | (flags >> _SINCE & ~(earlier >> _SINCE))
    if names := [name for bit, name in _NOW.items() if anew >> bit & 1]:
        what = " and ".join(names)
        yield f"its firmware reported {what} meanwhile: the times are longer than the model's; cool it, or mend its supply"
    hottest = max(after["celsius"].values(), default=0.0)
    if hottest >= _HOT:
        start = max(before["celsius"].values(), default=0.0)
        yield (
            f"it was at {hottest:.0f} degrees Celsius at the end ({start:.0f} at the start), where boards slow down; cool it "
            "and measure again"
        )
    if moving := sorted(set(after["governor"]) - _STEADY):
        clocks = [
            f"{mhz} of {top} MHz" for mhz, top in zip(after["mhz"], after["top_mhz"], strict=False) if mhz < _FULL_CLOCK * top
        ]
        yield (
            f"its governor is {', '.join(moving)}, which changes the clock with the load"
            + (f" ({clocks[0]} at the end)" if clocks else "")
            + "; for steadier times type there: sudo cpupower frequency-set -g performance"
        )


def _busy(before: Mapping[str, Any], cores: int) -> Iterator[str]:
    if before["load"] > _BUSY * cores:
        load = f"load {before['load']:.1f} on {counted(cores, 'core')}"
        yield f"it was busy with other work before ({load}): times may be too long"


def _warm(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What an Android device says of its heat, its clocks and its battery; it sets its governor itself."""
    worst = max(before["thermal"] or 0, after["thermal"] or 0)
    if worst:
        called = [THERMAL[min(state["thermal"] or 0, len(THERMAL) - 1)] for state in (before, after)]
        yield (
            f"Android reported throttling for heat ({called[0]} at the start, {called[1]} at the end): the times are longer "
            "than the model's; let it cool, out of its case, and measure again"
        )
    if capped := _capped(after):
        start = "as at the start" if _capped(before) == capped else "not so at the start"
        yield f"its clocks were held at {capped} MHz at the end, {start}; let it cool, charge it, and measure again"
    if after["saver"]:
        yield "it saves its battery, which slows it down; turn battery saver off"
    if after["battery"] is not None and after["battery"] < _EMPTY and not after["charging"]:
        yield f"its battery is at {after['battery']} %, where phones slow down; charge it"


def _capped(state: Mapping[str, Any]) -> str:
    """``1400 of 2850``: the cores that may not reach their highest clock now."""
    pairs = zip(state["cap_mhz"], state["top_mhz"], strict=False)
    return ", ".join(dict.fromkeys(f"{cap} of {top}" for cap, top in pairs if cap < _FULL_CLOCK * top))


def _coarse(phone: Phone) -> Iterator[str]:
    if phone.least_us is not None and phone.least_us < _COARSE:
        yield (
            f"benchmark_model counts whole microseconds, and the shortest time was {phone.least_us}: it is known to "
            f"{100 / phone.least_us:.2g} %, whatever its interval says"
        )


def _line(place: Elsewhere | Phone) -> Iterator[str]:
    line = place.patience
    if line.reboots:
        yield f"it started anew {counted(line.reboots, 'time')} during the run; what was measured then was measured again"
    elif line.lost:
        yield f"the line broke {counted(line.lost, 'time')}, and what was measured then was measured again"


def _versions(there: str) -> Iterator[str]:
    here = version("ai-edge-litert")
    if there != here:
        yield f"it runs LiteRT {there}, and {here} is here: figures from there and from here are of different kernels"

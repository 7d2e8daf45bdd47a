"""Cores that firmware is compiled for, as rows: the compiler's flags, and the machine that QEMU emulates."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

from intact.errors import OptionError


@final
@dataclass(frozen=True)
class Core:
    """``machine`` is empty where QEMU has none that a network fits in.

    ``flash`` and ``ram``: bytes of that machine, from ``flash_origin`` and ``ram_origin`` on. ``per_tick``: instructions in a
    tick of its SysTick with ``-icount shift=5``, 32 ns an instruction. Source of the memories and clocks: QEMU 7.2's
    hw/arm/mps2.c, mps2-tz.c and microbit.c.
    """

    name: str
    flags: str
    machine: str = ""
    flash: int = 4 << 20
    ram: int = 4 << 20
    flash_origin: int = 0
    ram_origin: int = 0x20000000
    per_tick: float = 40 / 32
    #: The compiler of a core that is no Cortex-M, which Intact does not call; else empty.
    compiler: str = ""

    @property
    def has_floats(self) -> bool:
        """Whether real numbers of 32 bits are computed by the core, rather than by a library."""
        return "-mfloat-abi=hard" in self.flags


_KIB: Final = 1 << 10
_M55: Final = "-mcpu=cortex-m55 -mfloat-abi=hard"

CORES: Final[Mapping[str, Core]] = MappingProxyType(
    {
        core.name: core
        for core in (
            Core("cortex-m0plus", "-mcpu=cortex-m0plus"),
            Core("cortex-m3", "-mcpu=cortex-m3", "mps2-an385"),
            Core("cortex-m4", "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16", "mps2-an386"),
            Core("cortex-m7", "-mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-d16", "mps2-an500"),
            Core("cortex-m33", "-mcpu=cortex-m33 -mfloat-abi=hard -mfpu=fpv5-sp-d16"),
            Core("cortex-m55", _M55, "mps3-an547", 512 * _KIB, 512 * _KIB, per_tick=31.25 / 32),
        )
    }
)

#: Cores of boards that are no Cortex-M: the C is for them too, and is compiled by what their maker gives.
FOREIGN: Final[Mapping[str, Core]] = MappingProxyType(
    {"xtensa-lx7": Core("xtensa-lx7", "", compiler="ESP-IDF's xtensa-esp32s3-elf-gcc")}
)


def core(name: str) -> Core:
    """The core called ``name``, in any spelling with or without ``cortex-``; OptionError names the nearest."""
    given = name.lower().replace("_", "-").replace("+", "plus")
    for spelled in (given, f"cortex-{given}", given.replace("cortexm", "cortex-m")):
        if spelled in CORES:
            return CORES[spelled]
    near = difflib.get_close_matches(given, CORES, 1)
    also = f"did you mean {near[0]}? " if near else ""
    raise OptionError(f"no core is called {name!r}; {also}type --cpu with one of: {', '.join(CORES)}")

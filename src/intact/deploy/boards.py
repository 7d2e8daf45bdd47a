"""Boards that firmware is meant for, as rows: the core, and the memory that one image of it can have in one piece."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

from intact.deploy.bytes import spelled
from intact.deploy.cores import CORES, FOREIGN, Core
from intact.deploy.cores import core as core_named
from intact.errors import OptionError

#: Letters and digits that a name has at least that is completed.
_BEGUN: Final = 5
_KIB: Final = 1 << 10
_MIB: Final = 1 << 20


@final
@dataclass(frozen=True)
class Board:
    """``key`` is what users type; ``core`` a name of :data:`CORES` or :data:`FOREIGN`; ``mhz`` the fastest clock.

    ``ram``: bytes of on-chip memory at consecutive addresses that an image may fill with data; what firmware takes besides the
    network, such as a radio's stack, goes off it. ``flash``: bytes that an image may take. ``source``: the data sheet or manual
    and where in it; ``note``: what of the chip's memory does not count, and why.
    """

    key: str
    name: str
    maker: str
    chip: str
    core: str
    ram: int
    flash: int
    mhz: int
    source: str
    note: str = ""

    @property
    def runs(self) -> Core:
        """The core as what it is compiled for."""
        return {**CORES, **FOREIGN}[self.core]

    @property
    def spellings(self) -> tuple[str, ...]:
        """What it may be called, letters and digits alone."""
        return tuple(plain(text) for text in (self.key, self.name, f"{self.maker} {self.name}", self.chip))


_BOARDS: Final = (
    Board(
        *("nano33ble", "Nano 33 BLE", "Arduino", "nRF52840", "cortex-m4", 256 * _KIB, 1 * _MIB, 64),
        "Nordic Semiconductor, nRF52840 Product Specification, key features and Memory",
        "the Arduino core's own bootloader and radio take some of both",
    ),
    Board(
        *(
            "microbitv2",
            "micro:bit v2",
            "Micro:bit Foundation",
            "nRF52833",
            "cortex-m4",
            128 * _KIB,
            512 * _KIB,
            64,
        ),
        "Nordic Semiconductor, nRF52833 Product Specification, key features and Memory",
    ),
    Board(
        *("nrf5340dk", "nRF5340 DK", "Nordic Semiconductor", "nRF5340", "cortex-m33", 512 * _KIB, 1 * _MIB, 128),
        "Nordic Semiconductor, nRF5340 Product Specification, key features: application core",
        "the network core has 64 KB and 256 KB of its own, which do not count",
    ),
    Board(
        *("esp32s3", "ESP32-S3-DevKitC-1", "Espressif", "ESP32-S3", "xtensa-lx7", 416 * _KIB, 8 * _MIB, 240),
        "Espressif, ESP32-S3 Technical Reference Manual, System and Memory: Internal SRAM 1; module ESP32-S3-WROOM-1-N8",
        "512 KB in all, of which caches take parts of SRAM 0 and SRAM 2; ESP-IDF itself takes some; no PSRAM counts",
    ),
    Board(
        *("bluepill", "Blue Pill", "various makers", "STM32F103C8", "cortex-m3", 20 * _KIB, 64 * _KIB, 72),
        "STMicroelectronics, data sheet DS5319, features",
    ),
    Board(
        *("nucleof446re", "Nucleo-F446RE", "STMicroelectronics", "STM32F446RE", "cortex-m4", 128 * _KIB, 512 * _KIB, 180),
        "STMicroelectronics, data sheet DS10693, features and embedded SRAM",
    ),
    Board(
        *("stm32f746gdisco", "32F746GDISCOVERY", "STMicroelectronics", "STM32F746NG", "cortex-m7", 320 * _KIB, 1 * _MIB, 216),
        "STMicroelectronics, data sheet DS10916, embedded SRAM: SRAM1, SRAM2 and DTCM adjoin",
        "16 KB of ITCM and 4 KB of backup SRAM do not count, nor the SDRAM and the flash outside the chip",
    ),
    Board(
        *("nucleoh743zi", "Nucleo-H743ZI", "STMicroelectronics", "STM32H743ZI", "cortex-m7", 512 * _KIB, 2 * _MIB, 480),
        "STMicroelectronics, data sheet DS12110, embedded SRAM: AXI SRAM",
        "1 MB in all; DTCM, ITCM and SRAM1 to SRAM4 lie elsewhere; 400 MHz before revision V",
    ),
    Board(
        *("nucleol476rg", "Nucleo-L476RG", "STMicroelectronics", "STM32L476RG", "cortex-m4", 96 * _KIB, 1 * _MIB, 80),
        "STMicroelectronics, data sheet DS10198, embedded SRAM: SRAM1",
        "32 KB of SRAM2 lie elsewhere",
    ),
    Board(
        *("nucleol4r5zi", "Nucleo-L4R5ZI", "STMicroelectronics", "STM32L4R5ZI", "cortex-m4", 640 * _KIB, 2 * _MIB, 120),
        "STMicroelectronics, data sheet DS12023, embedded SRAM: SRAM1, SRAM2 by its second address and SRAM3 adjoin",
    ),
    Board(
        *("pico", "Pico", "Raspberry Pi", "RP2040", "cortex-m0plus", 264 * _KIB, 2 * _MIB, 200),
        "Raspberry Pi, RP2040 Datasheet, SRAM; Raspberry Pi Pico Datasheet, flash; Pico SDK 2.1.1, release notes: clock",
        "200 MHz with 1.15 V for the core, and 133 without",
    ),
    Board(
        *("pico2", "Pico 2", "Raspberry Pi", "RP2350", "cortex-m33", 520 * _KIB, 4 * _MIB, 150),
        "Raspberry Pi, RP2350 Datasheet, SRAM; Raspberry Pi Pico 2 Datasheet, flash",
        "with its Cortex-M33 cores; its RISC-V cores are not compiled for",
    ),
    Board(
        *("alife7", "Ensemble E7", "Alif Semiconductor", "AE722F80F55D5", "cortex-m55", 1 * _MIB, 5632 * _KIB, 400),
        "Alif Semiconductor, Ensemble E7 data sheet, features: M55-HP, its DTCM; 5.5 MB of MRAM",
        "13.5 MB of SRAM in all; banks of system SRAM lie elsewhere and are slower; other cores' images share the MRAM",
    ),
    Board(
        *("featherm4", "Feather M4 Express", "Adafruit", "ATSAMD51J19", "cortex-m4", 192 * _KIB, 512 * _KIB, 120),
        "Microchip, SAM D5x/E5x Family Data Sheet DS60001507, configuration summary",
    ),
    Board(
        *("teensy41", "Teensy 4.1", "PJRC", "MIMXRT1062", "cortex-m7", 512 * _KIB, 7936 * _KIB, 600),
        "NXP, i.MX RT1060 data sheet IMXRT1060CEC, features; PJRC, Teensy 4.1 specifications: flash for programs",
        "1 MB in all, in two pieces of 512 KB; code that runs from tightly coupled memory takes part of the first",
    ),
)

BOARDS: Final[Mapping[str, Board]] = MappingProxyType({board.key: board for board in _BOARDS})


@final
@dataclass(frozen=True)
class Chosen:
    """What firmware is written for: ``board`` is the key of one, or None. ``ram`` and ``flash`` are what the linker gives.

    ``limit``: bytes of RAM within which ops run row by row where they must, 0 for the least that can be, None where nothing was
    said. ``notes``: contradictions, a sentence each.
    """

    core: Core
    ram: int
    flash: int
    limit: int | None
    board: str | None = None
    notes: tuple[str, ...] = ()


def board(name: str) -> Board:
    """The board called ``name``: by key, name or chip in any spelling, or how one of these alone begins.

    OptionError names the nearest.
    """
    given = plain(name)
    exact = [b for b in _BOARDS if given in b.spellings]
    begun = [b for b in _BOARDS if len(given) >= _BEGUN and any(text.startswith(given) for text in b.spellings)]
    found = exact or begun
    if len(found) == 1:
        return found[0]
    spelled_out = {text: b.key for b in _BOARDS for text in b.spellings}
    near = dict.fromkeys(b.key for b in found)
    near |= dict.fromkeys(spelled_out[text] for text in difflib.get_close_matches(given, spelled_out, 3))
    also = f"did you mean {' or '.join(near)}? " if near else ""
    raise OptionError(f"no board is called {name!r}; {also}type --board with one of: {', '.join(BOARDS)}")


def chosen(name: str | None, cpu: str | None, ram: int | None, flash: int | None) -> Chosen:
    """What ``--board``, ``--cpu``, ``--ram`` and ``--flash`` come to: what is typed wins over what the board has.

    Without a board and a core it is a Cortex-M4 as QEMU emulates it. OptionError for a name that there is not.
    """
    if name is None:
        core = core_named("cortex-m4" if cpu is None else cpu)
        return Chosen(core, ram or core.ram, flash or core.flash, ram)
    found = board(name)
    core, notes = found.runs if cpu is None else core_named(cpu), list[str]()
    if core.name != found.core:
        notes.append(f"--cpu {core.name} is compiled for, and {found.name} has a {found.core}")
    for option, given, has in (("--ram", ram, found.ram), ("--flash", flash, found.flash)):
        if given is not None and given > has:
            notes.append(f"{option} gives {spelled(given)}, and {found.name} has {has:,}")
    limit = found.ram if ram is None else ram
    return Chosen(core, ram or found.ram, flash or found.flash, limit, found.key, tuple(notes))


def plain(text: str) -> str:
    """A name as it is compared with others: its letters and digits alone, in lower case."""
    return re.sub(r"[^a-z0-9]", "", text.lower())

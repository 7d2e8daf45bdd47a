"""The Ethos-U processors as rows: what users type, and the system that an estimate assumes around one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

from intact.deploy.boards import plain
from intact.errors import OptionError

#: The memory mode of Vela's vela.ini: constants in flash, all else in SRAM that the processor shares with the Cortex-M.
MEMORY: Final = "Shared_Sram"
_ALL: Final = "all"
_MAKER: Final = "ethos"


@final
@dataclass(frozen=True)
class Npu:
    """``key`` is Vela's name of the configuration, and what users type: ``ethos-u55-128`` does 128 ``macs`` a cycle.

    ``system``: the system configuration of Vela's vela.ini, which says the clock and how fast SRAM and flash are.
    """

    key: str
    family: str
    macs: int
    system: str


_FAMILIES: Final = (
    ("ethos-u55", (32, 64, 128, 256), "Ethos_U55_High_End_Embedded"),
    ("ethos-u65", (256, 512), "Ethos_U65_Embedded"),
    ("ethos-u85", (128, 256, 512, 1024, 2048), "Ethos_U85_SYS_Flash_High"),
)

NPUS: Final[Mapping[str, Npu]] = MappingProxyType(
    {f"{family}-{macs}": Npu(f"{family}-{macs}", family, macs, system) for family, sizes, system in _FAMILIES for macs in sizes}
)


def npus(names: Iterable[str]) -> tuple[Npu, ...]:
    """Those that are called so, each once: by key, by family for all of its sizes, or ``all``; in any spelling.

    Worked: ``U55 128`` is ethos-u55-128, and ``u65`` is ethos-u65-256 and ethos-u65-512. OptionError names the nearest.
    """
    return tuple(dict.fromkeys(npu for name in names for npu in _called(name)))


def _called(name: str) -> tuple[Npu, ...]:
    given = plain(name).removeprefix(_MAKER)
    spelled_out = {plain(text).removeprefix(_MAKER): text for npu in NPUS.values() for text in (npu.family, npu.key)}
    known = spelled_out.get(given)
    found = tuple(npu for npu in NPUS.values() if given == _ALL or known in {npu.key, npu.family})
    if not found:
        near = [spelled_out[text] for text in difflib.get_close_matches(given, spelled_out, 3)]
        also = f"did you mean {' or '.join(near)}? " if near else ""
        raise OptionError(f"no NPU is called {name!r}; {also}type --npu with {_ALL} or one of: {', '.join(NPUS)}")
    return found

"""The C project around a network: what builds it for this computer and for a core, with samples that it must give exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

import numpy as np

from intact.deploy.c.network import CNetwork
from intact.deploy.c.source import listed
from intact.deploy.cores import Core
from intact.deploy.templates import plain, render

#: Bytes of stack that the linker keeps free; what a network takes of it is measured in the emulator.
STACK: Final = 2048


@final
@dataclass(frozen=True)
class Budget:
    """Bytes of RAM and flash that firmware may take."""

    ram: int
    flash: int


@final
@dataclass(frozen=True, eq=False)
class Vectors:
    """Stored integers [n, ...] of every input in order, and of every output that must come of them; ``about`` where from."""

    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    about: str

    def first(self, count: int) -> Vectors:
        return Vectors(tuple(x[:count] for x in self.inputs), tuple(y[:count] for y in self.outputs), self.about)

    def __len__(self) -> int:
        return len(self.inputs[0])


def files_of(net: CNetwork, core: Core, budget: Budget, vectors: Vectors) -> dict[str, str]:
    """The project, text by path within its folder."""
    values = net.values | {"core": core, "ram": budget.ram, "flash": budget.flash}
    return {
        f"{net.prefix}.h": net.header,
        f"{net.prefix}.c": net.body,
        "main.c": render("main.c", values),
        "vectors.h": render("vectors.h", {"about": vectors.about, "count": len(vectors), "ports": _rows(net, vectors)}),
        "Makefile": render("Makefile", values),
        **({} if core.compiler else _port(core, budget)),
    }


def measuring(net: CNetwork, core: Core, budget: Budget) -> dict[str, str]:
    """What measures the network in the emulator instead: samples are files of the host."""
    values = net.values
    return {
        f"{net.prefix}.h": net.header,
        f"{net.prefix}.c": net.body,
        "main.c": render("measure.c", values),
        **_port(core, budget),
    }


def _port(core: Core, budget: Budget) -> dict[str, str]:
    memory = {
        "flash_origin": hex(core.flash_origin),
        "ram_origin": hex(core.ram_origin),
        "flash": budget.flash,
        "ram": budget.ram,
        "stack": STACK,
    }
    return {
        "port/startup.c": plain("startup.c"),
        "port/semihosting.h": plain("semihosting.h"),
        "port/link.ld": render("link.ld", memory),
    }


def _rows(net: CNetwork, vectors: Vectors) -> Sequence[Mapping[str, object]]:
    arrays = (*vectors.inputs, *vectors.outputs)
    return [
        {"side": p.side, "n": p.n, "type": p.type, "count": p.count, "rows": [listed(row) for row in x]}
        for p, x in zip(net.ports, arrays, strict=True)
    ]

"""Firmware compiled and run: on this computer, and for a core under QEMU, with what it takes there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np

from intact import files, scratch
from intact.annotations import Ints
from intact.deploy.c.network import CNetwork
from intact.deploy.cores import Core
from intact.deploy.project import Budget, Vectors, measuring
from intact.errors import ChildError, MissingToolError, UnsupportedError
from intact.runtime.tools import ARM_COMPILER, ARM_SIZE, EMULATOR

_ARM: Final = (
    *("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-mthumb", "-ffreestanding", "-nostartfiles"),
    *("-nostdlib", "-fno-tree-loop-distribute-patterns", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
)
_COMPILING: Final = 300.0
#: Seconds that the emulator may take for one sample, and besides.
_PER_SAMPLE: Final = 20.0
_STARTING: Final = 60.0
#: Ticks of SysTick before it begins anew.
_TURN: Final = 1 << 24
_OVERFLOW: Final = re.compile(r"region [`'\"]?(RAM|FLASH)[`'\"]? overflowed by (\d+) bytes")
_SECTION: Final = re.compile(r"^\.(text|rodata|data|bss)\S*\s+(\d+)", re.MULTILINE)


@final
@dataclass(frozen=True)
class Sizes:
    """Bytes of a network compiled for a core: what is executed, what is read, and what is written (the arena)."""

    code: int
    constants: int
    ram: int


@final
@dataclass(frozen=True, eq=False)
class Ran:
    """What came out of a network on a core: the bytes of every output in order; ``instructions`` of the last run.

    ``stack``: bytes of it that were used at most, by what measures too.
    """

    outputs: Ints[np.ndarray, "samples bytes"]
    instructions: int
    stack: int


@final
@dataclass(frozen=True)
class Emulated:
    """``same``: of ``count`` samples, those whose outputs are exact, every element. ``instructions`` of one run of the network.

    ``stack``: bytes of the stack that were used at most, by what measures too.
    """

    core: str
    count: int
    same: int
    instructions: int
    stack: int

    def figures(self, macs: int) -> dict[str, float]:
        """What records say of a run of ``macs`` multiply-accumulates."""
        per_mac = self.instructions / max(macs, 1)
        return {"instructions": self.instructions, "instructions_per_mac": per_mac, "stack": self.stack}


def sizes(net: CNetwork, core: Core) -> Sizes:
    """What the compiler makes of the network for ``core``, with what it takes of the compiler's own library.

    MissingToolError without a compiler, ChildError where it fails.
    """
    with scratch.folder() as folder:
        _lay(folder, {f"{net.prefix}.h": net.header, f"{net.prefix}.c": net.body})
        made = f"{net.prefix}.o"
        joined = ("-r", "-Wl,--no-gc-sections", f"{net.prefix}.c", "-lgcc", "-o", made)
        ARM_COMPILER.run([*_arm(core), *joined], folder, timeout=_COMPILING)
        printed = ARM_SIZE.run(["-A", made], folder, timeout=_COMPILING)
    found = dict.fromkeys(("text", "rodata", "data", "bss"), 0)
    for name, size in _SECTION.findall(printed):
        found[name] += int(size)
    return Sizes(found["text"], found["rodata"] + found["data"], found["data"] + found["bss"])


def emulate(net: CNetwork, core: Core, budget: Budget, vectors: Vectors, *, portable: bool = False) -> Emulated:
    """The network on every sample of ``vectors``, as :func:`run` does it, and how many come out right to the last bit."""
    ran, exact = run(net, core, budget, vectors.inputs, portable=portable), _bytes(vectors.outputs)
    if ran.outputs.size != len(exact):
        raise ChildError(f"the emulated {core.name} gave {ran.outputs.size:,} bytes, and {len(exact):,} are right")
    same = ran.outputs == np.frombuffer(exact, np.uint8).reshape(len(vectors), -1)
    return Emulated(core.name, len(vectors), int(same.all(1).sum()), ran.instructions, ran.stack)


def run(  # noqa: PLR0913  # what a run is, with defaults
    net: CNetwork,
    core: Core,
    budget: Budget,
    inputs: tuple[np.ndarray, ...],
    *,
    portable: bool = False,
    seconds: float = _PER_SAMPLE,
) -> Ran:
    """The network on all samples of ``inputs``, [n, ...] each, under QEMU, which may take ``seconds`` for each.

    ``portable`` without the core's own instructions for products. UnsupportedError says by how many bytes it is too large;
    MissingToolError without compiler or emulator; ChildError where one fails or hangs.
    """
    if not core.machine and not core.compiler:
        raise UnsupportedError(f"QEMU has no machine with a {core.name} that a network fits in; type --cpu cortex-m4")
    with scratch.folder() as folder:
        _lay(folder, measuring(net, core, Budget(min(budget.ram, core.ram), min(budget.flash, core.flash))))
        _link(net, core, folder, ["-DINTACT_PORTABLE"] if portable else [])
        (folder / "input.bin").write_bytes(_bytes(inputs))
        EMULATOR.run(
            [
                *("-M", core.machine, "-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=5"),
                *("-semihosting-config", "enable=on,target=native", "-kernel", "network.elf"),
            ],
            folder,
            timeout=_STARTING + seconds * len(inputs[0]),
        )
        made, said = (folder / "output.bin").read_bytes(), (folder / "measured.bin").read_bytes()
    ticks, turns, stack = (int(v) for v in np.frombuffer(said, np.uint32))
    if not made or len(made) % len(inputs[0]):
        raise ChildError(f"the emulated {core.name} gave {len(made):,} bytes for {len(inputs[0]):,} samples")
    outputs = np.frombuffer(made, np.uint8).reshape(len(inputs[0]), -1)
    return Ran(outputs, round((turns * _TURN + ticks) * core.per_tick), stack)


def _link(net: CNetwork, core: Core, folder: Path, more: list[str]) -> None:
    sources = (f"{net.prefix}.c", "main.c", "port/startup.c")
    try:
        ARM_COMPILER.run(
            [*_arm(core), *more, "-T", "port/link.ld", *sources, "-lgcc", "-o", "network.elf"], folder, timeout=_COMPILING
        )
    except ChildError as error:
        over = dict(_OVERFLOW.findall("\n".join(error.__notes__)))
        if not over:
            raise
        missing = " and ".join(f"{int(size):,} bytes of {region}" for region, size in sorted(over.items()))
        raise UnsupportedError(f"the firmware does not fit: it lacks {missing}") from error


def _arm(core: Core) -> list[str]:
    if core.compiler:
        raise MissingToolError(f"{core.name} is compiled for by {core.compiler}, which Intact does not call, nor emulates it")
    return [*_ARM, *core.flags.split()]


def _lay(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / name, text)


def _bytes(arrays: tuple[np.ndarray, ...]) -> bytes:
    """Sample after sample, of each every array."""
    return b"".join(x[n].tobytes() for n in range(len(arrays[0])) for x in arrays)

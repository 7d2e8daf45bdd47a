"""Google's ``benchmark_model`` for .tflite files: which program it is, how it is asked to time a file, and what it prints."""

from __future__ import annotations

import re
import shlex
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from intact.errors import ChildError, ModelError, OptionError, PlaceError

#: Machines of ELF files (``e_machine``), as Android calls what is built for them.
_ABIS: Final = {183: "arm64-v8a", 40: "armeabi-v7a", 62: "x86_64", 3: "x86", 243: "riscv64"}
#: What Google's builds are called.
_BUILDS: Final = {
    "arm64-v8a": "android_aarch64_benchmark_model",
    "armeabi-v7a": "android_arm_benchmark_model",
}
#: Where the machine stands in an ELF file, and how much of a file says what it is.
_MACHINE_AT, _HEAD = 18, 20
_NO_COMMAND: Final = frozenset({126, 127})
#: Exit statuses above it are signals.
_SIGNALS: Final = 128
#: What usually stands behind some signals of Linux.
_USUAL_CAUSES: Final = {4: ", an instruction that the processor does not have", 9: ", often for want of memory"}
#: What it prints of each run that it makes in a row, the warm-up first.
_STATISTICS: Final = re.compile(r"\bcount=(\d+) .*")
_MEDIAN: Final = re.compile(r"\bmedian=(\d+)\b")
_UNKNOWN: Final = re.compile(r"Unconsumed cmdline flags: (.*)")


@final
@dataclass(frozen=True)
class Timed:
    """What one process measured: the median of ``count`` invocations in whole microseconds."""

    median_us: int
    count: int


def program(path: Path) -> str:
    """The ABI that the program at ``path`` is built for; OptionError where it is none for Android."""
    how = "download Google's build for Android, and type --benchmark-model with its path"
    if not path.is_file():
        raise OptionError(f"there is no {path}; {how}")
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if len(head) < _HEAD or not head.startswith(b"\x7fELF"):
        raise OptionError(f"{path} is no program for Android (it begins with {head[:12]!r}); {how}")
    (machine,) = struct.unpack_from("<H", head, _MACHINE_AT)
    return _ABIS.get(machine, f"machine {machine}")


def check_abi(path: Path, name: str, abis: Sequence[str]) -> None:
    """PlaceError for a program that ``name``, which takes those of ``abis``, cannot run."""
    built = program(path)
    if abis and built not in abis:
        wanted = next((_BUILDS[abi] for abi in abis if abi in _BUILDS), f"one built for {abis[0]}")
        raise PlaceError(f"{path.name} is built for {built}, and {name} runs {', '.join(abis)}; take {wanted}")


def command(  # noqa: PLR0913  # one command line, spelled out
    program: str, model: str, *, threads: int, warmup_seconds: float, block_seconds: float, max_seconds: float
) -> str:
    """The line for the device's shell. XNNPACK is asked for by name, so that a build that has none says so."""
    words = {
        "graph": model,
        "num_threads": threads,
        "warmup_runs": 1,
        "warmup_min_secs": f"{warmup_seconds:g}",
        "num_runs": 1,
        "min_secs": f"{block_seconds:g}",
        "max_secs": f"{max_seconds:g}",
        "use_xnnpack": "true",
    }
    return shlex.join([f"./{program}", *(f"--{name}={value}" for name, value in words.items())])


def check_runs(name: str, status: int, printed: str) -> None:
    """PlaceError for a program that does not start there, by what its ``--help`` came to."""
    if status in _NO_COMMAND or "CANNOT LINK" in printed or "not executable" in printed:
        raise PlaceError(f"benchmark_model does not start on {name} ({_last(printed)}); take the build for its processor")
    if "--graph" not in printed:
        raise PlaceError(f"what was given as benchmark_model says nothing of --graph on {name} ({_last(printed)})")


def timed(status: int, printed: str) -> Timed:
    """What a process measured. ModelError for a file that it refuses, ChildError where it died or says what is not known."""
    if status > _SIGNALS:
        number = status - _SIGNALS
        raise ChildError(f"benchmark_model died of signal {number}{_USUAL_CAUSES.get(number, '')} ({_last(printed)})")
    if unknown := _UNKNOWN.search(printed):
        raise ChildError(f"this benchmark_model does not know {unknown[1].strip()}; download a newer one")
    if status:
        raise ModelError(f"benchmark_model refuses it ({_reason(printed)})")
    rows = [line for line in printed.splitlines() if _STATISTICS.search(line)]
    if len(rows) != 2:
        raise ChildError(f"benchmark_model printed no times of a warm-up and of what follows ({_last(printed)})")
    median, count = _MEDIAN.search(rows[1]), _STATISTICS.search(rows[1])
    if median is None or count is None:
        raise ChildError(f"this benchmark_model tells no median ({_last(rows[1])}); download a newer one")
    if int(median[1]) < 1:
        raise ChildError("benchmark_model counts whole microseconds, and one invocation took less; no time can be told")
    return Timed(int(median[1]), int(count[1]))


def _reason(printed: str) -> str:
    """The lines that it marks as errors, but for the one that only says that it failed."""
    told = [line.partition("ERROR:")[2].strip() for line in printed.splitlines() if "ERROR:" in line]
    return _last("; ".join(line for line in told if line != "Benchmarking failed.") or printed)


def _last(printed: str) -> str:
    return " ".join(printed.split())[-300:]

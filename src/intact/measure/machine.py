"""The processor that times are taken on: a latency without it says little, since integer dot products make or break int8."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, final

from intact.runtime.phone import SHOWN
from intact.runtime.places import HERE, Clock, Timer

#: Flags of /proc/cpuinfo for instructions that multiply and add bytes in one step, the best first.
_DOT_PRODUCTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "amx_int8": "AMX-INT8",
        "avx512_vnni": "AVX512-VNNI",
        "avx_vnni": "AVX-VNNI",
        "i8mm": "I8MM",
        "asimddp": "DotProd",
    }
)
#: What a processor without them has at best.
_PLAIN: Final[Mapping[str, str]] = MappingProxyType({"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"})


@final
@dataclass(frozen=True)
class Cpu:
    """A processor's name and its ``vectors``; ``dot_products`` None where it is not known whether it has any."""

    name: str
    vectors: str = ""
    dot_products: bool | None = None

    def __str__(self) -> str:
        """``AMD EPYC (AVX512-VNNI)``, ``Intel Core i5-8250U (AVX2, no VNNI)``."""
        missing = ", no VNNI" if self.dot_products is False and self.vectors.startswith("AVX") else ""
        return f"{self.name} ({self.vectors}{missing})" if self.vectors else self.name


def cpu(place: Timer = HERE) -> Cpu:
    """The processor of a place, as far as its system tells; another machine's with the name of the place."""
    if not place.name:
        return _own()
    told = place.machine
    found = parse(told["cpuinfo"], told["board"] or told["processor"])
    if isinstance(place, Clock):
        return replace(found, name=f"{told['board']} on {place.name}, benchmark_model {told['tool'][:SHOWN]}")
    return replace(found, name=f"{found.name} on {place.name}, LiteRT {told['versions']['ai-edge-litert']}")


@functools.cache
def _own() -> Cpu:
    try:
        return parse(Path("/proc/cpuinfo").read_text())
    except OSError:  # macOS and Windows
        return Cpu(platform.processor() or platform.machine())


def parse(text: str, name: str = "") -> Cpu:
    """What /proc/cpuinfo says of the first core."""
    pairs = (line.partition(":")[::2] for line in text.splitlines())
    first: dict[str, str] = {}
    for key, value in pairs:
        first.setdefault(key.strip(), value.strip())
    name = first.get("model name") or first.get("Model") or name or platform.machine()
    flags = set((first.get("flags") or first.get("Features") or "").split())
    if not flags:
        return Cpu(name)
    dot = next((word for flag, word in _DOT_PRODUCTS.items() if flag in flags), None)
    plain = next((word for flag, word in _PLAIN.items() if flag in flags), "")
    return Cpu(name, plain if dot is None else dot, dot is not None)


#: Which flags of a processor say how fast it multiplies.
_VECTORS: Final = re.compile(r"(avx|amx|sse4|fma|f16c|vnni|asimd|i8mm|sve|bf16|fphp|neon)")
#: Packages whose versions decide what comes out.
_PACKAGES: Final = ("intact", "torch", "numpy", "ai-edge-litert")
#: Runtimes that files are run in, with the package that brings each, and the extra of Intact's that brings the package.
_RUNTIMES: Final = (("LiteRT", "ai-edge-litert", ""), ("TFLM", "tflite-micro", "mcu"))
_GOVERNOR: Final = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def document(place: Timer = HERE) -> dict[str, Any]:
    """The machine that figures were taken on, as documents have it; ``missing`` says why a runtime is not there."""
    if isinstance(place, Clock) or place.name:
        return _elsewhere(place)
    found = {name: _version(package) for name, package, _ in _RUNTIMES}
    return {
        "cpu": str(cpu()),
        "cores": HERE.cores,
        "flags": list(_flags()),
        "governor": _governor(),
        "system": platform.platform(),
        "versions": {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "runtimes": found,
        "missing": {
            name: f"the package {package} is not installed; type: pip install 'intact{f'[{extra}]' if extra else ''}'"
            for name, package, extra in _RUNTIMES
            if found[name] is None
        },
    }


def _elsewhere(place: Timer) -> dict[str, Any]:
    """The same of another machine, by what it said of itself; ``place`` is its name, and ``state`` how it was then."""
    told, state = place.machine, place.machine["state"]
    common = {
        "place": place.name,
        "cpu": str(cpu(place)),
        "cores": told["cores"],
        "flags": sorted(flag for flag in flags_of(told["cpuinfo"]) if _VECTORS.search(flag)),
        "governor": ", ".join(state["governor"]) or None,
        "system": told["system"],
        "state": state,
    }
    if isinstance(place, Clock):
        versions = {"intact": _version("intact"), "benchmark_model": told["tool"][:SHOWN]}
        return {**common, "versions": versions, "runtimes": {}, "missing": {}}
    there = told["versions"]
    found = {name: there.get(package) for name, package, _ in _RUNTIMES}
    return {
        **common,
        "versions": {**there, "intact": _version("intact"), "python": told["python"]},
        "runtimes": found,
        "missing": {
            name: f"the package {package} is not installed on {place.name}"
            for name, package, _ in _RUNTIMES
            if found[name] is None
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _governor() -> str | None:
    """Who sets the clock of the first core: ``performance``, ``powersave``; None where the system does not say."""
    try:
        return _GOVERNOR.read_text().strip()[:40] or None
    except OSError:
        return None


@functools.cache
def _flags() -> tuple[str, ...]:
    """The processor's flags for instructions on vectors."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ()
    return tuple(sorted(flag for flag in flags_of(text) if _VECTORS.search(flag)))


def flags_of(text: str) -> list[str]:
    """The flags that /proc/cpuinfo tells of the first core."""
    lines = (line.partition(":")[::2] for line in text.splitlines())
    return next((value.split() for key, value in lines if key.strip() in {"flags", "Features"}), [])

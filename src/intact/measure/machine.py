"""The processor that times are taken on: a latency without it says little, since integer dot products make or break int8."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, final

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


@functools.cache
def cpu() -> Cpu:
    """The processor of this machine, as far as the system tells."""
    try:
        return parse(Path("/proc/cpuinfo").read_text())
    except OSError:  # macOS and Windows
        return Cpu(platform.processor() or platform.machine())


def parse(text: str) -> Cpu:
    """What /proc/cpuinfo says of the first core."""
    pairs = (line.partition(":")[::2] for line in text.splitlines())
    first: dict[str, str] = {}
    for key, value in pairs:
        first.setdefault(key.strip(), value.strip())
    name = first.get("model name") or first.get("Model") or platform.machine()
    flags = set((first.get("flags") or first.get("Features") or "").split())
    if not flags:
        return Cpu(name)
    dot = next((word for flag, word in _DOT_PRODUCTS.items() if flag in flags), None)
    plain = next((word for flag, word in _PLAIN.items() if flag in flags), "")
    return Cpu(name, plain if dot is None else dot, dot is not None)

"""Runtimes as rows: what each reads, by which kernels it is asked for, and what has to be installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, final

from intact.errors import OptionError

#: "default": what LiteRT takes by itself, XNNPACK wherever it can. "reference": the plain kernels that microcontroller
#: runtimes share their arithmetic with. The others are runtimes of their own, with one set each.
Kernels: TypeAlias = Literal["default", "reference", "onnxruntime", "openvino", "pytorch", "pytorch-eager"]


@final
@dataclass(frozen=True)
class Runtime:
    """One runtime. ``reads``: endings of files; ``kernels``: its sets of kernels with what reports call them; ``package``: what
    is installed, by ``extra`` (none: with Intact itself). Each is told how many threads to use."""

    name: str
    title: str
    reads: frozenset[str]
    kernels: Mapping[Kernels, str]
    package: str
    extra: str = ""

    @property
    def is_own(self) -> bool:
        """Whether it runs what Intact writes, and what anything else is converted to."""
        return ".tflite" in self.reads


RUNTIMES: Final[Mapping[str, Runtime]] = MappingProxyType(
    {
        runtime.name: runtime
        for runtime in (
            Runtime(
                "litert",
                "LiteRT",
                frozenset({".tflite"}),
                {"default": "LiteRT default kernels (XNNPACK)", "reference": "LiteRT reference kernels"},
                "ai-edge-litert",
            ),
            Runtime(
                "onnxruntime", "ONNX Runtime", frozenset({".onnx"}), {"onnxruntime": "ONNX Runtime on the CPU"}, "onnxruntime",
                "onnx",
            ),
            Runtime(
                "openvino", "OpenVINO", frozenset({".onnx"}), {"openvino": "OpenVINO on the CPU"}, "openvino", "openvino"
            ),
            Runtime(
                "pytorch", "PyTorch", frozenset({".pt2"}), {"pytorch": "PyTorch on the CPU, compiled"}, "torch"
            ),
            Runtime(
                "pytorch-eager", "PyTorch", frozenset({".pt2"}), {"pytorch-eager": "PyTorch on the CPU, op by op"}, "torch"
            ),
        )
    }
)  # fmt: skip
#: How reports name the kernels.
KERNEL_NAMES: Final[Mapping[Kernels, str]] = MappingProxyType(
    {kernels: name for runtime in RUNTIMES.values() for kernels, name in runtime.kernels.items()}
)


def runtime(name: str) -> Runtime:
    """The runtime called ``name``; OptionError lists the names there are."""
    if name not in RUNTIMES:
        raise OptionError(f"no runtime is called {name!r}; type --runtime with one of: {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def of(kernels: Kernels) -> Runtime:
    """The runtime that has the kernels."""
    return next(each for each in RUNTIMES.values() if kernels in each.kernels)


def named(kernels: Kernels) -> str:
    """What reports call the kernels, with the version of a runtime that does not come with Intact."""
    found = of(kernels)
    if found.is_own:
        return KERNEL_NAMES[kernels]
    try:
        return KERNEL_NAMES[kernels].replace(found.title, f"{found.title} {metadata.version(found.package)}", 1)
    except metadata.PackageNotFoundError:
        return KERNEL_NAMES[kernels]

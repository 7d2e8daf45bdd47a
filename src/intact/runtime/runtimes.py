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
Kernels: TypeAlias = Literal["default", "reference", "tflm", "onnxruntime", "openvino", "pytorch", "pytorch-eager", "tensorrt"]
#: What a runtime's files run on: the processor here, a microcontroller (of which no time here speaks), or a GPU here.
Device: TypeAlias = Literal["cpu", "mcu", "gpu"]


@final
@dataclass(frozen=True)
class Runtime:
    """One runtime. ``reads``: endings of files; ``kernels``: its sets of kernels with what reports call them; ``package``: what
    is installed, by ``extra`` (none: with Intact itself). Each is told how many threads to use. A study plans for ``target``
    where it names none, and exports ``to`` the format that the runtime reads (none: it runs what a run writes)."""

    name: str
    title: str
    reads: frozenset[str]
    kernels: Mapping[Kernels, str]
    package: str
    extra: str = ""
    to: Literal["", "onnx", "pytorch"] = ""
    target: str = "cpu"
    device: Device = "cpu"

    @property
    def is_own(self) -> bool:
        """Whether it is what anything that is not said otherwise is converted to and run in."""
        return self.name == "litert"

    def check_target(self, target: str) -> None:
        """OptionError for what is planned for a target that is nothing for the runtime's device."""
        if self.device != "cpu" and target != self.target:
            raise OptionError(
                f"{self.name} runs what is planned for {self.target}; type --targets {self.target}, or leave --targets out"
            )


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
                "tflm", "TensorFlow Lite Micro", frozenset({".tflite"}), {"tflm": "TensorFlow Lite Micro"}, "tflite-micro",
                "mcu", target="mcu", device="mcu",
            ),
            Runtime(
                "onnxruntime", "ONNX Runtime", frozenset({".onnx"}), {"onnxruntime": "ONNX Runtime on the CPU"}, "onnxruntime",
                "onnx", "onnx",
            ),
            Runtime(
                "openvino", "OpenVINO", frozenset({".onnx"}), {"openvino": "OpenVINO on the CPU"}, "openvino", "openvino",
                "onnx", "openvino",
            ),
            Runtime(
                "pytorch", "PyTorch", frozenset({".pt2"}), {"pytorch": "PyTorch on the CPU, compiled"}, "torch", "", "pytorch",
                "pytorch",
            ),
            Runtime(
                "pytorch-eager", "PyTorch", frozenset({".pt2"}), {"pytorch-eager": "PyTorch on the CPU, op by op"}, "torch", "",
                "pytorch", "pytorch",
            ),
            Runtime(
                "tensorrt", "ONNX Runtime", frozenset({".onnx"}), {"tensorrt": "ONNX Runtime on the GPU, by TensorRT"},
                "onnxruntime", "onnx", "onnx", "tensorrt", "gpu",
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

"""Number formats for a whole model, by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

from intact.errors import OptionError


@final
@dataclass(frozen=True)
class Scheme:
    """How a model's weights and activations are stored; ``io`` are the types its inputs and outputs may have, default first.

    ``weights`` come of a table with indices of ``clusters`` bits where that is not 0. Where ``block`` is not 0, there is a step
    for each so many: of weights of ``steps`` bits, or, where that is 0, a float16 scale for so many inputs. ``usual``: a study
    that names no schemes has it. ``packs``: there are fewer bits to a weight than a .tflite has types for, so that a file is
    smaller where its runtime decodes it as it runs.
    """

    name: str
    weights: str
    activations: str
    io: tuple[str, ...]
    summary: str
    clusters: int = 0
    usual: bool = True
    block: int = 0
    steps: int = 0

    @property
    def bits(self) -> int:
        """Bits of one weight, its table aside."""
        return self.clusters or self.steps or int(re.sub(r"\D", "", self.weights))

    @property
    def packs(self) -> bool:
        return 0 < self.clusters < _WHOLE or (self.weights in _NARROW and self.is_integer)

    @property
    def study_only(self) -> bool:
        """Whether no runtime computes on the weights as they are stored in theory, nor decodes them."""
        return self.steps > 0 or self.weights in WIDE

    @property
    def is_integer(self) -> bool:
        """True when activations are integers, so that ranges must be calibrated."""
        return self.activations != "float32"

    @property
    def is_hybrid(self) -> bool:
        """True when weights are integers beside real activations, so that samples may say how to round them."""
        return not self.is_integer and self.weights.startswith("int")

    @property
    def learns(self) -> bool:
        """Whether samples decide anything unasked: ranges, or how few bits are rounded.

        Weights of 8 bits beside real activations do well on any data, and what learns from other data than the network is for
        does harm.
        """
        return self.is_integer or (self.is_hybrid and self.bits < _WHOLE)


#: Bits of the widest index: as many tables as int8 has numbers.
_WHOLE: Final = 8
#: Widths that are no type of a .tflite.
_NARROW: Final = {f"int{bits}": bits for bits in (2, 3, 5, 6, 7)}
#: Widths that no runtime has kernels for beside 8-bit activations, in floats.
WIDE: Final = {f"int{bits}": bits for bits in range(9, 17)}
#: Bits of weights with a step for each of so many.
_IN_BLOCKS: Final = (2, 3, 4)
_BLOCKS: Final = (16, 32, 64, 128)
#: Inputs that a scale may be for beside real activations: what XNNPACK and the converter of LiteRT's own tools take.
_SCALED: Final = (32, 64, 128, 256)
_IO: Final = ("int8", "uint8", "float32")

SCHEMES: Final[Mapping[str, Scheme]] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            Scheme("float32", "float32", "float32", ("float32",), "the float network, cleaned and rewritten"),
            Scheme("float16", "float16", "float32", ("float32",), "weights in half precision, computed in float32"),
            Scheme("dynamic", "int8", "float32", ("float32",), "int8 weights, float32 activations quantized on the fly"),
            Scheme("int8", "int8", "int8", ("int8", "uint8", "float32"), "int8 weights and activations, int32 biases"),
            Scheme("w4a8", "int4", "int8", ("int8", "uint8", "float32"), "int8, with int4 weights where there are kernels"),
            Scheme("int16x8", "int8", "int16", ("int16", "float32"), "int8 weights, int16 activations, int64 biases"),
            Scheme(
                "dynamic-w4", "int4", "float32", ("float32",), "dynamic, with int4 weights where there are kernels", usual=False
            ),
            Scheme(
                "dynamic-w2",
                "int2",
                "float32",
                ("float32",),
                "dynamic, with int2 weights of dense layers, where there are kernels",
                usual=False,
            ),
            *(
                Scheme(
                    f"dynamic-w4-g{block}",
                    "int4",
                    "float32",
                    ("float32",),
                    f"dynamic-w4, with a scale for each {block} inputs of a dense layer",
                    usual=False,
                    block=block,
                )
                for block in _SCALED
            ),
            *(
                Scheme(f"w{bits}a8", dtype, "int8", _IO, f"int8, with weights of {bits} bits", usual=False)
                for dtype, bits in _NARROW.items()
            ),
            *(
                Scheme(f"w{bits}a8", dtype, "int8", _IO, f"int8, with weights of {bits} bits, for study", usual=False)
                for dtype, bits in WIDE.items()
            ),
            *(
                Scheme(
                    f"w{bits}a8-g{block}",
                    "int8",
                    "int8",
                    _IO,
                    f"int8, with weights of {bits} bits and a step for each {block} of them, for study",
                    usual=False,
                    block=block,
                    steps=bits,
                )
                for bits in _IN_BLOCKS
                for block in _BLOCKS
            ),
            *(
                Scheme(f"clusters{bits}", "int8", "int8", _IO, f"int8, with weights of {2**bits} numbers", bits, usual=False)
                for bits in range(1, _WHOLE + 1)
            ),
            *(
                Scheme(
                    f"clusters{bits}-float",
                    "float32",
                    "float32",
                    ("float32",),
                    f"float32, with weights of {2**bits} numbers",
                    bits,
                    usual=False,
                )
                for bits in range(1, _WHOLE + 1)
            ),
        )
    }
)


def _named(*, integer: bool) -> str:
    usual = ", ".join(name for name, made in SCHEMES.items() if made.usual and (made.is_integer or not integer))
    others = "w2a8 to w16a8, w2a8-g32 to w4a8-g128, clusters1 to clusters8"
    real = f"clusters1-float to clusters8-float, dynamic-w2, dynamic-w4, {_in_blocks()}"
    return f"{usual}, {others}" if integer else f"{usual}, {others}, {real}"


def _in_blocks() -> str:
    return ", ".join(f"dynamic-w4-g{block}" for block in _SCALED)


#: The schemes whose activations are integers, and all of them, in words.
INTEGERS: Final = _named(integer=True)
NAMED: Final = _named(integer=False)
_WIDTHS: Final = re.compile(r"w(\d+)a(\d+)")
_DYNAMIC: Final = re.compile(r"dynamic-w(\d+)(-g\d+)?")


def scheme(name: str) -> Scheme:
    """The scheme called ``name``; OptionError lists the names there are."""
    if name in SCHEMES:
        return SCHEMES[name]
    widths = _WIDTHS.fullmatch(name)
    if widths:
        weights, activations = int(widths[1]), int(widths[2])
        same = {(8, 8): "int8", (8, 16): "int16x8"}.get((weights, activations))
        if same:
            raise OptionError(f"{name} is called {same}; type --scheme {same}")
        raise OptionError(
            f"{name} is study only: no runtime has kernels for {weights}-bit weights beside {activations}-bit activations; "
            f"type --scheme with one of: {NAMED}"
        )
    dynamic = _DYNAMIC.fullmatch(name)
    if dynamic:
        raise OptionError(_no_such_dynamic(name, int(dynamic[1]), dynamic[2] or ""))
    raise OptionError(f"no scheme is called {name!r}; type --scheme with one of: {NAMED}")


def _no_such_dynamic(name: str, bits: int, block: str) -> str:
    if bits == 8 and not block:
        return f"{name} is called dynamic; type --scheme dynamic"
    if bits == 2:
        return f"{name}: kernels take one scale for each output of 2-bit weights; type --scheme dynamic-w2"
    if bits != 4:
        return (
            f"{name}: kernels take weights of 2, 4 or 8 bits beside real activations; type --scheme dynamic-w2, dynamic-w4 or "
            "dynamic"
        )
    sizes = ", ".join(str(size) for size in _SCALED)
    return (
        f"{name}: kernels take a scale for {sizes} inputs, and not for {block[2:]}; type --scheme with one of: {_in_blocks()}"
    )

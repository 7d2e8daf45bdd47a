"""Conversions between formats. In real numbers they are identities: the simulator rounds where a tensor's format says so.

Sources of their integers: LiteRT kernels/quantize.cc and dequantize.cc.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from intact.numbers.affine import Affine, Format, Index, dequantize
from intact.ops.base import Costless, FloatOnly, Homogeneous, InPlace, OpKind
from intact.ops.call import Call, present


@final
@dataclass(frozen=True)
class Quantize(Homogeneous, Costless):
    """The same real number in an integer format, or in another one."""

    name: ClassVar[str] = "QUANTIZE"
    converts: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x")

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        source = call.formats[0]
        if isinstance(source, Affine):
            return (call.arithmetic.convert(call.tensor(0), source, call.output()),)
        return (call.arithmetic.quantize(call.tensor(0), call.output()),)


@final
@dataclass(frozen=True)
class Dequantize(Homogeneous, Costless):
    """The same real number in float32."""

    name: ClassVar[str] = "DEQUANTIZE"
    converts: ClassVar[bool] = True

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").to(torch.float32)

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        return (dequantize(call.tensor(0), call.format(0)),)


@final
@dataclass(frozen=True)
class Cast(FloatOnly):
    """The same number as another type: ``float32``, ``int32``, …"""

    name: ClassVar[str] = "CAST"
    discerns: ClassVar[bool] = True
    in_place: ClassVar[InPlace | None] = "elements"
    dtype: str = "float32"

    def compute(self, *inputs: Tensor | None) -> Tensor:
        return present(inputs[0], "x").to(getattr(torch, self.dtype))

    def as_stored(self, given: Format) -> tuple[OpKind, Affine] | None:
        """QUANTIZE, of bytes that stand for themselves: 200 is 200 steps of 1."""
        if self.dtype != "float32" or given not in (Index("int8"), Index("uint8")):
            return None
        return Quantize(), Affine((1.0,), (0,), given.dtype)

"""Every op kind, by LiteRT name: ``KINDS["CONV_2D"] is Conv2D``. To add one, write its class in the family's module."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from intact.ops import (
    activation,
    blocks,
    convolution,
    elementwise,
    indexing,
    logic,
    matmul,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    rounding,
    shaping,
    volume,
)
from intact.ops.base import OpKind

_FAMILIES: Final = (
    activation,
    blocks,
    convolution,
    elementwise,
    indexing,
    logic,
    matmul,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    rounding,
    shaping,
    volume,
)
KINDS: Final[Mapping[str, type[OpKind]]] = MappingProxyType(
    {
        kind.name: kind
        for module in _FAMILIES
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, OpKind) and not inspect.isabstract(kind)
    }
)

"""Every op kind, by LiteRT name: ``KINDS["CONV_2D"] is Conv2D``. To add one, write its class in the family's module."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from intact.ops.base import FloatOnly, OpKind

KINDS: Final[Mapping[str, type[OpKind]]] = MappingProxyType(
    {
        kind.name: kind
        for family in pkgutil.iter_modules(__path__)
        for kind in vars(import_module(f"{__name__}.{family.name}")).values()
        if inspect.isclass(kind) and issubclass(kind, OpKind) and "name" in vars(kind)
    }
)
#: Kinds that some runtime computes in integers as they write it down (UNIDIRECTIONAL_SEQUENCE_LSTM as TensorFlow Lite Micro
#: does; CONV_3D every target lacks). Not DIV, whose kernels fail where a divisor is a stored zero; nor comparisons, which
#: requantize to steps of 1/256 whatever the scale (LiteRT comparisons.cc); nor CAST, which takes the stored integers for
#: numbers. The kernels of SQRT and REDUCE_PROD are right, and not written down.
INTEGER: Final[frozenset[str]] = frozenset(name for name, kind in KINDS.items() if not issubclass(kind, FloatOnly))

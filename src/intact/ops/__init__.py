"""Every op kind, by LiteRT name: ``KINDS["CONV_2D"] is Conv2D``. To add one, write its class in the family's module."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Final

from intact.ops.base import OpKind
from intact.ops.opaque import Opaque

KINDS: Final[Mapping[str, type[OpKind]]] = MappingProxyType(
    {
        kind.name: kind
        for family in pkgutil.iter_modules(__path__)
        for kind in vars(import_module(f"{__name__}.{family.name}")).values()
        if inspect.isclass(kind) and issubclass(kind, OpKind) and not inspect.isabstract(kind) and kind is not Opaque
    }
)

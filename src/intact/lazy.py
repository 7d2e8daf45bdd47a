"""A package whose public names are loaded when they are asked for, so that importing it costs nothing (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def lazily(package: str, public: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` for ``package``: name -> ``"module"`` or ``"module:its name there"``.

    ``""`` stands for a submodule of the name itself. Where a submodule is called as a public name is, the name stays what
    ``public`` says: importing ``intact.run.quantize`` leaves the function ``intact.run.quantize`` alone.
    """

    class Package(ModuleType):
        def __setattr__(self, name: str, value: object) -> None:
            # The import system binds every submodule in its package as it loads it; there is no other hook.
            if isinstance(value, ModuleType) and public.get(name, ""):
                return
            super().__setattr__(name, value)

    module = sys.modules[package]
    module.__class__ = Package

    def get(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        where, _, there = public[name].partition(":")
        if not where:
            return import_module(f"{package}.{name}")
        value = getattr(import_module(f"{package}.{where}"), there or name)
        setattr(module, name, value)  # so that it is asked for once
        return value

    return get, lambda: sorted({*public, *(name for name in vars(module) if name.startswith("__") and name.endswith("__"))})

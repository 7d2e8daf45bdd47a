"""Shapes and element types in annotations: ``Floats[Tensor, "n h w c"]`` is a tensor of floats with these four axes.

Equal words are equal sizes within one call, ``*s`` any number of axes, ``...`` axes of any size, ``""`` one number; ``#``
before a word lets that axis be 1. Here the names are ``Annotated``: type checkers read the tensor, and nothing is checked as it
runs. Tests put jaxtyping's in their place and check every call (tests/conftest.py); users need not have it.
"""

from __future__ import annotations

from typing import Annotated as Bools
from typing import Annotated as Floats
from typing import Annotated as Ints
from typing import Annotated as Numbers
from typing import Annotated as Values

#: Bools; floats of any width; signed and unsigned integers of any width; any of these but bools; and any elements at all.
__all__ = ["Bools", "Floats", "Ints", "Numbers", "Values"]

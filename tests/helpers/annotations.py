"""Annotations that are checked at every call: types, and shapes where they are given (:mod:`intact.annotations`)."""

import sys

import jaxtyping
from beartype import BeartypeConf, beartype

from intact import annotations as names

#: Wings whose functions and classes are checked.
CHECKED = (
    *("intact.numbers", "intact.simulate", "intact.measure"),
    *(
        f"intact.ops.{name}" for name in ("call", "convolution", "pooling", "resize", "scales")
    ),  # not base: beartype knows no Self there
)
NAMES = {
    "Bools": jaxtyping.Bool,
    "Floats": jaxtyping.Float,
    "Ints": jaxtyping.Integer,
    "Numbers": jaxtyping.Num,
    "Values": jaxtyping.Shaped,
}
#: A whole number is a float too, as type checkers have it (PEP 484, the numeric tower).
typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check_annotations() -> None:
    """From here on, imported modules of ``CHECKED`` raise jaxtyping.TypeCheckError where a call is not what they say."""
    early = [name for name in sys.modules if name.startswith(CHECKED)]
    assert not early, f"imported before their annotations could be checked: {early}"
    assert NAMES.keys() == set(names.__all__)
    for name, checked in NAMES.items():
        setattr(names, name, checked)
    jaxtyping.install_import_hook(CHECKED, "annotations.typechecker")

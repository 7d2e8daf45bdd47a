"""Number formats for a whole model, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, final

from intact.errors import OptionError


@final
@dataclass(frozen=True)
class Scheme:
    """How a model's weights and activations are stored; ``io`` are the types its inputs and outputs may have, default first."""

    name: str
    weights: str
    activations: str
    io: tuple[str, ...]
    summary: str

    @property
    def is_integer(self) -> bool:
        """True when activations are integers, so that ranges must be calibrated."""
        return self.activations != "float32"


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
        )
    }
)

#: Names of the schemes whose activations are integers.
INTEGER: Final = tuple(name for name, scheme in SCHEMES.items() if scheme.is_integer)


def scheme(name: str) -> Scheme:
    """The scheme called ``name``; OptionError lists the names there are."""
    if name not in SCHEMES:
        raise OptionError(f"no scheme is called {name!r}; type --scheme with one of: {', '.join(SCHEMES)}")
    return SCHEMES[name]

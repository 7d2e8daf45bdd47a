"""Remedies by name, one published method each. To add one, write its class in a file of its own and list it here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from intact.data import Samples
from intact.errors import OptionError
from intact.quantized import Quantized
from intact.remedies.base import Context, Remedy
from intact.remedies.bias import BiasCorrection
from intact.remedies.equalize import Equalize
from intact.remedies.finetune import FineTune
from intact.remedies.rounding import LearnedRounding

_ALL: Final = (Equalize(), LearnedRounding(), BiasCorrection(), FineTune())
REMEDIES: Final[Mapping[str, Remedy]] = MappingProxyType({remedy.name: remedy for remedy in _ALL})


def known(names: Iterable[str]) -> tuple[Remedy, ...]:
    """The remedies called ``names``, each once, in the order that lets them work together. OptionError for unknown names."""
    chosen = []
    for name in dict.fromkeys(names):
        if name not in REMEDIES:
            raise OptionError(f"no remedy is called {name!r}; type --remedies with some of: {','.join(REMEDIES)}")
        chosen.append(REMEDIES[name])
    return tuple(sorted(chosen, key=lambda remedy: remedy.order))


def apply(names: Iterable[str], network: Quantized, samples: Samples, context: Context) -> Quantized:
    """``network`` after the remedies called ``names``; see :func:`known`."""
    for remedy in known(names):
        network = remedy.apply(network, samples, context)
    return network

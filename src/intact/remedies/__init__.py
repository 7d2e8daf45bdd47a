"""Remedies by name, one published method each. To add one, write its class in a file of its own and list it here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from intact import choices
from intact.data import Samples
from intact.errors import UnsupportedError
from intact.network.graph import Graph
from intact.network.lanes import Lanes
from intact.planning.quantized import Quantized
from intact.remedies.absorb import Absorb
from intact.remedies.base import Context, Remedy
from intact.remedies.bias import BiasCorrection
from intact.remedies.bias_analytic import AnalyticBiasCorrection
from intact.remedies.clip import Clip
from intact.remedies.compensate import CompensatedRounding
from intact.remedies.equalize import Equalize
from intact.remedies.finetune import FineTune
from intact.remedies.mixed import MixedPrecision
from intact.remedies.ranges import RangeRefinement
from intact.remedies.rounding import LearnedRounding

_ALL: Final = (
    Equalize(),
    Absorb(),
    MixedPrecision(),
    Clip(),
    RangeRefinement(),
    CompensatedRounding(),
    BiasCorrection(),
    AnalyticBiasCorrection(),
    LearnedRounding(),
    FineTune(),
)
REMEDIES: Final[Mapping[str, Remedy]] = MappingProxyType({remedy.name: remedy for remedy in _ALL})


def known(names: Iterable[str]) -> tuple[Remedy, ...]:
    """The remedies called ``names``, each once, in the order that lets them work together. OptionError for unknown names."""
    return tuple(sorted((REMEDIES[name] for name in choices.remedies(names)), key=lambda remedy: remedy.order))


def apply(remedies: Iterable[Remedy], network: Quantized, samples: Samples, context: Context) -> Quantized:
    """``network`` after ``remedies``, in the order given; :func:`known` makes them of names.

    Those that learn share the time that is left: the first of two takes half of it at most.
    """
    remedies = tuple(remedies)
    for n, remedy in enumerate(remedies):
        if remedy.needs_single_samples:
            _check_single_samples(network.graph, remedy.name)
        now, sharing = time.monotonic(), sum(other.learns for other in remedies[n:]) if remedy.learns else 1
        its = replace(context, deadline=now + (context.deadline - now) / sharing)
        network = replace(remedy.apply(network, samples, its), remedies=(*network.remedies, remedy.name))
    return network


def _check_single_samples(graph: Graph, name: str) -> None:
    """UnsupportedError where no sample of the model stands alone."""
    together, states = Lanes(graph).size, [state.name for state in graph.states]
    if states:
        raise UnsupportedError(
            f"--remedies {name} learns from samples in any order, and this model keeps {states[0]!r} from one to the next: "
            f"leave {name} out; equalize, clip and mixed work"
        )
    if together > 1:
        raise UnsupportedError(
            f"--remedies {name} learns from samples one by one, and this model takes {together} together: "
            f"export it with a batch of 1 or an open batch, or leave {name} out"
        )

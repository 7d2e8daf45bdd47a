"""A float network as a target likes it: what calibration sees and what a plan is for."""

from __future__ import annotations

from intact.errors import UnsupportedError
from intact.network.graph import Graph
from intact.planning.schemes import scheme as scheme_named
from intact.rewrite.clean import clean
from intact.rewrite.formerly import remembering
from intact.rewrite.lowerings import lower
from intact.run.settings import Settings


def prepare(graph: Graph, settings: Settings) -> Graph:
    """The float graph cleaned and spelled as the target likes it: what calibration sees and what the plan is for.

    Raises UnsupportedError for a model that is quantized already.
    """
    if graph.is_quantized:
        raise UnsupportedError(
            "this model is quantized already; give the float model it was made from. "
            "intact evaluate, intact benchmark, intact inspect and intact diagnose --against FLOAT_MODEL work on it as it is"
        )
    return remembering(graph, lower(clean(graph), settings.target, scheme_named(settings.scheme).activations))

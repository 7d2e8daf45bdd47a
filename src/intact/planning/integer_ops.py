"""Which ops of a float network will compute on integers: those that the target can, and the user did not keep in float."""

from __future__ import annotations

from collections.abc import Mapping, Set
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final

from intact.errors import OptionError, UnsupportedError
from intact.network.graph import Graph, Op, short_name
from intact.network.weighted import weighted
from intact.numbers.affine import Affine
from intact.planning.islands import float_islands
from intact.planning.request import Request

#: What to do with whole numbers that come in as real ones.
AS_INT32: Final = "let them enter the model as int32 (in Keras: Input(shape, dtype='int32'))"


def integer_ops_of(graph: Graph, request: Request, kept: Set[int], exact: Set[int]) -> set[int]:
    """First outputs of the ops that compute on integers. ``kept`` are in float by wish (:func:`kept_float`), what makes
    ``exact`` tensors has to be (:mod:`intact.planning.exactness`).

    UnsupportedError names an op that cannot, where the target computes on nothing else.
    """
    integer: set[int] = set()
    target, dtype = request.target, request.scheme.activations
    kinds = target.kinds(dtype)
    for op in graph.ops:
        if not any(graph[i].is_float for i in (*op.reads, *op.outputs)):
            continue
        must_be_exact = not exact.isdisjoint(op.outputs)
        computes = op.kind.name in kinds or (dtype == "int8" and bytes_as_stored(graph, op, kept) is not None)
        form = op.kind.why_not_integer([i is not None for i in op.inputs])
        found = weighted(graph, op)
        known = computes and (found is None or found.is_constant) and not form
        if known and op.output not in kept and not must_be_exact:
            integer.add(op.output)
        elif not target.float_islands:
            why, way = f"has no {dtype} kernel{form and ' for '}{form}", "change the model"
            if op.output in kept:
                why, way = "was kept float", "leave --keep-float out"
            elif must_be_exact or not exact.isdisjoint(op.reads):
                why, way = "makes whole numbers of real ones, which rounding would change", AS_INT32
            raise UnsupportedError(
                f"{graph.label(op)} {why}, and target {target.name} runs integers only; "
                f"{way}, or type --target cpu, where it can stay in float"
            )
    return integer - float_islands(graph, target, integer, kept) if dtype == "int8" else integer


def bytes_as_stored(graph: Graph, op: Op, kept: Set[int]) -> Affine | None:
    """The format of a graph input whose whole numbers the op makes real ones of, as every other reader of it does."""
    i = op.reads[0] if op.reads else -1
    if i not in graph.inputs or graph[i].is_float or i in graph.outputs:
        return None
    readers = [reader for reader in graph.ops if i in reader.reads]
    stored = [reader.kind.as_stored(graph[i].format) for reader in readers if reader.output not in kept]
    return stored[0][1] if len(stored) == len(readers) and stored[0] is not None and None not in stored else None


def kept_float(graph: Graph, request: Request) -> set[int]:
    """First outputs of the ops in float. ``keep_float`` holds op kinds, names of output tensors as they are or as messages
    show them, or patterns of these: of the user's model, else of ``graph``, which may spell its ops otherwise.
    """
    kept = set(request.float_ops)
    own, theirs = {op.output: graph.names(op) for op in graph.ops}, graph.formerly
    for pattern in request.keep_float:
        hits = _matching(pattern, theirs) & own.keys() or _matching(pattern, own)
        if not hits:
            names = {name for found in (theirs or own).values() for name in found if "'" not in name}
            near = sorted((name for name in names if pattern.lower() in name.lower()), key=lambda name: (len(name), name))[:3]
            near = near or get_close_matches(pattern.upper(), names, 3) or get_close_matches(pattern, names, 3, cutoff=0.4)
            some = ", ".join(map(repr, near or [short_name(graph[op.output].origin) for op in graph.ops[:3]]))
            raise OptionError(
                f"--keep-float {pattern!r} matches no op; names are op kinds or output tensors, as intact inspect shows them, "
                f"such as {some}"
            )
        kept |= hits
    return kept


def _matching(pattern: str, names: Mapping[int, tuple[str, ...]]) -> set[int]:
    """First outputs of the ops of which a name is ``pattern``, or fits it. Tables show the end of a long name behind …

    A converter's list of names is one name: patterns would find what was merely fused.
    """
    loose = pattern.replace("…", "*")
    return {
        i
        for i, some in names.items()
        if any(name == pattern or (";" not in name and fnmatchcase(name, loose)) for name in some)
    }

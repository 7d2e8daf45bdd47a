"""The networks between the widest and the narrowest weights: what each width costs, measured as far as time allows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from intact.planning.quantized import Quantized
from intact.planning.request import Request
from intact.remedies import apply
from intact.remedies.base import Context
from intact.remedies.equalize import Equalize
from intact.search.chain import Point, Price, chain
from intact.search.evaluator import Evaluator
from intact.search.prices import prices

#: The part of the time left that measuring noise may take.
_TO_MEASURE: Final = 0.2
#: The part within which it has to be done, for another network to be measured too.
_TO_COMPARE: Final = 0.1


def priced(network: Quantized, evaluator: Evaluator, context: Context, request: Request) -> tuple[Quantized, tuple[Point, ...]]:
    """The network whose weights get widths, and widths for all of them, the dearest first; none where there was no time.

    It is ``network``, equalized too where that leaves less noise.
    """
    began = time.monotonic()
    found = _table(network, evaluator, context, request)
    now, deadline = time.monotonic(), context.deadline
    slow = now - began > _TO_COMPARE * (deadline - began)
    if not found:
        return network, ()
    if {"equalize", "mixed", "round", "finetune"} & set(network.remedies) or slow:
        return network, chain(found)
    equalized = apply((Equalize(),), network, evaluator.learning, context)
    other = _table(equalized, evaluator, context, request) if equalized.rescaled is not None else {}
    middle = sum(end.bytes for end in (chain(found)[0], chain(found)[-1])) / 2
    if other.keys() == found.keys() and _noise_within(other, middle) < _noise_within(found, middle):
        return equalized, chain(other)
    return network, chain(found)


def _table(network: Quantized, evaluator: Evaluator, context: Context, request: Request) -> dict[int, tuple[Price, ...]]:
    now = time.monotonic()
    context = replace(context, deadline=now + _TO_MEASURE * (context.deadline - now))
    return prices(network, request, evaluator.learning, context, evaluator.tables)


def _noise_within(table: Mapping[int, Sequence[Price]], most: float) -> float:
    """The least noise of widths that take at most so many bytes; infinite where none do."""
    return min((point.noise for point in chain(table) if point.bytes <= most), default=float("inf"))

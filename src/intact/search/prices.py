"""What each width of each weight costs: bytes in the file, and noise at the network's output, as far as time allows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, final

from intact.data import Samples
from intact.formats.tflite.packing import BESIDE, pack
from intact.network.weighted import Weighted
from intact.numbers.affine import Affine, bits_of
from intact.planning.integer_graph import stored
from intact.planning.quantized import Quantized
from intact.planning.request import Request
from intact.planning.widths import INT8, TABLES, Width, choosable, entry_for, widths_of
from intact.remedies.base import Context
from intact.search.chain import Price
from intact.simulate.weight_noise import WeightNoise, squared_error

#: Samples that noise is measured on at most, and at least.
_SAMPLES: Final = 64
_FEWEST: Final = 8
#: The width that is measured first: those near it are told from it best, where there is no time for all.
_FIRST: Final = 4
#: The part of the time that looking for tables of numbers may take.
_TO_STORE: Final = 0.5
#: Evaluations that have to fit into the time for noise, for it to be measured on all samples.
_FITTING: Final = 100


@final
@dataclass
class _Row:
    """A weight at one width: how it is stored, what that takes, and what is known of its noise."""

    output: int
    one: Weighted
    width: Width
    fmt: Affine
    bytes: int
    error: float
    noise: float | None = None


def prices(
    network: Quantized, request: Request, samples: Samples, context: Context, tables: int = TABLES
) -> dict[int, tuple[Price, ...]]:
    """By first output, the widths that the target runs and that are smaller than int8, and int8.

    ``tables``: the most bits of an index into numbers.

    Every op is measured at one width, those with the largest weights first, then at the others. What there was no time for is
    told from the op's measured width by the squared errors of the weight; ops of which none was measured are left out, and so
    are the smallest where looking for tables takes too long.
    """
    began = time.monotonic()
    rows = list(_rows(network, request, tables, began + _TO_STORE * (context.deadline - began)))
    if not rows:
        return {}
    began = time.monotonic()
    noise = _prepared(network, samples, context, began)
    nearest = {
        output: min((r for r in rows if r.output == output and r.width != INT8), key=_from_first)
        for output in dict.fromkeys(row.output for row in rows)
    }
    order = sorted(nearest.values(), key=lambda row: -row.one.values.size)
    order += [row for row in rows if row.width != INT8 and row is not nearest[row.output]]
    for n, row in enumerate(order):
        if context.out_of_time():
            break
        context.progress("measure widths", n, len(order))
        row.noise = noise.of({row.one.weight.id: row.fmt})
    return _told(rows, nearest)


def _told(rows: list[_Row], nearest: dict[int, _Row]) -> dict[int, tuple[Price, ...]]:
    found = dict[int, list[Price]]()
    for row in rows:
        measured = nearest[row.output]
        if measured.noise is None:
            continue
        noise = measured.noise * row.error / max(measured.error, 1e-300) if row.noise is None else row.noise
        found.setdefault(row.output, []).append(Price(row.width, row.bytes, noise))
    return {output: tuple(each) for output, each in found.items()}


def _from_first(row: _Row) -> tuple[int, int]:
    return abs(row.width.bits - _FIRST), row.width.clusters


def _prepared(network: Quantized, samples: Samples, context: Context, began: float) -> WeightNoise:
    """On as many samples as leave time to measure each op."""
    few = WeightNoise(network.graph, samples, _FEWEST, context.device)
    took, left = time.monotonic() - began, context.deadline - time.monotonic()
    if left == float("inf"):
        fitting = _SAMPLES
    else:
        fitting = int(min(_SAMPLES, max(_FEWEST, _FEWEST * left / (_FITTING * max(took, 1e-3)))))
    return few if fitting == _FEWEST else WeightNoise(network.graph, samples, fitting, context.device)


def _rows(network: Quantized, request: Request, tables: int, deadline: float) -> Iterator[_Row]:
    ops = choosable(network.graph, network.plan)
    for output, one in sorted(ops.items(), key=lambda item: -item[1].values.size):
        if time.monotonic() >= deadline:
            break
        widths = (width for width in widths_of(request.target, one.op.kind.name) if width.clusters <= tables)
        made = [_row(output, one, width, network, request) for width in widths]
        narrower = [row for row in made if row is made[0] or row.bytes < made[0].bytes]
        if len(narrower) > 1:
            yield from narrower


def _row(output: int, one: Weighted, width: Width, network: Quantized, request: Request) -> _Row:
    plan = network.plan
    fmt = plan.own(one.weight.id) if width == INT8 else entry_for(one, plan, width, request).format
    if not isinstance(fmt, Affine):
        raise TypeError(f"{one.op.kind.name} has no integer weight")
    packs = fmt.dtype == "int8" and one.op.kind.name in request.target.decoded
    return _Row(output, one, width, fmt, _bytes(one, fmt, packs=packs), squared_error(one.weight, fmt))


def _bytes(one: Weighted, fmt: Affine, *, packs: bool) -> int:
    """Of the weight in the file: ``packs``, with its tables and what names them, where that is less."""
    plain = -(-one.values.size * bits_of(replace(fmt, codebook=None)) // 8)
    made = pack(stored(one.weight, fmt, frozenset({one.weight.id}))) if packs else None
    return plain if made is None else min(plain, made.bytes + BESIDE)

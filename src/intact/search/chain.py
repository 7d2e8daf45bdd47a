"""Widths for all weights of a network, from the dearest to the cheapest, each with the least noise for its bytes.

Worked: one weight of 100 bytes makes noise 1 at 8 bits, 3 at 50 bytes and 9 at 25; another of 40 bytes 0 and, at 20 bytes, 10.
Steps cost 2 / 50 = 0.04 and 6 / 25 = 0.24 a byte for the one and 10 / 20 = 0.5 for the other, so that the chain is 140 bytes
with noise 1, 90 with 3, 65 with 9 and 45 with 19.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

from intact.planning.widths import Width


@final
@dataclass(frozen=True)
class Price:
    """What storing one weight so takes, in bytes, and the noise that it makes at the network's output."""

    width: Width
    bytes: int
    noise: float


@final
@dataclass(frozen=True)
class Point:
    """A width for each op, by first output; bytes and noise of all of them together. Noises add up, roughly."""

    widths: Mapping[int, Width]
    bytes: int
    noise: float


def hull(prices: Iterable[Price]) -> tuple[Price, ...]:
    """From the dearest on, those that no mixture of two others beats: each step costs more noise a byte than the one before."""
    waiting = sorted(prices, key=lambda price: (-price.bytes, price.noise))
    kept = waiting[:1]
    while cheaper := [price for price in waiting if price.bytes < kept[-1].bytes]:
        last = kept[-1]
        kept.append(min(cheaper, key=lambda price: (_slope(last, price), price.bytes)))
    return tuple(kept)


def _slope(dear: Price, cheap: Price) -> float:
    return (cheap.noise - dear.noise) / (dear.bytes - cheap.bytes)


def chain(prices: Mapping[int, Sequence[Price]]) -> tuple[Point, ...]:
    """Points from the dearest widths of all weights to the cheapest, one weight narrower at each.

    Each is the best there is for its bytes: what a multiplier for bytes finds that is added to the noise (Everett 1963,
    Generalized Lagrange multiplier method, doi 10.1287/opre.11.3.399).
    """
    hulls = {output: hull(each) for output, each in prices.items()}
    steps = [
        (_slope(dear, cheap), output, n, dear, cheap)
        for output, kept in hulls.items()
        for n, (dear, cheap) in enumerate(pairwise(kept))
    ]
    now = {output: kept[0] for output, kept in hulls.items()}
    points = [_point(now)]
    for _, output, _, _, cheap in sorted(steps, key=lambda step: step[:3]):
        now[output] = cheap
        points.append(_point(now))
    return tuple(points)


def _point(now: Mapping[int, Price]) -> Point:
    widths = {output: price.width for output, price in sorted(now.items())}
    return Point(widths, sum(price.bytes for price in now.values()), sum(price.noise for price in now.values()))

"""Ops that only move numbers, in C: copies in loops, read off what the op does to positions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import prod
from typing import Final

import numpy as np
import torch

from intact.deploy.c.positions import LOOPS, Nest, runs
from intact.deploy.c.site import Site, marks
from intact.deploy.c.stripes import Reach
from intact.network.arena import itemsize
from intact.numbers.affine import Affine, Index
from intact.ops.base import OpKind
from intact.ops.call import as_tuple
from intact.ops.indexing import EmbeddingLookup, GatherNd
from intact.ops.shaping import Gather, Pad

#: Axes that a computed place has at most.
_DEPTH: Final = 4


def move(site: Site, kind: OpKind) -> None:
    """Any op that only moves what it reads, or puts zeros between."""
    firsts, given = _marked(site)
    site.require_alike(*firsts)
    for n, made in enumerate(as_tuple(kind.unfused()[0].compute(*given))):
        _made(site, n, made.reshape(-1).to(torch.int64).numpy(), firsts)


def pad(site: Site, kind: Pad) -> None:
    """PAD; of images row by row where the op runs so."""
    if site.rings is None:
        move(site, kind)
        return
    site.require_alike(0)
    (_, (top, _), (left, right), _) = _paddings(site)
    x = site.shape(0)
    pixel, zero = x[3] * itemsize(site.made().format.dtype), site.zero.tobytes()[0]  # of more bytes than one all are 0
    fields = {"in_h": x[1], "top": top, "before": left * pixel, "row": x[2] * pixel, "behind": right * pixel, "zero": zero}
    site.source.need("pad")
    address = site.source.struct("pad", fields, site.about)
    site.source.do(f"run_pad({address}, {site.rows(0)}, {site.x(0, 'uint8_t')}, {site.y(0, 'uint8_t')});")


def padded_rows(site: Site, kind: Pad) -> Reach | None:
    """That a row of the output is a row of the input, or padding: of images that get rows and columns alone.

    Padding of more than 8 bits is zeros, whose bytes are.
    """
    del kind
    if len(set(site.zero.tobytes())) > 1 or not site.tensor(1).is_constant:
        return None
    batch, (top, _), _, channels = _paddings(site)
    return Reach(1, 1, top) if batch == channels == (0, 0) else None


def _paddings(site: Site) -> list[tuple[int, int]]:
    """Numbers before and behind along every axis."""
    return [(int(before), int(behind)) for before, behind in np.asarray(site.data(1)).reshape(-1, 2)]


def gather(site: Site, kind: Gather) -> None:
    """GATHER; at places that are computed, row by row."""
    if site.tensor(1).is_constant:
        move(site, kind)
        return
    x = site.shape(0)
    axis = kind.axis % len(x)
    if kind.batch_dims:
        raise site.refused("its places differ from batch to batch")
    _rows(site, 0, 1, prod(x[:axis]), x[axis], prod(x[axis + 1 :]))


def embedding_lookup(site: Site, kind: EmbeddingLookup) -> None:
    """EMBEDDING_LOOKUP."""
    del kind
    table = site.shape(1)
    _rows(site, 1, 0, 1, table[0], prod(table[1:]))


def gather_nd(site: Site, kind: GatherNd) -> None:
    """GATHER_ND; at places that are computed, one by one."""
    if site.tensor(1).is_constant:
        move(site, kind)
        return
    x, index = site.shape(0), site.shape(1)
    site.require_alike(0)
    if index[-1] > _DEPTH:
        raise site.refused(f"its places have {index[-1]} axes")
    fields = {
        "count": prod(index[:-1]),
        "depth": index[-1],
        "bytes": prod(x[index[-1] :]) * itemsize(site.made().format.dtype),
        "size": "{" + ", ".join(str(n) for n in x[: index[-1]]) + "}",
    }
    site.call("gather_nd", fields, site.x(0, "uint8_t"), _index(site, 1))


def _rows(site: Site, x: int, index: int, outer: int, size: int, inner: int) -> None:  # noqa: PLR0913, PLR0917  # sizes
    """Input ``x`` [outer, size, inner] at the places in input ``index``."""
    site.require_alike(x)
    places = prod(site.shape(index))
    fields = {"outer": outer, "size": size, "count": places, "bytes": inner * itemsize(site.made().format.dtype)}
    site.call("gather", fields, site.x(x, "uint8_t"), _index(site, index))


def _index(site: Site, n: int) -> str:
    if site.tensor(n).format.dtype != "int32":
        raise site.refused(f"its places are {site.tensor(n).format.dtype}")
    return site.x(n)


def _marked(site: Site) -> tuple[dict[int, int], list[torch.Tensor | None]]:
    """Inputs with their positions for their numbers, which begin at the mark that is given by input; 0 is no position."""
    firsts, given, first = dict[int, int](), list[torch.Tensor | None](), 1
    for n, i in enumerate(site.op.inputs):
        t = None if i is None else site.graph[i]
        if t is None:
            given.append(None)
        elif t.is_float or isinstance(t.format, Affine) or t.data is None:
            if isinstance(t.format, Index):
                raise site.refused(f"{t.name!r} is {t.format.dtype}")
            firsts[n] = first
            given.append(marks(site.shape(n), first))
            first += prod(site.shape(n))
        else:
            given.append(torch.from_numpy(np.array(t.data)))
    return firsts, given


def _made(site: Site, n: int, source: np.ndarray, firsts: dict[int, int]) -> None:
    """Copy what output ``n`` is made of: its elements' marks are ``source``."""
    made = site.made(n)
    if (source == 0).any():
        site.source.need("fill")
        size, value = itemsize(made.format.dtype), site.source.array(np.frombuffer(site.zero.tobytes(), np.uint8), "padding")
        site.source.do(f"run_fill({value}, {size}, {len(source)}, {site.y(n, 'uint8_t')});")
    for k, first in firsts.items():
        places = np.flatnonzero((source >= first) & (source < first + prod(site.shape(k))))
        if len(places):
            _copy(site, n, k, places, source[places] - first)


def _copy(site: Site, n: int, k: int, to: np.ndarray, at: np.ndarray) -> None:
    """Output ``n``'s elements ``to`` are input ``k``'s ``at``."""
    size = itemsize(site.made(n).format.dtype)
    if site.is_same_place(k, n) and (to == at).all():
        return
    nest = Nest.of(np.stack([to, at]))
    x, y = site.x(k, "uint8_t"), site.y(n, "uint8_t")
    if nest is not None and len(nest.without_run()) <= LOOPS:
        site.source.need("copy")
        around = [(c, tuple(size * s for s in steps)) for c, steps in nest.without_run()]
        fields = {
            "loops": site.source.loops(around, site.about),
            "to": size * nest.start[0],
            "from": size * nest.start[1],
            "bytes": size * nest.run,
        }
        site.source.do(f"run_copy({site.source.struct('copy', fields, site.about)}, {x}, {y});")
        return
    for begin, end in _stretches(to):
        part = at[begin:end]
        run = runs(part)
        listed = site.source.array((part[::run] // run if _whole(part, run) else part).astype(np.int32), f"order {site.about}")
        run = run if _whole(part, run) else 1
        site.source.need("copy_listed")
        where = f"{y} + {size * int(to[begin])}" if to[begin] else y
        site.source.do(f"run_copy_listed({x}, {listed}, {len(part) // run}, {size * run}, {where});")


def _whole(at: np.ndarray, run: int) -> bool:
    """Whether every run begins at a whole multiple of its length."""
    return not (at[::run] % run).any()


def _stretches(to: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where the places that are written lie side by side."""
    breaks = [0, *(np.flatnonzero(np.diff(to) != 1) + 1).tolist(), len(to)]
    yield from pairwise(breaks)

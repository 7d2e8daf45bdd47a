"""Recurrent layers in C: every step of a sequence in one call, without room for what lies between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch

from intact.deploy.c.packing import interleaved
from intact.deploy.c.site import ARITHMETIC, Site
from intact.deploy.c.source import designated
from intact.deploy.c.wide import by_fours, initializer, of_15_bits, sigmoid_fields, summed
from intact.errors import UnsupportedError
from intact.numbers import fixed_point as fixed
from intact.numbers import interpolated
from intact.numbers.affine import Affine, Float, limits
from intact.ops.call import Call
from intact.ops.recurrent import CELL, HIDDEN, IntegerKernel, UnidirectionalSequenceLstm

#: Gates of a unit, which the kernels sum at once, each with a multiplier of its own.
_GATES: Final = 4
#: The outputs of a layer besides all hidden states: the last one, the last cell state and all of these.
_LAST, _CELL, _CELLS = 1, 2, 3
#: Outputs that need no place where nothing reads them.
SPARE: Final = (_LAST, _CELLS)


def lstm(site: Site, kind: UnidirectionalSequenceLstm) -> None:
    """UNIDIRECTIONAL_SEQUENCE_LSTM."""
    site.require("int8", "int16")
    x, (time, batch) = site.shape(0), (0, 1) if kind.time_major else (1, 0)
    if x[batch] != 1:
        raise site.refused(f"it computes {x[batch]} samples at once; export it with a batch of 1")
    given = tuple(site.given(n) for n in range(len(site.op.inputs)))
    if why := kind.why_not_integer([t is not None for t in given]):
        raise site.refused(f"it is {why}")
    formats = tuple(Float() if t is None else t.format for t in given)
    held = tuple(None if t is None or t.data is None else torch.from_numpy(np.array(t.data)) for t in given)
    outs = tuple(site.graph[i].format for i in site.op.outputs)
    try:
        kernel = IntegerKernel.of(Call(held, formats, outs, ARITHMETIC), kind.cell_clip)
    except UnsupportedError as error:
        raise site.refused(error.message) from error
    is_wide, name, ends = False, "lstm", _gates
    if kernel.hidden.dtype == "int16":
        is_wide, name, ends = True, "lstm_16", _wide_gates
    fields: dict[str, object] = {
        "of_x": ends(site, kernel.weights, kernel.biases, kernel.real_x, site.affine(0)),
        "of_h": ends(site, kernel.recurrent, (None,) * _GATES, kernel.real_h, kernel.hidden),
        "cell": designated(_cell(site, kernel)),
        "steps": x[time],
        "inputs": x[2],
        "units": kernel.units,
    }
    site.source.need(name)
    address = site.source.struct(name, fields if is_wide else fields | {"zero": kernel.hidden.zero_point[0]}, site.about)
    before = (site.x(n) if site.given(n) is not None else "0" for n in (HIDDEN, CELL))
    made = (site.y(n) if n == _CELL or site.is_wanted(n) else "0" for n in (_LAST, _CELL, _CELLS))
    site.source.do(f"run_{name}({', '.join((address, site.x(0), *before, site.y(), *made))});")


def _cell(site: Site, kernel: IntegerKernel) -> Mapping[str, object]:
    return {
        "gate": designated(sigmoid_fields(site, interpolated.GATE)),
        "cell": designated(sigmoid_fields(site, kernel.cell_argument)),
        **site.rescaled(np.asarray(kernel.entering), 1 << 30, "_new"),
        **site.rescaled(np.asarray(kernel.leaving), 1 << 30, "_given"),
        "clip": kernel.clip,
    }


def _gates(
    site: Site,
    weights: tuple[torch.Tensor, ...],
    biases: tuple[torch.Tensor | None, ...],
    reals: tuple[float, ...],
    read: Affine,
) -> str:
    """The initializer of what the four gates of all units make of 8-bit numbers stored as ``read``."""
    rows, bias = _by_unit(weights, biases)
    bias = bias - read.zero_point[0] * rows.sum(1)
    multiplier, shift = (v.numpy() for v in fixed.q31(np.asarray(reals)))
    span = limits("int8")[1] - limits("int8")[0]
    largest = np.abs(rows).sum(1) * span + np.abs(bias)
    if (np.ldexp(2.0 * largest, np.maximum(np.resize(shift, len(rows)), 0)) >= 2.0**31).any():
        raise site.refused("its sums of products may leave 32 bits")
    if (shift >= 0).any():
        site.source.at_least("INTACT_GROWS", 1)
    about = f"of {site.about}"
    laid = interleaved(rows.astype(np.int8), rows.shape[1])
    return designated(
        {
            "weight": site.source.array(laid, f"weights {about}"),
            "bias": site.source.array(bias.astype(np.int32), f"biases {about}"),
            "multiplier": site.source.array(multiplier.astype(np.int32), f"multipliers {about}"),
            "right": site.source.array((-1 - shift).astype(np.int8), f"shifts {about}"),
            "each": _GATES - 1,
        }
    )


def _wide_gates(
    site: Site,
    weights: tuple[torch.Tensor, ...],
    biases: tuple[torch.Tensor | None, ...],
    reals: tuple[float, ...],
    read: Affine,
) -> str:
    """The same of 16-bit numbers, whose zero point is 0."""
    del read
    rows, bias = _by_unit(weights, biases)
    if not summed(rows):
        raise site.refused("its sums of products may leave 32 bits")
    largest = (np.abs(rows).sum(1) << 15).astype(np.float64) + np.abs(bias)
    most = largest.reshape(-1, _GATES).max(0)
    scaled = of_15_bits(site, np.asarray(reals), most)
    laid = by_fours(rows.astype(np.int8), rows.shape[1])
    return initializer(site, laid, bias, scaled, most, each=_GATES - 1, ends=limits("int16"))


def _by_unit(weights: tuple[torch.Tensor, ...], biases: tuple[torch.Tensor | None, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Weights [units * gates, inputs] and biases, the gates of a unit beside each other: int64."""
    rows = torch.stack(weights, 1).flatten(0, 1).numpy()
    none = torch.zeros(len(weights[0]), dtype=torch.int64)
    return rows, torch.stack([none if b is None else b for b in biases], 1).flatten().numpy()

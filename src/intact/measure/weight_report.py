"""What storing weights in fewer bits does to the weights: their error in their own unit and in steps, and what they take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Final, final

import numpy as np

from intact.formats.tflite.packing import DECODED, pack
from intact.formats.tflite.values import encode
from intact.measure.measurement import Measurement
from intact.measure.size import weights
from intact.network.graph import Graph, Tensor
from intact.network.weighted import converted
from intact.numbers.affine import Affine, Float, Format, Index, bits_of, dequantize_array, steps
from intact.numbers.block_scales import BYTES
from intact.numbers.blocks import MULTIPLE_BITS
from intact.planning.plan import Plan, describe

_FLOAT_BYTES: Final = 4


@final
@dataclass(frozen=True, eq=False)
class WeightRow:
    """One weight: ``stored`` says how, ``signal`` and ``noise`` are sums of squares of float's numbers and of the errors.

    ``worst``: the largest error, in the weight's own unit; ``worst_steps``: in steps of the channel, or the block, where it
    is, None where there are no steps. ``file_bytes``: in the file that was measured, with the scales of blocks;
    ``packed_bytes``: where a runtime decodes tables, as it is otherwise; ``theory_bytes``: its bits, its tables, its blocks'
    scales or steps, and nothing between. ``in_blocks``: whether each block has a scale of its own.
    """

    op: str
    stored: str
    count: int
    signal: float
    noise: float
    worst: float
    worst_steps: float | None
    file_bytes: int
    packed_bytes: int
    theory_bytes: int
    in_blocks: bool = False

    @property
    def mse(self) -> float:
        return self.noise / max(self.count, 1)

    @property
    def sqnr(self) -> float:
        """dB; infinite where nothing is lost."""
        return _decibels(self.signal, self.noise)

    def to_json(self) -> dict[str, Any]:
        return {
            "op": self.op,
            "stored": self.stored,
            "count": self.count,
            "mse": self.mse,
            "sqnr": self.sqnr,
            "worst": self.worst,
            "worst_steps": self.worst_steps,
            "bytes": self.file_bytes,
            "bytes_packed": self.packed_bytes,
            "bytes_in_theory": self.theory_bytes,
            "ratio": _FLOAT_BYTES * self.count / max(self.file_bytes, 1),
            "ratio_packed": _FLOAT_BYTES * self.count / max(self.packed_bytes, 1),
        }


def weight_rows(exact: Graph, integer: Graph, plan: Plan) -> tuple[WeightRow, ...]:
    """Every weight that ``plan`` stores otherwise than float32, as ``integer`` has it beside the float network ``exact``.

    Tables that are looked up in, and what is multiplied or added besides biases, are weights too; single numbers are not.
    """
    return tuple(_rows(exact, integer, plan))


def _rows(exact: Graph, integer: Graph, plan: Plan) -> Iterator[WeightRow]:
    waiting, source = {t.id: t for t in weights(integer)}, converted(integer)
    for op in (op for op in integer.ops if not op.kind.converts):
        for i in op.reads:
            held, own = waiting.pop(source.get(i, i), None), exact.tensors.get(source.get(i, i))
            if held is None or held.data is None or own is None or own.data is None or held.data.shape != own.data.shape:
                continue
            fmt = plan.own(own.id) if held.format.dtype == "float16" else plan.at(own.id, op.output)
            if held.data.size > 1 and fmt != Float():
                yield _row(integer.label(op), own.data.astype(np.float64), held, fmt, decoded=op.kind.name in DECODED)


def _row(op: str, real: np.ndarray, held: Tensor, fmt: Format, *, decoded: bool) -> WeightRow:
    data = np.asarray(held.data)
    values = dequantize_array(data, held.format) if isinstance(held.format, Affine) else data
    error = np.abs(values.astype(np.float64) - real)
    at = np.unravel_index(int(error.argmax()), error.shape)
    step = None
    if isinstance(held.format, Affine):
        step = float(steps(held.format, data.shape)[at])
    packed, own = pack(held) if decoded else None, _block_scales(fmt)
    total = len(encode(held)) + own
    table = None if isinstance(fmt, Index) else fmt.codebook
    item = _FLOAT_BYTES if isinstance(fmt, Float) else 1
    tables = 0 if table is None else len(table.values) * len(table.values[0]) * item
    return WeightRow(
        op=op,
        stored=describe(fmt),
        count=data.size,
        signal=float(np.square(real).sum()),
        noise=float(np.square(error).sum()),
        worst=float(error[at]),
        worst_steps=None if step is None else float(error[at]) / step,
        file_bytes=total,
        packed_bytes=total if packed is None else min(packed.bytes, total),
        theory_bytes=-(-data.size * bits_of(fmt) // 8) + tables + own + _multiples(fmt),
        in_blocks=own > 0,
    )


def _block_scales(fmt: Format) -> int:
    """Bytes of the scales of blocks, in the file as in theory."""
    own = fmt.block_scales if isinstance(fmt, Affine) else None
    return 0 if own is None else BYTES * own.count


def _multiples(fmt: Format) -> int:
    """Bytes of the steps of blocks."""
    blocks = fmt.blocks if isinstance(fmt, Affine) else None
    return 0 if blocks is None else -(-MULTIPLE_BITS * sum(map(len, blocks.multiples)) // 8)


def over_all(rows: tuple[WeightRow, ...]) -> tuple[Measurement, ...]:
    """The same of all weights together; nothing where there are none."""
    if not rows:
        return ()
    count, n = sum(row.count for row in rows), len(rows)
    signal, noise = (sum(getattr(row, which) for row in rows) for which in ("signal", "noise"))
    worst = max(rows, key=lambda row: row.worst)
    where = "" if worst.worst_steps is None else f", {worst.worst_steps:.3g} steps of its channel"
    theory = sum(row.theory_bytes for row in rows)
    of = f"{count:,} weights beside float's, which remedies may have moved too"
    return (
        Measurement("weight SQNR", _decibels(signal, noise), "dB", None, None, f"power over that of errors of {of}", n),
        Measurement("weight MSE", noise / max(count, 1), "squared units of the weights", None, None, f"of {of}", n),
        Measurement("worst weight error", worst.worst, "units of the weight", None, None, f"in {worst.op}{where}", n),
        Measurement(
            "bytes of weights in theory",
            theory,
            "bytes",
            None,
            None,
            "their bits, tables and steps of blocks, and nothing between",
            n,
        ),
    )


def _decibels(signal: float, noise: float) -> float:
    return inf if noise == 0 else 10 * float(np.log10(max(signal, np.finfo(float).tiny) / noise))

"""A diagnosis as a table for people."""

from __future__ import annotations

from typing import Final

from rich.table import Table

from intact.diagnosis.diagnose import Diagnosis
from intact.diagnosis.trace import Fidelity

#: Ops shown of a network that is planned: those that make the most noise.
_SHOWN: Final = 10


def to_table(found: Diagnosis) -> Table:
    """The worst ops of a planned network, or every activation of a file in order; noise in dB, where more is better."""
    planned = ("of the noise", "without it") if found.ops else ()
    table = Table(box=None, pad_edge=False)
    for column in (*planned, "simulated", "runtime", "op alone"):
        table.add_column(column, no_wrap=True)
    table.add_column("op", no_wrap=True)
    rows = {row.output: row for row in found.activations}
    for op in found.ops[:_SHOWN]:
        spared = "" if op.spared is None else f"{-round(100 * op.spared):+d} %"
        table.add_row(f"{100 * op.share:.1f} %", spared, *_decibels(rows.get(op.output)), op.op)
    for row in () if found.ops else found.activations:
        table.add_row(*(("rescaled", "", "") if row.rescaled else _decibels(row)), row.op)
    return table


def _decibels(row: Fidelity | None) -> tuple[str, str, str]:
    values = () if row is None else (row.simulated, row.runtime, row.own)
    shown = tuple("" if value is None else f"{value:.1f} dB" for value in values)
    return (*shown, "", "", "")[:3]  # type: ignore[return-value]

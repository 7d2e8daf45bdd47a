"""Weights in fewer bits than a .tflite has types for: the packed file where a device decodes one, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from intact.data import Finding, Samples
from intact.formats.tflite.packing import BESIDE
from intact.measure.figures import Reading
from intact.measure.packed import packed_size, same_as_expanded, write_packed
from intact.measure.size import weights
from intact.measure.weight_report import WeightRow, over_all, weight_rows
from intact.network.graph import Graph
from intact.numbers.affine import Float, Index
from intact.planning.plan import Plan
from intact.planning.planner import WORTH_IT
from intact.planning.quantized import Quantized
from intact.planning.schemes import Scheme
from intact.planning.schemes import scheme as scheme_named
from intact.planning.targets import target as target_named
from intact.run.folder import RunFolder
from intact.run.settings import Settings
from intact.wording import counted

#: How the file is called that lies beside model.tflite.
FILE: Final = "packed.tflite"


@final
@dataclass(frozen=True, eq=False)
class Stored:
    """What storing the weights comes to: figures over all, findings, and what details.json holds of each weight."""

    readings: tuple[Reading, ...] = ()
    findings: tuple[Finding, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


def packed_file(integer: Graph, plan: Plan, settings: Settings, folder: RunFolder) -> Path | None:
    """The file for a device that decodes tables; None where the plan has none, the device does not, or nothing is smaller."""
    if not ((_packs(plan) or settings.minimize) and target_named(settings.target).micro):
        return None
    path = folder.file(FILE, lambda: write_packed(integer))
    return path if path.stat().st_size else None


def _packs(plan: Plan) -> bool:
    """Whether weights have fewer bits than a .tflite has types for."""
    tables = (entry.format for entry in plan.tensors.values() if not isinstance(entry.format, Index))
    return scheme_named(plan.scheme).packs or any(fmt.codebook is not None for fmt in tables)


def stored(  # noqa: PLR0913, PLR0917  # a run's own parts
    network: Quantized, integer: Graph, written: Path, packed: Path | None, report: Samples, settings: Settings
) -> Stored:
    """How far the weights are from float's, and what they take here and packed."""
    rows, scheme = weight_rows(network.exact, integer, network.plan), scheme_named(settings.scheme)
    details = {"weights": [row.to_json() for row in rows]} if rows else {}
    measured, findings = () if scheme.usual and not settings.minimize else over_all(rows), list[Finding]()
    if packed is not None:
        same, said = same_as_expanded(written, packed, integer, report)
        measured = (*measured, *packed_size(network.reference, written, packed, integer), *same)
        how = "model.tflite holds them expanded, for LiteRT, which ran it for the figures"
        findings = [Finding("packed", f"{FILE} is the file for the device: TensorFlow Lite Micro decodes its weights; {how}")]
        findings += [Finding("packed differs" if "otherwise" in said else "packed not run", said)] if said else []
    elif scheme.packs and (expanded := tuple(row for row in rows if row.file_bytes >= row.count)):
        said = _expanded(expanded, len(rows), here=target_named(settings.target).micro)
        findings = [Finding("stored expanded", said)]
    if scheme.packs and not scheme.is_integer and (small := _small(integer)):
        stay = "stays" if small == 1 else "stay"
        findings.append(Finding("small weights", f"{counted(small, 'weight')} of fewer than {WORTH_IT} numbers {stay} float32"))
    if packed is None and rows and scheme.study_only:
        findings.append(Finding("study only", _study_only(rows, scheme)))
    if packed is None and scheme.block and not scheme.is_integer:
        findings.append(Finding("weights in blocks", _in_blocks(rows, scheme)))
    return Stored(tuple(Reading("quantized", m) for m in measured), tuple(findings), details)


def _small(integer: Graph) -> int:
    """How many weights of more than one number are too small for a float scheme to store otherwise than float32."""
    return sum(t.format == Float() and t.data is not None and 1 < t.data.size < WORTH_IT for t in weights(integer))


def _study_only(rows: tuple[WeightRow, ...], scheme: Scheme) -> str:
    held, theory = (sum(getattr(row, which) for row in rows) for which in ("file_bytes", "theory_bytes"))
    how = "in float, with activations rounded to int8 between" if scheme.block == 0 else "as int8, in steps of their channel"
    return (
        f"{scheme.name} is study only: no runtime has kernels for such weights beside 8-bit activations; this file computes "
        f"the same {how}, and holds {held:,} bytes of weights that would be {theory:,}"
    )


def _in_blocks(rows: tuple[WeightRow, ...], scheme: Scheme) -> str:
    count, block = sum(row.in_blocks for row in rows), scheme.block
    takes = f"a dense layer of 4 outputs or more and a multiple of {block} inputs"
    if not count:
        return f"no weight has a scale for each {block} inputs, which {takes} can have; --scheme dynamic-w4 gives the same file"
    others = "" if count == len(rows) else f"; the others are not of {takes}"
    return f"{count} of {counted(len(rows), 'weight')} in fewer bits have a scale for each {block} inputs{others}"


def _expanded(rows: tuple[WeightRow, ...], count: int, *, here: bool) -> str:
    """What is said of ``rows``, which are so many of ``count`` and take a byte or more for each number.

    ``here``: whether the run is for the device that decodes, and nothing was worth packing.
    """
    held, packed = (sum(getattr(row, which) for row in rows) for which in ("file_bytes", "packed_bytes"))
    as_ = "float32" if any(row.worst_steps is None for row in rows) else "int8"
    which = "weights" if len(rows) == count else f"{len(rows)} of {count} weights"
    smaller = any(row.packed_bytes + BESIDE < row.file_bytes for row in rows)
    if here or not smaller:
        why = f"what names a packed weight takes about {BESIDE} bytes, more than packing saves of any"
        said = f"{which} are stored as {as_} in this file, {held:,} bytes, and would be {packed:,} bytes packed: {why}"
    else:
        said = (
            f"{which} are stored as {as_} in this file, {held:,} bytes, as LiteRT decodes no tables; {packed:,} bytes packed, "
            "as TensorFlow Lite Micro decodes them: type --target mcu"
        )
    return said if len(rows) == count else f"{said}; the others have four to a byte, as LiteRT has kernels for such"

"""What ``intact fit`` prints, made of its document alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from intact.wording import counted, shown

#: Characters of the bar of the op with most bytes.
_BAR: Final = 32
_FULL: Final = "█"
#: Characters of a tensor's name.
_NAME: Final = 48
#: Columns of what integers buy: what a core takes in integers and in float32.
_FIGURES: Final = ("code", "constants", "ram", "instructions")
_HEADS: Final = ("code", "constants", "RAM", "instructions")
_WIDTHS: Final = (10, 12, 12, 16)
#: Columns of the boards that end at the right: clock, RAM and flash.
_RIGHT: Final = frozenset({4, 5, 6})
#: Ops that are named, of those that take cycles.
_MOST: Final = 3
_NPU_COLUMNS: Final = (
    "--npu",
    "cycles",
    "NPU",
    "SRAM",
    "flash",
    "inferences/s",
    "bytes of SRAM",
    "of flash",
    "ops",
    "MACs",
    "system",
)


def lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Memory, the tensors at the peak, the timeline, the boards, advice for the one that was named, an Edge TPU, and NPUs."""
    yield from _memory(document)
    if document["float"] is not None:
        yield from _against_float(document["float"])
    yield from _peak(document)
    yield from _timeline(document)
    yield from _boards(document)
    yield from _advice(document)
    yield from _edge_tpu(document["edge_tpu"])
    yield from _npu(document)


def _memory(d: Mapping[str, Any]) -> Iterator[str]:
    ways, reserved = d["ways"], d["stack_reserved"]
    yield f"RAM: {d['activations']:,} bytes of activations at once" + (f", and {reserved:,} of stack" if ways else "")
    if (rows := ways.get("row by row")) is not None:
        chains = " and ".join(f"{c['first']} to {c['last']}" for c in rows["by_row"])
        yield f"row by row: {rows['arena']:,} bytes of activations at least, with {chains}"
    if scratch := max((way["scratch"] for way in ways.values()), default=0):
        yield f"besides {scratch:,} bytes of RAM, into which packed weights are unpacked, four channels at a time"
    for sentence in d["lacking"]:
        yield f"C lacks: {sentence}"
    for how, way in ways.items():
        code = "code not compiled here" if way["code"] is None else f"{way['code']:,} of code for {d['compiled_for']}"
        yield f"flash, {how}: {way['constants']:,} bytes of constants, {code}"
    yield f"{d['macs']:,} multiply-accumulates"
    if (ran := d["emulated"]) is not None:
        exact = "exact" if ran["exact"] else "NOT exact"
        yield (
            f"emulated {ran['core']}: one sample, {exact}; {ran['instructions']:,} instructions, "
            f"{ran['instructions_per_mac']:.2f} a multiply-accumulate; {ran['stack']:,} bytes of stack"
        )


def _against_float(d: Mapping[str, Any]) -> Iterator[str]:
    """What integers buy, as a table: a core's two rows, and how many times as much float32 takes."""
    yield ""
    yield "integers against the same network in float32: one sample on emulated cores"
    for sentence in d["lacking"]:
        yield f"  float C lacks: {sentence}"
    if d["cores"]:
        yield "  " + f"{'':<38}" + "".join(f"{head:>{w}}" for head, w in zip(_HEADS, _WIDTHS, strict=True))
    for row in d["cores"]:
        about = f"{row['core']}, {'computes floats' if row['has_floats'] else 'floats by library'}"
        for numbers in ("integer", "float"):
            cells = [_cell(row[numbers][key]) for key in _FIGURES]
            yield "  " + f"{about:<30}{numbers:<8}" + "".join(f"{cell:>{w}}" for cell, w in zip(cells, _WIDTHS, strict=True))
            about = ""
        cells = ["" if row["ratios"][key] is None else f"{row['ratios'][key]:.2f} x" for key in _FIGURES]
        yield "  " + f"{'':<30}{'':<8}" + "".join(f"{cell:>{w}}" for cell, w in zip(cells, _WIDTHS, strict=True))
        yield from (f"  {row['core']}, {n}: {row[n]['lacking']}" for n in ("integer", "float") if row[n]["lacking"])
        yield from (f"  {row['core']}, {n}: NOT right" for n in ("integer", "float") if row[n]["right"] is False)


def _cell(figure: int | None) -> str:
    return "-" if figure is None else f"{figure:,}"


def _peak(d: Mapping[str, Any]) -> Iterator[str]:
    peak = d["peak"]
    yield ""
    yield f"most exists during {peak['op']}: {peak['bytes']:,} bytes"
    for t in peak["tensors"]:
        made = t["origin"] if t["origin"] in {"input", "kept from call to call"} else f"made by {t['origin']}"
        yield f"  {t['bytes']:>12,}  {shown(t['name'], _NAME)}, {made}"


def _timeline(d: Mapping[str, Any]) -> Iterator[str]:
    peak = d["peak"]
    yield ""
    yield "bytes that exist during each op, all computed at once"
    for n, row in enumerate(d["timeline"]):
        bar = _FULL * -(-row["bytes"] * _BAR // max(peak["bytes"], 1))
        yield f"  {row['bytes']:>12,}  {bar:<{_BAR}}  {row['op']}" + ("  <- peak" if n == peak["at"] else "")


def _boards(d: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "boards, and whether they hold it" + ("" if d["compiled_for"] or not d["ways"] else " (its code not counted)")
    rows = [
        (b["board"], b["name"], b["chip"], b["core"], f"{b['mhz']} MHz", f"{b['ram']:,}", f"{b['flash']:,}", b["said"])
        for b in d["boards"]
    ]
    rows.insert(0, ("--board", "", "chip", "core", "clock", "RAM", "flash", ""))
    yield from _table(rows, _RIGHT)


def _table(rows: Sequence[Sequence[str]], right: Collection[int]) -> Iterator[str]:
    """Rows of cells, in columns that are as wide as they must be; those in ``right`` end at the right."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = [f"{row[n]:>{w}}" if n in right else f"{row[n]:<{w}}" for n, w in enumerate(widths)]
        yield ("  " + "  ".join(cells)).rstrip()


def _advice(d: Mapping[str, Any]) -> Iterator[str]:
    """What makes a named board too small, and what would fit."""
    named = next((b for b in d["boards"] if b["board"] == d["board"]), None)
    if named is None:
        return
    yield ""
    yield f"{named['name']}: {named['said']}"
    if named["fits"] == "row by row":
        yield f"  type intact deploy with --board {named['board']}, which runs row by row what must"
    if named["missing"]["ram"]:
        first = d["peak"]["tensors"][0]
        most = f"the most of it {shown(first['name'], _NAME)} of {first['bytes']:,} bytes"
        by_rows = "row by row" in d["ways"]
        least = "the row by row figure is the least that was found" if by_rows else "running its ops row by row saves nothing"
        yield f"  RAM: {d['peak']['op']} makes the peak, {most}; {least}"
        yield "  a smaller input takes less, and a network with fewer channels where it is largest"
    if named["missing"]["flash"]:
        if (largest := d["largest_constant"]) is not None:
            yield f"  flash: the largest constant is of {largest['op']}, {largest['bytes']:,} bytes"
        yield "  fewer bits take less: intact quantize --scheme w4a8 or clusters4, and --minimize size"
    others = [b["board"] for b in d["boards"] if b["fits"] in {"at once", "row by row"}]
    if named["fits"] == "no":
        yield f"  boards that hold it: {', '.join(others)}" if others else "  none of the boards above holds it"


def _edge_tpu(d: Mapping[str, Any]) -> Iterator[str]:
    count = len(d["runs"]) + len(d["cpu"])
    yield ""
    yield f"Edge TPU, by its documentation, nothing measured: {len(d['runs'])} of {counted(count, 'op')} would run there"
    for fallback in d["cpu"]:
        yield f"  on the CPU: {fallback['op']}: {fallback['why']}"
    for kind, limit in d["limits"].items():
        yield f"  {kind}: {limit} (not checked here)"


def _npu(document: Mapping[str, Any]) -> Iterator[str]:
    """A row for each NPU, what was assumed around it, and what stays on the CPU: once, where several say the same."""
    d = document["npu"]
    if d is None:
        return
    yield ""
    yield f"Ethos-U, {d['source']}: memory mode {d['memory_mode']}, one sample"
    made = [e for e in d["estimates"] if e["failed"] is None]
    if made:
        yield from _table([_NPU_COLUMNS, *(_npu_row(e, d["ops"], document["macs"]) for e in made)], range(1, 9))
        yield "  NPU, SRAM, flash: the cycles that computing, and access to each, take by themselves; they overlap"
        if any(e["cpu"] for e in made):
            yield "  the time of what stays on the CPU is in none of them"
    for e in d["estimates"]:
        if e["failed"] is not None:
            yield f"  {e['npu']}: no estimate: {e['failed']}"
        elif e["by_op"]:
            most = sorted(e["by_op"].items(), key=lambda pair: -pair[1])[:_MOST]
            yield f"  most cycles of {e['npu']}: {', '.join(f'{cycles:,} {op}' for op, cycles in most)}"
    said = dict[tuple[str, str], list[str]]()
    for e in made:
        for fallback in e["cpu"]:
            said.setdefault((fallback["op"], fallback["why"]), []).append(e["npu"])
    for (op, why), npus in said.items():
        beside = "" if len(npus) == len(made) else f" beside {', '.join(npus)}"
        yield f"  on the CPU{beside}: {op}: {why}"


def _npu_row(e: Mapping[str, Any], ops: int, macs: int) -> tuple[str, ...]:
    flash = [e[kind]["on_chip_flash"] + e[kind]["off_chip_flash"] for kind in ("cycles", "used")]
    cycles = f"{e['cycles']['total']:,}", f"{e['cycles']['npu']:,}", f"{e['cycles']['sram']:,}", f"{flash[0]:,}"
    rate = e["inferences_per_second"]
    there = f"{e['ops']} of {ops}", f"{100 * e['macs'] / macs:.4g} %" if macs else "-"
    speed = f"{rate:,.0f} at {e['clock'] / 1e6:g} MHz" if rate is not None else "-"
    return (e["npu"], *cycles, speed, f"{e['used']['sram']:,}", f"{flash[1]:,}", *there, e["system"])

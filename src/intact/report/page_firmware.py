"""What a page shows of a network as firmware: memory, flash, the tensors at the peak, boards, and what else was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from intact.report.page_run import percent, short, width
from intact.wording import counted

#: What a limit is judged by, in words.
_PROJECTS: Final = {"c": "C", "tflm": "TensorFlow Lite Micro"}


def page(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the page of ``intact fit`` shows."""
    title = f"{document['model']['name']} as firmware"
    return {"title": title, "sentence": _sentence(document), "document": document, "firmware": view(document)}


def _sentence(document: Mapping[str, Any]) -> str:
    """What one wants to know first."""
    named = next((b for b in document["boards"] if b["board"] == document["board"]), None)
    if named is not None:
        return f"{named['name']}: {named['said']}."
    if not document["ways"]:
        return "There is no C of it, so that nobody can say which boards hold it."
    holding = sum(b["said"].startswith("fits") for b in document["boards"])
    least = f"it takes {document['least_ram']:,} bytes of RAM at least"
    return f"{holding} of {counted(len(document['boards']), 'board')} hold it; {least}."


def view(held: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What the template shows of a document of ``intact fit``, or of the part of it that a run keeps; None for None."""
    if held is None:
        return None
    peak = held["peak"]
    return {
        "limits": held.get("limits"),
        "project": _PROJECTS.get(held.get("runtime") or "c", ""),
        "activations": held["activations"],
        "stack": held["stack_reserved"],
        "ways": [_way(how, way, held["stack_reserved"]) for how, way in held["ways"].items()],
        "core": held["compiled_for"],
        "lacking": held["lacking"],
        "macs": held["macs"],
        "peak": peak,
        "tensors": [{**t, "share": percent(t["bytes"] / max(peak["bytes"], 1))} for t in peak["tensors"]],
        "timeline": [
            {**row, "width": width(row["bytes"] / max(peak["bytes"], 1)), "is_peak": n == peak["at"]}
            for n, row in enumerate(held["timeline"])
        ],
        "boards": held["boards"],
        "board": held.get("board"),
        "emulated": held.get("emulated"),
        "float": _float(held.get("float")),
        "npu": held.get("npu"),
        "edge_tpu": held.get("edge_tpu"),
    }


def chart(held: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What its chart draws."""
    if held is None:
        return None
    ram = (held.get("limits") or {}).get("ram")
    limit = None if ram is None else max(ram - held["stack_reserved"], 0)
    return {"ops": short(held["timeline"]), "peak": held["peak"]["bytes"], "limit": limit}


def _way(how: str, way: Mapping[str, Any], stack: int) -> dict[str, Any]:
    chains = [f"{chain['first']} to {chain['last']}" for chain in way["by_row"]]
    flash = None if way["code"] is None else way["constants"] + way["code"]
    return {"how": how, **way, "ram": way["arena"] + way["scratch"] + stack, "flash": flash, "chains": chains}


def _float(compared: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The rows of the table of integers beside float32: a core and a kind of numbers each."""
    if compared is None:
        return None
    rows: list[Mapping[str, Any]] = []
    for core in compared["cores"]:
        about = f"{core['core']}, {'floats in hardware' if core['has_floats'] else 'floats in software'}"
        rows += [{"core": about, "numbers": kind, **core[kind], "ratios": None} for kind in ("integer", "float")]
        rows[-1] = {**rows[-1], "ratios": core["ratios"]}
    return {"rows": rows, "lacking": compared["lacking"], "why": _why(rows)}


def _why(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{row['core']}, {row['numbers']}: {row['lacking']}" for row in rows if row["lacking"]]

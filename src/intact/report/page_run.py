"""What the page of a run shows, section by section: rows of texts for its tables, numbers for its charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any, Final

from intact.report import advice, figures, page_acceptance
from intact.report.numbers import interval, number
from intact.wording import quantity

#: Characters of histograms in the page's data: it stays below 2 MB.
_ROOM: Final = 450_000
#: Characters of a tensor's name that can still be read.
_READABLE: Final = 80
#: Classes of which every pair is drawn; of more, the pairs that are confused most.
_DRAWN: Final = 30
_PAIRS: Final = 10
#: What each key of an op is called, and its unit.
OP_FIGURES: Final = (
    ("noise_share", "share of the noise", "%"),
    ("sqnr_runtime", "SQNR in the runtime", "dB"),
    ("sqnr_simulated", "SQNR in the simulator", "dB"),
    ("sqnr_own", "SQNR of the op alone", "dB"),
    ("macs", "multiply-accumulates", ""),
    ("parameters", "parameters", ""),
    ("weight_bits", "bits of a weight", ""),
    ("ms", "time alone", "ms"),
    ("live_bytes", "alive meanwhile", "bytes"),
)


def view(document: Mapping[str, Any], details: Mapping[str, Any] | None, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the template shows."""
    held = details or {}
    names = called(held)
    return {
        "title": f"{document['source']['name']} as {document['settings']['scheme']} for {document['settings']['target']}",
        "sentence": figures.sentence(document),
        "acceptance": page_acceptance.view(document, files),
        "five": figures.five(document),
        "criteria": figures.criteria(document),
        "worst": [
            {"op": op["op"], "share": percent(op["noise_share"]), "width": width(op["noise_share"])}
            for op in advice.worst(details)
        ],
        "example": advice.example(document)[0],
        "next": advice.next_steps(document, details),
        "candidates": [_candidate(c, document) for c in document["candidates"]],
        "steps": document["steps"],
        "ops": [op_row(op, held["ops"]) for op in held.get("ops", ())],
        "op_figures": OP_FIGURES,
        "tensors": [tensor_row(t, names) for t in held.get("tensors", ())],
        "long_names": any(names[t["id"]] != t["name"] for t in held.get("tensors", ())),
        "classes": class_rows(held.get("classes")),
        "pairs": pairs(held.get("classes")),
        "confusion": held.get("classes") if _is_small(held.get("classes")) else None,
        "changed": held.get("changed"),
        "names": _class_names(document, held),
        "sizes": _sizes(held.get("sizes"), document),
        "blocks": _blocks(held.get("latency")),
        "path": advice.path(document),
        "measurements": [_measurement(m) for m in document["measurements"]],
        "has_details": details is not None,
        "document": document,
        "memory": _memory(held, names),
        "machine": document.get("machine"),
    }


def charts(document: Mapping[str, Any], details: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the scripts draw; numbers with four digits, as a chart shows no more."""
    held = details or {}
    return {
        "candidates": [_point(c, document) for c in document["candidates"]],
        "ops": [{key: short(op.get(key)) for key in ("op", *(name for name, *_ in OP_FIGURES))} for op in held.get("ops", ())],
        "op_figures": OP_FIGURES,
        "tensors": list(_histograms(held)),
        "classes": held.get("classes") if _is_small(held.get("classes")) else None,
        "class_rows": class_rows(held.get("classes")),
        "sizes": _sizes(held.get("sizes"), document),
        "memory": _memory(held, called(held)),
        "latency": short(held.get("latency")),
    }


def called(details: Mapping[str, Any]) -> dict[Any, str]:
    """What each tensor is called, by its id: its name, or the op that it belongs to where the name is beyond reading."""
    tensors = details.get("tensors", ())
    return {t["id"]: t["op"] if len(t["name"]) > _READABLE and t["op"] else t["name"] for t in tensors}


def _memory(details: Mapping[str, Any], names: Mapping[Any, str]) -> dict[str, Any] | None:
    memory = details.get("memory")
    if memory is None:
        return None
    buffers = [{**buffer, "name": names.get(buffer.get("tensor"), buffer["name"])} for buffer in memory["buffers"]]
    return {**memory, "buffers": buffers}


def _blocks(latency: Mapping[str, Any] | None) -> list[tuple[Any, ...]]:
    """Milliseconds of float and integer, block by block."""
    return list(zip_longest(*((latency or {}).get(side) or () for side in ("float", "quantized"))))


def short(value: Any) -> Any:
    """``0.123456 -> 0.1235``, inside lists and mappings too; what is no finite number (``"inf"``) stays as it is."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return {name: short(each) for name, each in value.items()}
    return [short(each) for each in value] if isinstance(value, (list, tuple)) else value


def percent(share: Any) -> str:
    """``0.1234 -> "12.3 %"``; empty for what is none."""
    return f"{100 * float(share):.1f} %" if share is not None else ""


def width(share: Any) -> str:
    """Of a bar, in per cent of its place."""
    return f"{min(max(100 * float(share), 0.0), 100.0):.1f}" if isinstance(share, (int, float)) else "0"


def cell(value: Any, unit: str = "") -> dict[str, Any]:
    """A number as a table has it: what is seen, and what it is sorted by. Nothing for None."""
    if value is None:
        return {"text": "", "value": ""}
    text = percent(value) if unit == "%" else number(value)
    return {"text": text, "value": f"{float(value):.6g}".replace("inf", "Infinity")}


def op_row(op: Mapping[str, Any], ops: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One op of the table; ``bar``: its noise against the worst one's."""
    most = max((each["noise_share"] for each in ops if isinstance(each["noise_share"], (int, float))), default=0) or 1
    share = op["noise_share"] if isinstance(op["noise_share"], (int, float)) else 0
    return {
        "op": op["op"],
        "shape": " \u00d7 ".join(map(str, op["shape"])),
        "bar": width(share / most),
        "cells": [cell(op.get(key), unit) for key, _, unit in OP_FIGURES],
    }


def tensor_row(tensor: Mapping[str, Any], names: Mapping[Any, str]) -> dict[str, Any]:
    """One tensor of the table of ranges."""
    scale = [float(step) for step in tensor["scale"]]  # what is infinite is a string in JSON
    levels = "" if not scale else number(scale[0]) if len(scale) == 1 else f"{number(min(scale))} to {number(max(scale))}"
    return {
        "name": names[tensor["id"]],
        "role": tensor["role"],
        "dtype": tensor["dtype"],
        "step": {"text": levels, "value": max(scale) if scale else ""},
        "float": interval(tensor["low"], tensor["high"]),
        "grid": interval(tensor["grid_low"], tensor["grid_high"]),
        "clipped": {"text": _share(tensor["clipped"]), "value": "" if tensor["clipped"] is None else tensor["clipped"]},
    }


def _share(share: Any) -> str:
    """``0.0004 -> "0.04 %"``, ``0 -> "0"``."""
    return "" if share is None else "0" if not share else f"{number(100 * float(share))} %"


def _histograms(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tensors with a histogram, those of the worst ops first, as many as there is room for, then in their own order."""
    names = called(details)
    noise = {op["op"]: op["noise_share"] or 0 for op in details.get("ops", ()) if not isinstance(op["noise_share"], str)}
    tensors = [(n, t) for n, t in enumerate(details.get("tensors", ())) if t["histogram"]]
    taken, room = [], _ROOM
    for n, tensor in sorted(tensors, key=lambda pair: -noise.get(pair[1]["op"], 0)):
        h = tensor["histogram"]
        room -= sum(len(str(count)) + 1 for side in ("float", "integer") for count in h[side]) + 300
        if room < 0:
            break
        about = {"name": names[tensor["id"]], **{key: tensor[key] for key in ("role", "op", "dtype", "axis")}}
        ends = {key: short(tensor[key]) for key in ("low", "high", "grid_low", "grid_high", "clipped")}
        step = short(max(tensor["scale"], key=float)) if tensor["scale"] else None
        taken.append((n, {**about, **ends, "step": step, "histogram": {**h, "low": short(h["low"]), "high": short(h["high"])}}))
    return [row for _, row in sorted(taken, key=lambda pair: pair[0])]


def class_rows(classes: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Accuracy by class, what lost most first."""
    if classes is None:
        return []
    rows = [
        {"name": name, "n": n, "float": 100 * a / n, "integer": 100 * b / n, "change": 100 * (b - a) / n}
        for name, n, a, b in zip(classes["names"], classes["n"], classes["float"], classes["quantized"], strict=True)
        if n
    ]
    return sorted(rows, key=lambda row: row["change"])


def _is_small(classes: Mapping[str, Any] | None) -> bool:
    return classes is not None and len(classes["names"]) <= _DRAWN


def pairs(classes: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What is taken for what more often than in float, most first."""
    if classes is None:
        return []
    names, exact, made = classes["names"], classes["confusion_float"], classes["confusion_quantized"]
    found = [
        {"true": names[i], "said": names[j], "float": exact[i][j], "integer": made[i][j]}
        for i in range(len(names))
        for j in range(len(names))
        if i != j and made[i][j] > exact[i][j]
    ]
    return sorted(found, key=lambda pair: pair["float"] - pair["integer"])[:_PAIRS]


def _class_names(document: Mapping[str, Any], details: Mapping[str, Any]) -> list[str]:
    classes = details.get("classes")
    return list(classes["names"] if classes else document["samples"].get("classes") or ())


def _sizes(sizes: Mapping[str, Any] | None, document: Mapping[str, Any]) -> list[dict[str, Any]]:
    total = document["model"]["bytes"] or 1
    return [{"part": part, "bytes": n, "share": percent(n / total)} for part, n in (sizes or {}).items()]


def _candidate(candidate: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    loss = candidate["loss"]
    return {
        "name": candidate["name"],
        "taken": candidate["name"] == document["taken"],
        "front": candidate["name"] in document["front"],
        "why": candidate["why"],
        "steps": candidate["steps"],
        "loss": {"text": figures.value_of({"of": "difference", **loss}), "value": loss["value"]},
        "interval": figures.interval_of({"of": "difference", **loss}),
        "bytes": {"text": quantity(candidate["bytes"], "bytes"), "value": candidate["bytes"]},
        "ms": {"text": quantity(float(candidate["latency_ms"]), "ms"), "value": candidate["latency_ms"]},
        "seconds": {"text": number(candidate["seconds"]), "value": candidate["seconds"]},
    }


def _point(candidate: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    loss = candidate["loss"]
    return {
        "name": candidate["name"],
        "taken": candidate["name"] == document["taken"],
        "front": candidate["name"] in document["front"],
        **{key: loss[key] for key in ("value", "low", "high", "unit")},
        "figure": loss["name"],
        "bytes": candidate["bytes"],
        "ms": candidate["latency_ms"],
    }


def _measurement(m: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: m[key] for key in ("of", "name", "unit", "how", "n")},
        "value": {"text": f"{number(m['value'])} {m['unit']}".strip(), "value": m["value"]},
        "interval": interval(m["low"], m["high"]),
    }

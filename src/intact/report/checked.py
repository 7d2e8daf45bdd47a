"""Documents that anyone may have written, held to the shape that reports read: what is missing or of another kind is named."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeAlias

from intact.errors import OptionError

#: What a document must look like: a kind by its word, a list of one shape, or a mapping. In a mapping a name that ends in "?"
#: may be absent or null, and is null once parsed; "*" stands for whatever else is there.
Shape: TypeAlias = "str | list[Shape] | dict[str, Shape]"

_INFINITE: Final = frozenset({"inf", "-inf", "nan"})


def _is_finite(x: object) -> bool:
    """Whether ``x`` is a number that float64 holds: JSON may say 1e999, or write out 400 digits."""
    if isinstance(x, int) and not isinstance(x, bool):
        return abs(x) < 1 << 1023
    return isinstance(x, float) and math.isfinite(x)


_KINDS: Final[Mapping[str, Any]] = {
    "text": lambda x: isinstance(x, str),
    "number": lambda x: x in _INFINITE if isinstance(x, str) else _is_finite(x),
    "count": lambda x: isinstance(x, int) and not isinstance(x, bool) and 0 <= x < 1 << 53,
    "anything": lambda _: True,
}  # fmt: skip

_INTERVAL: Final[dict[str, Shape]] = {"value": "number", "unit": "text", "low?": "number", "high?": "number", "how": "text"}
_MEASUREMENT: Final[dict[str, Shape]] = {**_INTERVAL, "name": "text", "n": "count"}
_CRITERION: Final[dict[str, Shape]] = {
    "criterion": "text", "figure": "text", "of": "text", "comparison": "text", "limit": "number", "unit": "text",
    "status": "text", "value?": "number", "low?": "number", "high?": "number", "needs_about_n?": "count", "why": "text",
}  # fmt: skip
_SAMPLES: Final[dict[str, Shape]] = {"n": "count", "fingerprint": "text"}
_MACHINE: Final[dict[str, Shape]] = {
    "cpu": "text", "cores": "anything", "flags": ["text"], "governor?": "text", "system": "text", "versions": {"*": "anything"},
    "runtimes": {"*": "anything"}, "missing": {"*": "text"},
    "place?": "text", "notes?": ["text"], "state?": {"*": "anything"}, "state_after?": {"*": "anything"},
    "samples_on?": {"*": "anything"},
}  # fmt: skip
RESULT: Final[Shape] = {
    "schema": "text",
    "settings": {"scheme": "text", "target": "text", "*": "anything"},
    "source": {"name": "text", "sha256": "text", "float_tflite_sha256": "text"},
    "model": {"sha256": "text", "bytes": "count"},
    "samples": {"calibration": _SAMPLES, "report": _SAMPLES, "classes?": ["text"]},
    "versions": {"*": "anything"},
    "tasks": {"*": {"kind": "text", "why": "text"}},
    "measurements": [{"of": "text", **_MEASUREMENT}],
    "verdict?": {"status": "text", "limit": "number", "needs_about_n?": "count", "loss?": _MEASUREMENT},
    "candidates": [
        {"name": "text", "why": "text", "steps": ["text"], "loss": _MEASUREMENT, "expected?": "number",
         "divergence?": "number", "score": "number", "bytes": "count", "latency_ms": "number", "seconds": "number"}
    ],
    "taken?": "text",
    "steps": ["text"],
    "front": ["text"],
    "findings": [{"kind": "text", "message": "text"}],
    "criteria?": [_CRITERION],
    "acceptance?": {"status": "text", "why": "text", "limitations": ["text"],
                    "alternatives": [{"what": "text", "would cost": "text"}],
                    "deliverables": [{"file": "text", "sha256": "text", "bytes": "count"}]},
    "machine?": _MACHINE,
}  # fmt: skip
_TENSOR: Final[dict[str, Shape]] = {"name": "text", "bytes": "count", "origin": "text"}
_FIRMWARE: Final[dict[str, Shape]] = {
    "runtime?": "text", "limits?": {"ram?": "count", "flash?": "count"}, "macs": "count", "lacking": ["text"],
    "activations": "count", "stack_reserved": "count", "least_ram?": "count", "compiled_for?": "text",
    "ways": {"*": {"arena": "count", "scratch": "count", "constants": "count", "code?": "count",
                   "by_row": [{"first": "text", "last": "text"}]}},
    "timeline": [{"op": "text", "bytes": "count"}],
    "peak": {"op": "text", "at": "count", "bytes": "count", "tensors": [_TENSOR]},
    "boards": [{"board": "text", "name": "text", "chip": "text", "core": "text", "mhz": "count", "ram": "count",
                "flash": "count", "said": "text"}],
}  # fmt: skip
DETAILS: Final[Shape] = {
    "schema": "text",
    "ops": [
        {"op": "text", "kind": "text", "output?": "count", "reads?": ["number"], "shape": ["count"], "macs": "number",
         "parameters": "number", "bytes": "number", "weight_bits?": "count", "noise_share?": "number", "spared?": "number",
         "sqnr_simulated?": "number", "sqnr_runtime?": "number", "sqnr_own?": "number", "ms?": "number", "live_bytes": "count"}
    ],
    "tensors": [
        {"id": "count", "name": "text", "role": "text", "op": "text", "dtype": "text", "shape": ["count"],
         "scale": ["number"], "axis?": "count", "low?": "number", "high?": "number", "grid_low?": "number",
         "grid_high?": "number", "clipped?": "number",
         "histogram?": {"low": "number", "high": "number", "float": ["count"], "integer": ["count"]}}
    ],
    "memory?": {"peak": "count", "buffers": [{"name": "text", "tensor?": "count", "bytes": "count", "first": "count",
                                                "last": "count"}]},
    "latency?": {"float?": ["number"], "quantized?": ["number"]},
    "classes?": {"output": "text", "names": ["text"], "n": ["count"], "float": ["count"], "quantized": ["count"],
                 "confusion_float": [["count"]], "confusion_quantized": [["count"]]},
    "changed?": {"n": "count", "of": "count", "shown": [
        {"sample": "text", "label?": "count", "float": "count", "quantized": "count", "float_score?": "number",
         "quantized_score?": "number", "thumbnail?": "text"}]},
    "sizes?": {"*": "count"},
    "firmware?": _FIRMWARE,
}  # fmt: skip
_FIGURE: Final[dict[str, Shape]] = {**_INTERVAL, "mean?": "number", "std?": "number", "n": "count"}
_DECISION: Final[dict[str, Shape]] = {"taken?": "text", "why": "text", "others": [{"name": "text", "why": "text"}]}
STUDY: Final[Shape] = {
    "schema": "text",
    "models": ["text"],
    "accept?": ["text"],
    "machine": _MACHINE,
    "cells": [{"name": "text", "status": "text"}],
    "rows": [
        {"name": "text", "model": "text", "scheme": "text", "target": "text", "runtime?": "text", "device?": "text",
         "files?": ["text"], "status": "text", "why?": "text",
         "weights?": "text", "remedies?": "text", "calibration_samples?": "count",
         "figures": {"*": _FIGURE}, "criteria": [_CRITERION], "findings?": [{"kind": "text", "message": "text"}]}
    ],
    "front": ["text"],
    "decision": {**_DECISION, "targets?": {"*": _DECISION}},
    "references": [{"source": "text", "method": "text", "data_set?": "text", "drop?": "number", "size?": "number",
                    "note?": "text"}],
}  # fmt: skip


#: What a machine says of itself, and what the file that was carried to it measured there.
MEASURED: Final[Shape] = {
    "schema": "text", "id": "text", "study": {"*": "anything"}, "answers": [{"*": "anything"}],
    "machine": {"versions": {"*": "anything"}, "state": {"*": "anything"}, "cpuinfo": "text", "board": "text",
                "processor": "text", "node": "text", "cores": "count", "system": "text", "python": "text", "*": "anything"},
    "after": {"*": "anything"}, "calls": [{"cell": "text", "title": "text"}],
}  # fmt: skip
#: What is timed of a run besides.
TIMES: Final[Shape] = [{"of": "text", **_MEASUREMENT}]


def parsed(data: bytes, schema: str, shape: Shape) -> dict[str, Any]:
    """The document in the bytes of a JSON file whose ``schema`` begins so (``"intact-result/1"``), as ``shape`` says.

    Raises OptionError where it is no JSON, another's, of another version, or not of that shape; whoever calls says which file.
    """
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise OptionError(
            f"is no JSON that Intact wrote ({error}); type intact quantize --overwrite to make it again"
        ) from error
    said = document.get("schema") if isinstance(document, dict) else None
    family, _, version = schema.partition("/")
    if not isinstance(said, str) or said.partition("/")[0] != family:
        raise OptionError(f'is not what Intact writes (its "schema" is no {family}); give the folder of a run or a study')
    if said != schema:
        newer = said.partition("/")[2].isdecimal() and int(said.partition("/")[2]) > int(version)
        what = "pip install --upgrade intact reads it" if newer else "make the run again with intact quantize --overwrite"
        raise OptionError(f"is of schema {said}, and this version of Intact reads {schema}; {what}")
    try:
        _check(document, shape, "")
        _check_lengths(document)
    except RecursionError as error:
        raise OptionError("is nested too deep to be what Intact wrote; make the run again") from error
    return dict(document)


def holds(value: object, shape: Shape) -> bool:
    """Whether what was read from JSON is of that shape."""
    try:
        _check(value, shape, "it")
    except OptionError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _check(value: Any, shape: Shape, where: str) -> None:
    if isinstance(shape, str):
        if not _KINDS[shape](value):
            _fail(where, value, shape)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            _fail(where, value, "list")
        for n, each in enumerate(value):
            _check(each, shape[0], f"{where}[{n}]")
    elif isinstance(value, dict):
        _check_keys(value, shape, where)
    else:
        _fail(where, value, "mapping")


def _check_keys(value: dict[str, Any], shape: dict[str, Shape], where: str) -> None:
    """Those of a mapping; what may be absent becomes null."""
    for key, inner in shape.items():
        name = key.removesuffix("?")
        if key == "*":
            for other in value.keys() - shape.keys():
                _check(value[other], inner, f"{where}.{other}")
        elif value.get(name) is not None:
            _check(value[name], inner, f"{where}.{name}")
        elif name == key:
            _fail(f"{where}.{name}", None, "text" if not isinstance(inner, str) else inner)
        else:
            value[name] = None


def _fail(where: str, value: Any, wanted: str) -> NoReturn:
    is_ = "missing" if value is None else f"a {type(value).__name__}"
    needed = "" if value is None else f" where a {wanted} belongs"
    raise OptionError(f"{where.lstrip('.')} is {is_}{needed}, which Intact did not write; make the run again with --overwrite")


def _check_lengths(document: Mapping[str, Any]) -> None:
    """Lists that are read side by side are of one length."""
    classes = document.get("classes") if str(document["schema"]).startswith("intact-details/") else None
    if classes is not None:
        n = len(classes["names"])
        columns = [classes[key] for key in ("n", "float", "quantized", "confusion_float", "confusion_quantized")]
        rows = [row for key in ("confusion_float", "confusion_quantized") for row in classes[key]]
        _same([*columns, *rows], n, "classes")
    for row in document.get("rows") or ():
        for name, figure in row["figures"].items():
            quartiles = figure.get("quartiles")
            if quartiles is not None:
                _check(quartiles, ["number"], f"rows.{row['name']}.{name}.quartiles")
                _same([quartiles], 2, f"the quartiles of {name} of {row['name']}")
    for tensor in document.get("tensors") or ():
        histogram = tensor["histogram"]
        if histogram is not None:
            _same([histogram["integer"]], len(histogram["float"]), f"the histogram of {tensor['name']}")


def _same(lists: Sequence[Sequence[Any]], n: int, what: str) -> None:
    if any(len(each) != n for each in lists):
        raise OptionError(
            f"{what} has lists of unlike lengths, which Intact did not write; make the run again with --overwrite"
        )

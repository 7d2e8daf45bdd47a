"""explorer.html: one file with a network's weights in it and what shows them, which asks nothing of any network.

Numbers are float32, as four planes of bytes (all lowest bytes first, all highest last), which pack better, then gzip, then
base64: MobileNetV2's 2.2 million take 10 MB. The browser unpacks a tensor when it is asked for.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from intact.wording import shown

#: What the page runs, in order, after the weights; :data:`WORKER` is what its worker runs.
SCRIPTS: Final = ("d3.min.js", "plot.min.js", *(f"explorer{part}.js" for part in ("_numbers", "_charts", "_graph", "")))
WORKER: Final = ("explorer_numbers.js", "explorer_npy.js", "explorer_worker.js")
#: The style that Plot writes into each of its charts: see VENDORED.md.
_PLOT_STYLE: Final = "sha256-jSYQUrW7J0b3jPqhZP9C2Xh1PyJKHKXd4s0fpGGKrww="
_MARKS: Final = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&"}
#: The page around the explorer.
_STYLE: Final = """
body { margin: 0 auto; max-width: 1400px; padding: 0 clamp(12px, 3vw, 32px) 2rem; font: 15px/1.45 system-ui, sans-serif;
  color: #1f2933; background: #ffffff; }
header p, footer p { max-width: 72ch; margin: .3rem 0; }
h1 { font-size: 1.4rem; margin: 1rem 0 .2rem; overflow-wrap: anywhere; }
footer { margin-top: 2rem; font-size: .9rem; }
footer h2 { font-size: 1.05rem; }
footer code { overflow-wrap: anywhere; background: #f4f6f8; border-radius: 4px; padding: .05rem .3rem; }
.note, .quiet { color: #5b6773; }
@media (prefers-color-scheme: dark) {
  body { color: #e6eaee; background: #14181d; }
  footer code { background: #1d232a; }
  .note, .quiet { color: #9dabb8; }
}
"""


def to_html(document: Mapping[str, Any], weights: Mapping[int, np.ndarray]) -> str:
    """The page of a document of :mod:`intact.run.explore` with the float32 numbers of its tensors by id."""
    scripts = [_static(name) for name in SCRIPTS]
    css = _STYLE + _static("explorer.css")
    page: str = (
        _environment()
        .get_template("explorer_page.html.j2")
        .render(
            name=shown(document["name"]),
            against=None if document["against"] is None else shown(document["against"]),
            notes=[shown(note) for note in document["notes"]],
            model_sha256=document["model_sha256"],
            fragment=fragment(document),
            weights=[(i, Markup(packed(values))) for i, values in weights.items()],
            scripts=[Markup(script) for script in scripts],
            style=Markup(css),
            policy=policy(scripts, [css]),
        )
    )
    return page


def fragment(document: Mapping[str, Any]) -> Markup:
    """The explorer by itself, for a page that runs :data:`SCRIPTS`, has ``static/explorer.css`` and a :func:`policy` for both.

    Of a run's ``details.json`` it shows tensors by their histograms, as :func:`of_details` has them.
    """
    tensors = [
        {"role": _text(t["role"]), "op": _text(t["op"]), **{name: t[name] for name in ("id", "shape", "held", "histogram")}}
        for t in document["tensors"]
    ]
    whole = any(tensor["held"] and tensor["role"] == "weight" for tensor in document["tensors"])
    worker = "\n".join(_static(name) for name in WORKER)
    template = _environment().get_template("explorer.html.j2")
    return Markup(template.render(tensors=tensors, whole=whole, document=embedded(document), worker=Markup(worker)))


def of_details(details: Mapping[str, Any]) -> dict[str, Any]:
    """What the explorer shows of a run's ``details.json``: its ops, and each tensor with a histogram of the float network."""
    tensors = []
    for tensor in details["tensors"]:
        seen = tensor.get("histogram")
        if seen is None or not sum(seen["float"]):
            continue
        shape = [size or 1 for size in tensor["shape"]]
        histogram = {"low": seen["low"], "high": seen["high"], "counts": seen["float"]}
        told = {name: tensor[name] for name in ("id", "name", "role", "op", "dtype")}
        tensors.append({**told, "shape": shape, "count": math.prod(shape), "axis": None, "held": False, "histogram": histogram})
    return {"name": "", "notes": [], "against": None, "ops": details["ops"], "tensors": tensors}


def packed(values: np.ndarray) -> str:
    """float32 numbers as planes of bytes, gzip and base64: what the worker's ``unpacked`` takes."""
    planes = np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(gzip.compress(planes.tobytes(), 6, mtime=0)).decode("ascii")


def embedded(document: Mapping[str, Any]) -> Markup:
    """A document as JSON that stands in a page: no name in it can end the script that holds it."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))  # pure ASCII, so that U+2028 is written out
    return Markup(text.translate(_MARKS))


def policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """A Content-Security-Policy that lets run what is given here, and the worker, and nothing else; nothing is asked for."""
    run, look = (" ".join(f"'{_hash(text)}'" for text in texts) for texts in (scripts, styles))
    return (
        f"default-src 'none'; script-src {run}; worker-src blob:; style-src {look} '{_PLOT_STYLE}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _text(value: object) -> object:
    return shown(value) if isinstance(value, str) else value


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def _static(name: str) -> str:
    return resources.files("intact").joinpath("report", "static", name).read_text("utf-8")


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("intact", "report"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )

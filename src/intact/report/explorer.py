"""explorer.html: one file with a network's weights in it and what shows them, which asks nothing of any network.

Numbers are float32, as four planes of bytes (all lowest bytes first, all highest last), which pack better, then gzip, then
base64: MobileNetV2's 2.2 million take 10 MB. The browser unpacks a tensor when it is asked for.
"""

from __future__ import annotations

import base64
import gzip
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from intact.report.page import CHARTS, NOTICES, Section, ascii_of, embedded, environment, packed, packed_static, policy, static

#: What the page runs, in order, after the weights, and after :data:`CHARTS`; :data:`WORKER` is what its worker runs.
SCRIPTS: Final = tuple(f"explorer{part}.js" for part in ("_numbers", "_charts", "_graph", ""))
WORKER: Final = ("explorer_numbers.js", "explorer_npy.js", "explorer_worker.js")
#: What a page's policy must allow: numbers are computed in workers, which come from the page itself.
_WORKERS: Final = "worker-src blob:"


def to_html(document: Mapping[str, Any], weights: Mapping[int, np.ndarray]) -> str:
    """The page of a document of :mod:`intact.run.explore` with the float32 numbers of its tensors by id."""
    scripts, starter = (*CHARTS, *SCRIPTS), static("start.js")
    styles = [static("explorer_page.css") + static("explorer.css")]
    return ascii_of(
        environment()
        .get_template("explorer_page.html.j2")
        .render(
            **{name: document[name] for name in ("name", "against", "notes", "model_sha256")},
            fragment=fragment(document),
            weights=[(i, Markup(planes_of(values))) for i, values in weights.items()],
            scripts=[Markup(packed_static(name)) for name in scripts],
            notices=[static(name) for name in NOTICES],
            starter=Markup(starter),
            styles=[Markup(style) for style in styles],
            policy=Markup(policy([*map(static, scripts), starter], styles, [_WORKERS])),
        )
    )


def section(details: Mapping[str, Any]) -> Section:
    """The explorer as a part of a run's page, which holds histograms and no weights."""
    html = fragment(_of_details(details))
    scripts = tuple(static(name) for name in SCRIPTS)
    return Section("explorer", "Explore", html, scripts, (static("explorer.css"),), policy=(_WORKERS,))


def fragment(document: Mapping[str, Any]) -> Markup:
    """The explorer by itself, for a page that runs :data:`SCRIPTS` after D3 and Plot and has ``static/explorer.css``."""
    whole = any(tensor["held"] and tensor["role"] == "weight" for tensor in document["tensors"])
    worker = "\n".join(static(name) for name in WORKER)
    template = environment().get_template("explorer.html.j2")
    held = Markup(packed(embedded(document)))
    return Markup(template.render(tensors=document["tensors"], whole=whole, document=held, worker=Markup(packed(worker))))


def _of_details(details: Mapping[str, Any]) -> dict[str, Any]:
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
    return {"ops": details["ops"], "tensors": tensors}


def planes_of(values: np.ndarray) -> str:
    """float32 numbers as planes of bytes, gzip and base64: what the worker's ``unpacked`` takes."""
    planes = np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(gzip.compress(planes.tobytes(), 6, mtime=0)).decode("ascii")

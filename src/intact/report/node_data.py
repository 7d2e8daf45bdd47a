"""What Google's Model Explorer lays over a graph: its node data, one file for each figure of the ops.

A file is ``{"results": {key: {"value": number}}, "gradient": [...]}``, where a key is the name of any tensor that the op makes,
or the op's place in the file (its ``node_data_builder.py``, and the builtin TFLite adapter, which numbers ops from 0).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

#: Figures of an op: field of the document, what it is called, and whether more of it is worse.
FIGURES: Final = (
    ("noise", "noise_share", "share of the noise", True),
    ("sqnr", "sqnr_runtime", "signal to noise in the runtime, dB", False),
    ("own-sqnr", "sqnr_own", "signal to noise of the op alone, dB", False),
    ("time", "ms", "milliseconds of the op alone", True),
    ("size", "bytes", "bytes of constants", True),
)
#: From white to a dark orange, which reads in grey and without red or green.
_LIGHT: Final = "#fff7ec"
_DARK: Final = "#b5460f"


def figures(document: Mapping[str, Any]) -> dict[str, str]:
    """The text of a file for each figure that any op has, by the figure's name."""
    ops = document["ops"]
    names = Counter(op["name"] for op in ops)
    keys = [op["name"] if op["name"] and names[op["name"]] == 1 else str(n) for n, op in enumerate(ops)]
    made = {}
    for figure, field, title, more_is_worse in FIGURES:
        values = {key: op[field] for key, op in zip(keys, ops, strict=True) if isinstance(op[field], (int, float))}
        if not values:
            continue
        stops = (_LIGHT, _DARK) if more_is_worse else (_DARK, _LIGHT)
        data = {
            "name": f"Intact: {title}",
            "results": {key: {"value": value} for key, value in values.items()},
            "gradient": [{"stop": stop, "bgColor": color} for stop, color in enumerate(stops)],
        }
        made[figure] = json.dumps(data, indent=2, allow_nan=False) + "\n"
    return made

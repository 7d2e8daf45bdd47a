"""Whether a freshly converted .tflite computes what its source does, on random input: converters have bugs too.

Example: litert-torch 0.10 turns nearest-neighbour resizing by a factor that is not whole into another one, silently.
Runs beside the converter in its child process; imports nothing of Intact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

#: Of the output's largest magnitude. Float kernels differ by some 1e-7 to 1e-4 in deep networks, wrong layers by 1e-2 and more.
_TOLERANCE: Final = 1e-3


def random_input(shape: Sequence[int], dtype: np.dtype[Any], seed: int) -> np.ndarray:
    """Standard normal for floats; zeros for whole numbers, whose range (a vocabulary's size) is not known."""
    if np.issubdtype(dtype, np.floating):
        return np.random.default_rng(seed).standard_normal(tuple(shape)).astype(dtype)
    return np.zeros(tuple(shape), dtype)


def disagreement(tflite: bytes, inputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> str:
    """What is wrong with ``tflite``, in words; empty when it gives ``expected`` on ``inputs``, all by signature name."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    try:
        run = Interpreter(model_content=tflite).get_signature_runner()
        outputs = run(**inputs)
    except (ValueError, RuntimeError) as error:
        return f"LiteRT cannot run what it was converted to ({' '.join(str(error).split())[:200]})"
    for name, wanted in expected.items():
        if name not in outputs:
            return f"its output {name!r} was lost in conversion"
        found = outputs[name]
        if found.shape != wanted.shape:
            return f"its output {name!r} has the shape {list(found.shape)} after conversion, {list(wanted.shape)} before"
        if not np.issubdtype(wanted.dtype, np.floating):
            continue  # indices of near-equal values may change places
        finite = np.isfinite(wanted)
        gap = np.abs(np.where(finite, found - wanted, 0.0)).max(initial=0.0)
        size = np.abs(np.where(finite, wanted, 0.0)).max(initial=0.0)
        if gap > _TOLERANCE * max(float(size), 1e-6):
            return (
                f"its output {name!r} differs by {gap / max(float(size), 1e-6):.2g} of its largest value after conversion: the "
                "converter gets a layer wrong; replace it (resizing by a factor that is not whole, for instance)"
            )
    return ""

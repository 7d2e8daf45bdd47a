"""Every op of ONNX that can be read, and what it is in ours: one row each, by families."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Final

from intact.errors import IntactError, UnsupportedError
from intact.formats.onnx import (
    activations,
    arithmetic,
    classical,
    constants,
    convolution,
    einsum,
    margins,
    matmul,
    normalization,
    pooling,
    recurrent,
    reduction,
    resizing,
    shaping,
)
from intact.formats.onnx.call import Row

ROWS: Final[Mapping[str, Row]] = {
    **activations.ROWS,
    **arithmetic.ROWS,
    **classical.ROWS,
    **constants.ROWS,
    **convolution.ROWS,
    **einsum.ROWS,
    **margins.ROWS,
    **matmul.ROWS,
    **normalization.ROWS,
    **pooling.ROWS,
    **recurrent.ROWS,
    **reduction.ROWS,
    **resizing.ROWS,
    **shaping.ROWS,
}
#: Ops whose branch is known before anything runs are read; any other control flow is not.
BRANCH: Final = "If"
_FLOW: Final = frozenset({"Loop", "Scan", "SequenceMap"})
_QUANTIZED: Final = frozenset(
    {
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
        "MatMulInteger",
    }
)  # fmt: skip
_MOST_NAMES: Final = 12


def refusal(ops: Iterable[str]) -> IntactError | None:
    """The error for all ``ops`` that have no row, at once; None where all have one."""
    unknown = sorted({op for op in ops if op not in ROWS and op != BRANCH})
    if not unknown:
        return None
    if quantized := [op for op in unknown if op in _QUANTIZED or op.rpartition(".")[2].startswith("QLinear")]:
        return UnsupportedError(f"it is quantized already ({_list(quantized)}); give the float model that it was made of")
    tool = (
        "; onnx2tf is installed: type onnx2tf -i MODEL.onnx -o converted, and give converted/MODEL_float32.tflite"
        if shutil.which("onnx2tf")
        else ", or convert it with onnx2tf, in an environment of its own, and give the float .tflite that it writes"
    )
    advice = "export the model without them"
    if "NonMaxSuppression" in unknown:
        advice = "export the model without its last step, that picks boxes (nms=False), and pick them in your program"
    elif "ai.onnx.ml.ZipMap" in unknown:
        advice = "export it with options={'zipmap': False}"
    elif _FLOW.intersection(unknown):
        advice = "export the model without loops, on an example of fixed size"
    return UnsupportedError(f"it has ops that have no counterpart here: {_list(unknown)}; {advice}{tool}")


def _list(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(name[:80] for name in names[:_MOST_NAMES]) + more

"""Every op of ONNX that can be read, and what it is in ours: one row each, by families."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from typing import Final

from intact.errors import IntactError, UnsupportedError
from intact.formats.onnx import (
    activations,
    arithmetic,
    blocks,
    classical,
    constants,
    convolution,
    einsum,
    indexing,
    margins,
    matmul,
    normalization,
    pooling,
    recurrent,
    reduction,
    resizing,
    sampling,
    shaping,
    spectra,
)
from intact.formats.onnx.call import Row
from intact.formats.onnx.control import FLOWS
from intact.formats.onnx.document import Node

ROWS: Final[Mapping[str, Row]] = {
    **activations.ROWS,
    **arithmetic.ROWS,
    **blocks.ROWS,
    **classical.ROWS,
    **constants.ROWS,
    **convolution.ROWS,
    **einsum.ROWS,
    **indexing.ROWS,
    **margins.ROWS,
    **matmul.ROWS,
    **normalization.ROWS,
    **pooling.ROWS,
    **recurrent.ROWS,
    **reduction.ROWS,
    **resizing.ROWS,
    **sampling.ROWS,
    **shaping.ROWS,
    **spectra.ROWS,
}
_QUANTIZED: Final = frozenset(
    {
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
        "MatMulInteger",
    }
)  # fmt: skip
#: What to do instead, by how the names of ops begin that another converter does not help with; the first that fits counts.
_INSTEAD: Final[Mapping[str, str]] = {
    "NonMaxSuppression": (
        "export the model without its last step, that picks boxes (nms=False), and pick them in your program"
    ),
    "com.microsoft.": (
        "ONNX Runtime writes such ops when it optimizes a model: give the file from before that, as it was exported"
    ),
    "ai.onnx.ml.ZipMap": "export it with options={'zipmap': False}",
    "ai.onnx.ml.Tree": "trees compare and have nothing to quantize; train a network instead (MLPClassifier, MLPRegressor)",
    "ai.onnx.ml.SVM": "kernel machines have no runtime here; train a linear model or a network instead",
    "ai.onnx.ml.": "export what comes before and after the network apart, and compute it in your program",
    "Sequence": "export the model on an example of fixed size, without lists of tensors",
    "SplitToSequence": "export the model on an example of fixed size, without lists of tensors",
    "Random": "call model.eval() before the export, so that nothing is drawn at random",
    "Bernoulli": "call model.eval() before the export, so that nothing is drawn at random",
    "Multinomial": "call model.eval() before the export, so that nothing is drawn at random",
}
_MOST_NAMES: Final = 12


def refusal(nodes: Iterable[Node]) -> IntactError | None:
    """The error for the ops of all ``nodes`` that have no row, at once, each with its first node; None where all have one."""
    first: dict[str, str] = {}
    for node in nodes:
        first.setdefault(node.op, node.name or next(filter(None, node.outputs), ""))
    unknown = sorted(op for op in first if op not in ROWS and op not in FLOWS)
    if not unknown:
        return None
    if quantized := [op for op in unknown if op in _QUANTIZED or op.rpartition(".")[2].startswith("QLinear")]:
        return UnsupportedError(
            f"it is quantized already ({_list(quantized, first)}); give the float model that it was made of"
        )
    advice = next((words for op, words in _INSTEAD.items() if any(name.startswith(op) for name in unknown)), "")
    return UnsupportedError(f"it has ops that have no counterpart here: {_list(unknown, first)}; {advice or _without()}")


def _without() -> str:
    """What to do without ops that no row knows: the other converter may know them."""
    tool = (
        "; onnx2tf is installed: type onnx2tf -i MODEL.onnx -o converted, and give converted/MODEL_float32.tflite"
        if shutil.which("onnx2tf")
        else ", or convert it with onnx2tf, in an environment of its own, and give the float .tflite that it writes"
    )
    return f"export the model without them{tool}"


def _list(ops: list[str], nodes: Mapping[str, str]) -> str:
    more = f" and {len(ops) - _MOST_NAMES} more" if len(ops) > _MOST_NAMES else ""
    return ", ".join(f"{op[:80]} (node {nodes[op][:80]!r})" for op in ops[:_MOST_NAMES]) + more

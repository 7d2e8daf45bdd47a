"""Small integer networks for firmware, whose memory can be counted by hand."""

from __future__ import annotations

import numpy as np
from integer_cases import Builder

from intact.network.graph import Graph
from intact.ops import KINDS


def two_convolutions(side: int = 12) -> Graph:
    """[side, side, 3] -> CONV_2D, CONV_2D of 8 channels each -> MEAN -> FULLY_CONNECTED to 5 -> SOFTMAX, in int8.

    Bytes of 12 x 12: the input 432, each convolution 1,152, then 8, 5 and 5.
    """
    b = Builder(np.random.default_rng(0))
    x = first = b.flow(side, side, 3)
    for name in ("first", "second"):
        made = KINDS["CONV_2D"](padding="same", activation="relu")
        b.op(made, x, *b.weights(x, (8, 3, 3, b.tensors[x].shape[3]), 0), out=b.format(0.1, 0.3), name=name)
        x = b.ops[-1].output
    b.op(KINDS["MEAN"](), x, b.ints(1, 2))
    b.op(KINDS["FULLY_CONNECTED"](), b.ops[-1].output, *b.weights(b.ops[-1].output, (5, 8), 0), out=b.format(0.05, 0.1))
    b.op(KINDS["SOFTMAX"](), b.ops[-1].output)
    graph = b.graph()
    return Graph(graph.tensors, graph.ops, (first,), (graph.ops[-1].output,))

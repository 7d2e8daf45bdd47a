"""What each lowering for XNNPACK is worth: an int8 op between two convolutions, as it is against as the target likes it.

python bench/lowerings.py           ratios of single-thread time, paired, batch 1; above 1: the lowered file is faster
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import runs
from intact import lower
from intact.calibrate import observe
from intact.emit import emit
from intact.formats import tflite
from intact.graph import Graph, Op, Tensor
from intact.ops import KINDS
from intact.ops.base import OpKind
from intact.ops.convolution import Conv2D
from intact.ops.pooling import AveragePool2D
from intact.planner import make_plan
from intact.settings import Settings

SIDE, CHANNELS = 28, 32
POOL = AveragePool2D((2, 2), (2, 2))


def between_convolutions(kind: OpKind, seed: int = 0) -> Graph:
    """conv -> op -> conv over [1, 28, 28, 32]."""
    draw = np.random.default_rng(seed)
    kernel = draw.normal(0, 0.08, (CHANNELS, 3, 3, CHANNELS)).astype(np.float32)
    sides = (SIDE, SIDE, SIDE // 2, SIDE // 2) if kind == POOL else (SIDE,) * 4
    tensors = [Tensor(i, f"x{i}", (None, side, side, CHANNELS)) for i, side in enumerate(sides)]
    tensors += [Tensor(4, "w", kernel.shape, data=kernel)]
    convolution = Conv2D(padding="same")
    ops = (Op(convolution, (0, 4, None), (1,)), Op(kind, (1,), (2,)), Op(convolution, (2, 4, None), (3,)))
    return Graph({t.id: t for t in tensors}, ops, (0,), (3,))


def written(graph: Graph, sample: np.ndarray, path: Path) -> Path:
    ranges = {i: seen.extremes for i, seen in observe(graph, lambda: [{graph.input_names[0]: sample}]).items()}
    path.write_bytes(tflite.write(emit(graph, make_plan(graph, ranges, Settings().request()))))
    return path


def main() -> None:
    sample = np.random.default_rng(1).normal(size=(1, SIDE, SIDE, CHANNELS)).astype(np.float32)
    print("| op | time as it is / time lowered | interval |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for target, activations, name in lower.LOWERINGS:
            if target != "cpu":
                continue
            graph = between_convolutions(POOL if name == POOL.name else KINDS[name]())
            plain = written(lower.lower(graph, "none", activations), sample, Path(folder) / "plain.tflite")
            lowered = written(lower.lower(graph, target, activations), sample, Path(folder) / "lowered.tflite")
            try:
                _, _, ratio = runs.latency_ratio(plain, lowered, sample)
            except ValueError:
                print(f"| {name} | the runtime has no int8 kernel for it | |")
                continue
            print(f"| {name} | {ratio.value:.2f} | [{ratio.low:.2f}, {ratio.high:.2f}] |", flush=True)


if __name__ == "__main__":
    main()

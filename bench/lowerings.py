"""What each spelling for XNNPACK is worth: an int8 op between two convolutions, as it is against as the cpu target has it.

python bench/lowerings.py [--rows NAME]     one thread, batch 1, paired ratios with their 95 % interval

"As it is" writes the op with its int8 kernel where LiteRT has one, as other tools do; a ratio above 1 says how many times
faster it is now. Partitions: how many pieces the delegate breaks the network into. SQNR is against the float network on the
same eight samples, in the runtime.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))

from drafts import draft

from common import say_machine
from intact.errors import IntactError
from intact.formats import tflite
from intact.measure.latency import speedup
from intact.network.graph import Graph
from intact.ops import activation as act
from intact.ops import shaping
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add, Div, Mul, SquaredDifference, Sub
from intact.ops.matmul import BatchMatMul, FullyConnected
from intact.ops.pooling import AveragePool2D
from intact.ops.reduction import Mean
from intact.planning.integer_graph import emit
from intact.planning.planner import make_plan
from intact.rewrite.clean import clean
from intact.rewrite.lowerings import lower
from intact.run.settings import Settings
from intact.runtime import litert
from intact.simulate.calibrate import observe
from intact.simulate.engine import Program

SIDE, CHANNELS = 28, 32
SAMPLES, ROUNDS = 8, 20


def normal(*shape: int, seed: int = 0, spread: float = 1.0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).normal(0, spread, shape).astype(np.float32)


def conv(d: Any, x: int, seed: int = 0) -> int:
    channels = d.shape(x)[-1]
    return d(
        Conv2D(padding="same"), x, normal(CHANNELS, 3, 3, channels, seed=seed, spread=(9 * channels) ** -0.5), normal(CHANNELS)
    )


def layer_norm(d: Any, x: int) -> int:
    axis = [len(d.shape(x))]
    mean = d(Mean(keep_dims=True), x, axis)
    variance = d(Mean(keep_dims=True), d(SquaredDifference(), x, mean), axis)
    scale = d(Mul(), d(act.Rsqrt(), d(Add(), variance, 0.001)), 1 + normal(CHANNELS, spread=0.1))
    return d(Add(), d(Mul(), x, scale), d(Sub(), normal(CHANNELS, seed=1, spread=0.1), d(Mul(), mean, scale)))


def dense(d: Any, x: int, n: int, seed: int) -> int:
    return d(
        FullyConnected(keep_dims=True), x, normal(n, d.shape(x)[-1], seed=seed, spread=d.shape(x)[-1] ** -0.5), normal(n) / 10
    )


def attention(d: Any, x: int) -> int:
    """Four heads over a row of tokens, as PyTorch's converter spells them."""

    def heads(seed: int) -> int:
        split = d(shaping.Reshape(), dense(d, x, CHANNELS, seed), [-1, SIDE * SIDE // 4, 4, CHANNELS // 4])
        return d(shaping.Transpose(), split, [0, 2, 1, 3])

    scores = d(BatchMatMul(adj_y=True), d(Mul(), heads(1), 0.35), heads(2))
    mixed = d(shaping.Transpose(), d(BatchMatMul(), d(act.Softmax(), scores), heads(3)), [0, 2, 1, 3])
    return dense(d, d(shaping.Reshape(), mixed, [-1, SIDE * SIDE // 4, CHANNELS]), CHANNELS, 4)


def transformer(d: Any, x: int, blocks: int = 2) -> int:
    """Pre-norm blocks of attention and a perceptron over 14 x 14 tokens, as in a vision transformer."""
    x = d(AveragePool2D((2, 2), (2, 2)), x)
    x = d(shaping.Reshape(), x, [-1, SIDE * SIDE // 4, CHANNELS])
    for _ in range(blocks):
        x = d(Add(), x, attention(d, layer_norm(d, x)))
        x = d(Add(), x, dense(d, d(act.Gelu(), dense(d, layer_norm(d, x), 4 * CHANNELS, 5)), CHANNELS, 6))
    return d(shaping.Reshape(), layer_norm(d, x), [-1, SIDE // 2, SIDE // 2, CHANNELS])


def every_second(d: Any, x: int, row: int = 0, column: int = 0) -> int:
    kind = shaping.StridedSlice(begin_mask=9, end_mask=15)
    return d(kind, x, [0, row, column, 0], [0] * 4, [1, 2, 2, 1])


def focus(d: Any, x: int) -> int:
    return d(shaping.Concatenation(3), *(every_second(d, x, row, column) for row in (0, 1) for column in (0, 1)))


SLOPES = np.random.default_rng(3).uniform(0.05, 0.6, (1, 1, CHANNELS)).astype(np.float32)
#: What stands between the convolutions.
ROWS: Mapping[str, Callable[[Any, int], int]] = {
    "HARD_SWISH": lambda d, x: d(act.HardSwish(), x),
    "RELU": lambda d, x: d(act.Relu(), d(act.Logistic(), x)),
    "RELU6": lambda d, x: d(act.Relu6(), d(act.Logistic(), x)),
    "RELU_N1_TO_1": lambda d, x: d(act.ReluN1To1(), d(act.Logistic(), x)),
    "PRELU": lambda d, x: d(act.PRelu(), x, SLOPES),
    "PRELU, slopes around 1": lambda d, x: d(act.PRelu(), x, SLOPES + 0.7),
    "PRELU, one slope": lambda d, x: d(act.PRelu(), x, np.full((1, 1, CHANNELS), 0.25, np.float32)),
    "LEAKY_RELU": lambda d, x: d(act.LeakyRelu(), x),
    "ABS": lambda d, x: d(act.Abs(), x),
    "NEG": lambda d, x: d(act.Neg(), x),
    "GELU": lambda d, x: d(act.Gelu(), x),
    "AVERAGE_POOL_2D, whole windows": lambda d, x: d(AveragePool2D((2, 2), (2, 2)), x),
    "AVERAGE_POOL_2D, SAME": lambda d, x: d(AveragePool2D((3, 3), (1, 1), "same"), x),
    "STRIDED_SLICE by 2": every_second,
    "four of them (focus)": focus,
    "MIRROR_PAD": lambda d, x: d(shaping.MirrorPad(), x, [[0, 0], [1, 1], [1, 1], [0, 0]]),
    "SQUARED_DIFFERENCE": lambda d, x: d(SquaredDifference(), x, conv(d, x, 5)),
    "SUB": lambda d, x: d(Sub(), x, conv(d, x, 5)),
    "DIV": lambda d, x: d(Div(), x, d(Add(), d(act.Logistic(), conv(d, x, 5)), 0.5)),
    "RSQRT": lambda d, x: d(act.Rsqrt(), d(Add(), d(act.Logistic(), x), 0.5)),
    "L2_NORMALIZATION": lambda d, x: d(act.L2Normalization(), x),
    "SOFTMAX": lambda d, x: d(act.Softmax(), x),
    "SOFTMAX off the last axis": lambda d, x: d(
        shaping.Transpose(), d(act.Softmax(), d(shaping.Transpose(), x, [0, 1, 3, 2])), [0, 1, 3, 2]
    ),
    "BATCH_MATMUL": lambda d, x: d(BatchMatMul(adj_y=True), x, conv(d, x, 5)),
    "layer norm": layer_norm,
    "two transformer blocks": transformer,
}


def written(graph: Graph, x: np.ndarray, path: Path, *, as_it_is: bool) -> Path:
    """The int8 file, spelled as LiteRT has it or as the cpu target does."""
    lowered = lower(graph, "none" if as_it_is else "cpu", "int8")
    request = Settings().request()
    if as_it_is:
        request = replace(request, target=replace(request.target, float_inside=frozenset()))
    ranges = {i: seen.extremes for i, seen in observe(lowered, lambda: [{lowered.input_names[0]: x}]).items()}
    path.write_bytes(tflite.write(emit(lowered, make_plan(lowered, ranges, request))))
    return path


def sqnr(path: Path, x: np.ndarray, expected: np.ndarray) -> float:
    """dB of the file's output in the runtime."""
    (made,) = litert.run(path, {litert.describe(path).inputs[0].name: x}, threads=1).values()
    return float(10 * np.log10(np.square(expected).mean() / np.square(made - expected).mean()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    wanted = parser.parse_args().rows
    say_machine()
    x = np.random.default_rng(1).normal(size=(SAMPLES, SIDE, SIDE, CHANNELS)).astype(np.float32)
    print("| between two convolutions | partitions, as it is and now | times faster now | float time / int8 time | SQNR, dB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, middle in ROWS.items():
            if wanted in name:
                print(row(name, middle, x, Path(folder)), flush=True)


def row(name: str, middle: Callable[[Any, int], int], x: np.ndarray, folder: Path) -> str:
    graph = clean(draft((SIDE, SIDE, CHANNELS), lambda d, i: conv(d, middle(d, conv(d, i)), 1)))
    (expected,) = (y.numpy() for y in Program(graph)({graph.input_names[0]: x}).values())
    whole = folder / "float.tflite"
    whole.write_bytes(tflite.write(graph))
    now = written(graph, x, folder / "now.tflite", as_it_is=False)
    files = {"float": whole, "now": now}
    pieces, quality = litert.describe(now).partitions, sqnr(now, x, expected)
    try:
        plain = written(graph, x, folder / "plain.tflite", as_it_is=True)
        before, was = f"{litert.describe(plain).partitions}", f"{sqnr(plain, x, expected):.1f}"
        files["plain"] = plain
    except IntactError:
        before, was = "no int8 kernel", "none"
    times = litert.latency(files, rounds=ROUNDS, warmup_seconds=0.1, block_seconds=0.02)

    def gain(other: str) -> str:
        if other not in times:
            return "none"
        ratio = speedup(times["now"].samples_ms, times[other].samples_ms, "")
        return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"

    return f"| {name} | {before}, {pieces} | {gain('plain')} | {gain('float')} | {was}, {quality:.1f} |"


if __name__ == "__main__":
    main()

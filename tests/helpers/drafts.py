"""Small graphs written as the calls that make them: ``draft((4, 4, 3), lambda d, x: d(Relu(), d(Add(), x, 1.0)))``."""

import numpy as np
import torch
from small_graphs import graph

from intact.network.graph import Graph, Op, Tensor
from intact.numbers.affine import Float, Index
from intact.ops.call import as_tuple


def normal(*shape, seed=0):
    """A float32 constant without special values."""
    return np.random.default_rng((seed, *shape)).normal(0, 1, shape).astype(np.float32)


class Draft:
    """Call it with an op kind and its inputs: ids (int), None, or anything else as a constant; it gives the output's id.

    Whole numbers become int32, real numbers float32; bools stay. Shapes are read off the op, computed for two batch sizes.
    """

    def __init__(self, open_batch: bool):
        self.batches = (2, 3) if open_batch else (1, 1)
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.values: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __call__(self, kind, *inputs):
        ids = tuple(i if i is None or type(i) is int else self.constant(i) for i in inputs)
        made = [as_tuple(kind.compute(*(None if i is None else self.values[i][n] for i in ids))) for n in (0, 1)]
        outputs = tuple(self.add(pair) for pair in zip(*made, strict=True))
        self.ops.append(Op(kind, ids, outputs))
        return outputs[0] if len(outputs) == 1 else outputs

    def input(self, shape):
        return self.add(tuple(torch.zeros(n, *shape) for n in self.batches))

    def constant(self, data):
        data = np.asarray(data)
        data = data.astype({"f": np.float32, "b": np.bool_}.get(data.dtype.kind, np.int32))
        return self.add((torch.from_numpy(data.copy()),) * 2, data)

    def add(self, pair, data=None):
        a, b = pair
        shape = tuple(None if n != m else n for n, m in zip(a.shape, b.shape, strict=True))
        i = len(self.tensors)
        dtype = str(a.dtype).removeprefix("torch.")
        self.tensors.append(Tensor(i, f"x{i}", shape, Float(dtype) if a.is_floating_point() else Index(dtype), data))
        self.values.append(pair)
        return i

    def shape(self, i):
        """Without the batch."""
        return tuple(self.values[i][0].shape[1:])


def draft(shape, build, *, open_batch=True) -> Graph:
    """The graph of x, [n, *shape] or [1, *shape], whose output or outputs ``build(draft, x)`` names."""
    d = Draft(open_batch)
    outputs = build(d, d.input(shape))
    return graph(d.tensors, d.ops, (0,), (outputs,) if isinstance(outputs, int) else outputs)

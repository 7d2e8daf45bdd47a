"""Networks whose batch is fixed at 1 in one spelling and open in the other: both compute the same of every sample."""

import numpy as np
from drafts import draft, normal

from intact.ops.activation import Logistic, Relu, Softmax, Tanh
from intact.ops.convolution import Conv2D
from intact.ops.elementwise import Add, Mul
from intact.ops.matmul import BatchMatMul, FullyConnected
from intact.ops.reduction import Mean
from intact.ops.shaping import Concatenation, Reshape, StridedSlice, Transpose


def _conv(d, x, out, *, size=3, seed=0, activation="relu"):
    w = normal(out, size, size, d.shape(x)[-1], seed=seed) / size
    return d(Conv2D(padding="same", activation=activation), x, w, normal(out, seed=seed))


def _dense(d, x, out, *, seed=0, activation="none"):
    w = normal(out, d.shape(x)[-1], seed=seed) / 3
    return d(FullyConnected(keep_dims=len(d.shape(x)) > 1, activation=activation), x, w, normal(out, seed=seed) / 3)


def _lead(open_batch):
    return -1 if open_batch else 1


def _step(d, x, at, open_batch):
    """``x[:, at]``, as TensorFlow spells it."""
    rest = len(d.shape(x)) - 1
    kind = StridedSlice(begin_mask=1 | 4, end_mask=(1 if open_batch else 0) | 4, shrink_axis_mask=2)
    return d(kind, x, [0, at, *[0] * rest], [1, at + 1, *[0] * rest], [1] * (2 + rest))


def attention(open_batch):
    """Two heads. Where the batch is closed, heads take its place: tensors in the middle have no batch axis."""

    def build(d, x):
        def heads(seed):
            y = d(Reshape(), _dense(d, x, 8, seed=seed), [_lead(open_batch), 6, 2, 4])
            y = d(Transpose(), y, [0, 2, 1, 3])
            return y if open_batch else d(Reshape(), y, [2, 6, 4])

        q, k, v = (heads(seed) for seed in (1, 2, 3))
        y = d(BatchMatMul(), d(Softmax(), d(BatchMatMul(adj_y=True), q, k)), v)
        y = y if open_batch else d(Reshape(), y, [1, 2, 6, 4])
        y = d(Reshape(), d(Transpose(), y, [0, 2, 1, 3]), [_lead(open_batch), 6, 8])
        y = d(Add(), x, _dense(d, y, 8, seed=4))
        return _dense(d, _dense(d, y, 12, seed=5, activation="relu"), 5, seed=6)

    return draft((6, 8), build, open_batch=open_batch)


def recurrent(open_batch):
    """An unrolled cell: ``h <- tanh(W x_t + U h)``, gated."""

    def build(d, x):
        h = _dense(d, _step(d, x, 0, open_batch), 6, seed=1, activation="relu")
        for at in (1, 2, 3):
            now = _step(d, x, at, open_batch)
            new = d(Tanh(), d(Add(), _dense(d, now, 6, seed=2), _dense(d, h, 6, seed=3)))
            gate = d(Logistic(), d(Add(), _dense(d, now, 6, seed=4), _dense(d, h, 6, seed=5)))
            h = d(Add(), d(Mul(), gate, new), h)
        return _dense(d, _dense(d, h, 8, seed=6, activation="relu"), 4, seed=7)

    return draft((4, 5), build, open_batch=open_batch)


def shuffled(open_batch):
    """Channels shuffled between two convolutions."""

    def build(d, x):
        y = d(Reshape(), _conv(d, x, 8, seed=1), [_lead(open_batch), 6, 6, 2, 4])
        y = d(Reshape(), d(Transpose(), y, [0, 1, 2, 4, 3]), [_lead(open_batch), 6, 6, 8])
        y = _conv(d, _conv(d, y, 8, seed=2), 6, seed=3)
        return _dense(d, d(Mean(), y, [1, 2]), 4, seed=4)

    return draft((6, 6, 3), build, open_batch=open_batch)


def detector(open_batch):
    """Boxes, as means over bins, and scores of two grids."""

    def build(d, x):
        def head(y, seed):
            count = int(np.prod(d.shape(y)[:2]))
            return d(Reshape(), _conv(d, y, 19, size=1, seed=seed, activation="none"), [_lead(open_batch), count, 19])

        fine = _conv(d, x, 8, seed=1)
        coarse = d(Conv2D(stride=(2, 2), padding="same", activation="relu"), fine, normal(8, 3, 3, 8, seed=2) / 3, normal(8))
        both = d(Concatenation(1), head(fine, 3), head(coarse, 4))
        mask = {"begin_mask": 3, "end_mask": 3 if open_batch else 2}
        boxes = d(StridedSlice(**mask), both, [0, 0, 0], [1, 0, 16], [1, 1, 1])
        scores = d(StridedSlice(**mask), both, [0, 0, 16], [1, 0, 19], [1, 1, 1])
        bins = d(Softmax(), d(Reshape(), boxes, [_lead(open_batch), 20, 4, 4]))
        boxes = d(FullyConnected(keep_dims=True), bins, np.arange(4.0)[None], None)
        return d(Reshape(), boxes, [_lead(open_batch), 20, 4]), d(Logistic(), scores)

    return draft((4, 4, 3), build, open_batch=open_batch)


def turned(open_batch):
    """The batch's own axis goes to the back and returns: nothing but one sample fits, if that."""

    def build(d, x):
        y = _conv(d, x, 4, seed=1)
        if open_batch:
            y = d(Relu(), y)
        else:
            y = d(Transpose(), d(Relu(), d(Transpose(), d(Reshape(), y, [1, 16, 4]), [2, 1, 0])), [2, 1, 0])
            y = d(Reshape(), y, [1, 4, 4, 4])
        return _dense(d, d(Mean(), _conv(d, y, 6, seed=2), [1, 2]), 3, seed=3)

    return draft((4, 4, 3), build, open_batch=open_batch)


NETWORKS = {net.__name__: net for net in (attention, recurrent, shuffled, detector, turned)}


def varied(graph, n=80, seed=0):
    """Samples for the one input: some a hundred times as large as others, so that one of them tells little of the rest."""
    draw = np.random.default_rng(seed)
    shape = tuple(graph[graph.inputs[0]].shape[1:])
    size = np.exp(draw.uniform(np.log(0.03), np.log(3), n)).reshape(-1, *[1] * len(shape))
    return (draw.normal(0, 1, (n, *shape)) * size).astype(np.float32)

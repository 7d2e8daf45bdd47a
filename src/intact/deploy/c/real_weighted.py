"""Convolutions, dense layers and matrix products in float32, in C: the baseline that integers are measured against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TypeAlias, final

import numpy as np

from intact.annotations import Floats
from intact.deploy.c.packing import AT_ONCE
from intact.deploy.c.site import Site
from intact.deploy.c.source import bounds
from intact.deploy.c.weighted import matrices, window
from intact.network.weighted import weighted
from intact.ops.call import Activation, Shape
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.matmul import BatchMatMul, FullyConnected

#: Brings a weight into the order in which a kernel reads it.
Lay: TypeAlias = Callable[[np.ndarray], np.ndarray]


def dense(site: Site, kind: FullyConnected) -> None:
    """FULLY_CONNECTED."""
    layer = _Layer.of(site, kind.activation)
    layer.run_dense(prod(layer.shape) // layer.weight.shape[1])


def conv(site: Site, kind: Conv2D) -> None:
    """CONV_2D; of a kernel of 1 x 1 that skips nothing, a dense layer for each pixel."""
    layer = _Layer.of(site, kind.activation)
    x, w = layer.shape, layer.weight
    groups = x[3] // w.shape[3]
    at = window(x, site.made_shape(), w.shape[1:3], kind.stride, kind.padding, kind.dilation)
    if groups != 1 or len(w) < AT_ONCE:
        layer.run_grouped(at, w.shape[3], len(w) // groups)
    elif w.shape[1:3] == (1, 1) and kind.stride == (1, 1):
        layer.run_dense(site.count // len(w))
    else:
        layer.run_windows("float_conv", at, _all_by_fours)


def depthwise(site: Site, kind: DepthwiseConv2D) -> None:
    """DEPTHWISE_CONV_2D."""
    layer = _Layer.of(site, kind.activation)
    x, w = layer.shape, layer.weight
    at = window(x, site.made_shape(), w.shape[1:3], kind.stride, kind.padding, kind.dilation)
    if w.shape[3] == x[3]:
        layer.run_windows("float_depthwise", at, np.ravel)
    else:
        layer.run_grouped(at, 1, w.shape[3] // x[3])


def transposed(site: Site, kind: TransposeConv) -> None:
    """TRANSPOSE_CONV."""
    site.require_one_image()
    layer = _Layer.of(site, kind.activation)
    at = window(layer.shape, site.made_shape(), layer.weight.shape[1:3], kind.stride, kind.padding, padded=site.made_shape())
    site.call("float_conv_transposed", {"out": layer.channels(np.ravel), "at": site.source.window(at)}, site.x(layer.data))


def matmul(site: Site, kind: BatchMatMul) -> None:
    """BATCH_MATMUL."""
    site.call("float_matmul", matrices(site, kind), site.x(0), site.x(1))


def by_fours(weight: Floats[np.ndarray, "outputs *inputs"]) -> Floats[np.ndarray, "numbers"]:
    """The first input of four output channels, the next of each, and so on; outputs that are left over one by one."""
    rows = weight.reshape(len(weight), -1)
    whole = len(rows) // AT_ONCE * AT_ONCE
    blocks = rows[:whole].reshape(-1, AT_ONCE, rows.shape[1]).transpose(0, 2, 1)
    return np.concatenate([blocks.reshape(-1), rows[whole:].reshape(-1)])


def _all_by_fours(weight: np.ndarray) -> np.ndarray:
    """The same, where the last four channels are there once more instead of what would be left over."""
    whole = len(weight) // AT_ONCE * AT_ONCE
    return by_fours(weight if whole == len(weight) else np.concatenate([weight[:whole], weight[-AT_ONCE:]]))


@final
@dataclass(frozen=True, eq=False)
class _Layer:
    """An op with a constant weight: where it reads its input, and ``axis``, along which its output channels lie."""

    site: Site
    weight: np.ndarray
    axis: int
    data: int
    bias: np.ndarray | None
    activation: Activation

    @staticmethod
    def of(site: Site, activation: Activation) -> _Layer:
        found = weighted(site.graph, site.op)
        if found is None or not found.is_constant:
            raise site.refused("its weight is computed at run time")
        bias = None if found.bias is None else found.bias.data
        return _Layer(site, found.values, found.axis, site.op.inputs.index(found.data.id), bias, activation)

    @property
    def shape(self) -> Shape:
        """Of the input."""
        return self.site.shape(self.data)

    def run_dense(self, rows: int) -> None:
        fields = {"out": self.channels(by_fours), "inputs": self.weight[0].size, "outputs": len(self.weight)}
        self.site.call("float_dense", fields, str(rows), self.site.x_row(self.data))

    def run_windows(self, kernel: str, at: tuple[int, ...], lay: Lay) -> None:
        fields = {"out": self.channels(lay), "at": self.site.source.window(at)}
        self.site.call(kernel, fields, self.site.rows(self.data), self.site.x(self.data))

    def run_grouped(self, at: tuple[int, ...], group_in: int, group_out: int) -> None:
        out = self.channels(lambda w: np.ascontiguousarray(np.moveaxis(w, self.axis, 0)))
        fields = {"out": out, "at": self.site.source.window(at), "group_in": group_in, "group_out": group_out}
        self.site.call("float_conv_grouped", fields, self.site.rows(self.data), self.site.x(self.data))

    def channels(self, lay: Lay) -> str:
        """The initializer of the weights, in the order of ``lay``, the biases and the ends of the activation."""
        source, about, outputs = self.site.source, f"of {self.site.about}", self.weight.shape[self.axis]
        bias = np.zeros(outputs, np.float32) if self.bias is None else self.bias
        weights = source.array(np.asarray(lay(self.weight), np.float32), f"weights {about}")
        biases = source.array(np.asarray(bias, np.float32), f"biases {about}")
        return f"{{{weights}, {biases}, {bounds(*self.site.clamp(self.activation))}}}"

"""Convolutions, dense layers and matrix products in C."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Final, TypeAlias, final

import numpy as np
import torch

from intact.deploy.c.packing import AT_ONCE, DEPTHWISE_AT_ONCE, Packing, interleaved, packing
from intact.deploy.c.positions import LOOPS, Nest
from intact.deploy.c.site import ARITHMETIC, Site
from intact.deploy.c.source import designated
from intact.deploy.c.stripes import Reach
from intact.network.weighted import weighted
from intact.numbers import fixed_point as fixed
from intact.numbers.affine import Affine, limits
from intact.numbers.arithmetic import Output
from intact.ops.base import Padding, same_padding
from intact.ops.call import Activation, Shape
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.matmul import BatchMatMul, FullyConnected

#: Brings a weight into the order in which a kernel reads it.
Lay: TypeAlias = Callable[[np.ndarray], np.ndarray]

#: Where a window's output channels stand among its numbers.
_OUT_C: Final = 5
#: Bytes that the code of dense layers takes at least, and sizes from which a window's numbers take two bytes.
_DENSE_CODE: Final = 300
_FEW: Final = 256
#: Bytes of a run on the core, and of stack that the kernel of windows may take for what it lists and brings together.
_RUN: Final = 8
_BUFFERS: Final = 1280


def dense(site: Site, kind: FullyConnected) -> None:
    """FULLY_CONNECTED."""
    layer = _Layer.of(site, kind.activation)
    (outputs, inputs), rows = layer.weight.shape, prod(layer.shape) // layer.weight.shape[1]
    again = -outputs % AT_ONCE * inputs
    if (
        "conv" in site.source.kernels
        and inputs % 4 == 0
        and outputs >= AT_ONCE
        and again < _DENSE_CODE
        and max(inputs, rows) < _FEW
    ):
        layer.run_conv((rows, 1, inputs, rows, 1, outputs, 1, 1, 1, 1, 1, 1, 0, 0), inputs, f"(row_range){{0, {rows}, {rows}}}")
    else:
        layer.run_dense(rows)


def conv(site: Site, kind: Conv2D) -> None:
    """CONV_2D; of a kernel of 1 x 1 that skips nothing, a dense layer for each pixel."""
    layer = _Layer.of(site, kind.activation)
    x, w = layer.shape, layer.weight
    groups = x[3] // w.shape[3]
    at = window(x, site.made_shape(), w.shape[1:3], kind.stride, kind.padding, kind.dilation)
    if groups == 1 and len(w) >= AT_ONCE and w.shape[1:3] == (1, 1) and kind.stride == (1, 1):
        layer.run_dense(site.count // len(w))
    elif groups == 1 and len(w) >= AT_ONCE and _has_buffers(site, kind, w):
        layer.run_conv(at, w[0].size if w.shape[3] % 4 else w.shape[3], site.rows(layer.data))
    else:
        layer.run_grouped(at, w.shape[3], len(w) // groups)


def _has_buffers(site: Site, kind: Conv2D, w: np.ndarray) -> bool:
    """Whether the stack holds what the kernel of windows lists and brings together for a weight; if so, it is made so large."""
    of_row = w.shape[2] if kind.padding == "same" or kind.dilation[1] != 1 else 1
    needed = {
        "INTACT_RUNS": w.shape[1] * of_row,
        "INTACT_GATHERED": w[0].size if w.shape[3] % 4 else 1,
        "INTACT_PADDING": w.shape[3] if kind.padding == "same" else 1,
    }
    held = {name: max(size, site.source.sizes.get(name, 1)) for name, size in needed.items()}
    if sum(size * (_RUN if name == "INTACT_RUNS" else 1) for name, size in held.items()) > _BUFFERS:
        return False
    for name, size in held.items():
        site.source.at_least(name, size)
    return True


def depthwise(site: Site, kind: DepthwiseConv2D) -> None:
    """DEPTHWISE_CONV_2D."""
    layer = _Layer.of(site, kind.activation)
    x, w = layer.shape, layer.weight
    at = window(x, site.made_shape(), w.shape[1:3], kind.stride, kind.padding, kind.dilation)
    if w.shape[3] == x[3]:
        layer.run_depthwise(at)
    else:
        layer.run_grouped(at, 1, w.shape[3] // x[3])


def of_windows(site: Site, kind: Conv2D | DepthwiseConv2D) -> Reach | None:
    """The rows of the input that a row of the output is made of."""
    found = weighted(site.graph, site.op)
    if found is None or not found.is_constant:
        return None
    taps = (site.shapes[found.weight.id][1] - 1) * kind.dilation[0] + 1
    return reach(site.shapes[found.data.id][1], taps, kind.stride[0], kind.padding)


def transposed(site: Site, kind: TransposeConv) -> None:
    """TRANSPOSE_CONV."""
    site.require_one_image()
    layer = _Layer.of(site, kind.activation)
    at = window(layer.shape, site.made_shape(), layer.weight.shape[1:3], kind.stride, kind.padding, padded=site.made_shape())
    # How many taps reach a pixel is not the same everywhere: the kernel subtracts the zero point by itself.
    layer.run_windows("conv_transposed", at, np.ravel, folds=False)


def matmul(site: Site, kind: BatchMatMul) -> None:
    """BATCH_MATMUL of two activations."""
    site.require("int8")
    out = site.output()
    multiplier, shift = fixed.q31(ARITHMETIC.of_matmul(site.affine(0), site.affine(1), out))
    fields = {
        **matrices(site, kind),
        "zero_a": site.affine(0).zero_point[0],
        "zero_b": site.affine(1).zero_point[0],
        **site.ends(out),
        "multiplier": int(multiplier),
        "shift": int(shift),
    }
    site.call("matmul", fields, site.x(0), site.x(1))


def matrices(site: Site, kind: BatchMatMul) -> dict[str, object]:
    """The loops over products of matrices, and how each is walked."""
    a, b, y = site.shape(0), site.shape(1), site.made_shape()
    starts = (torch.arange(0, prod(s), s[-1] * s[-2]).reshape(s[:-2]).expand(y[:-2]).reshape(-1).numpy() for s in (a, b))
    nest = Nest.of(np.stack(list(starts)))
    if nest is None or len(nest.loops) > LOOPS:
        raise site.refused("its batches broadcast in too many loops")
    a_row, a_step = (1, a[-1]) if kind.adj_x else (a[-1], 1)
    b_column, b_step = (b[-1], 1) if kind.adj_y else (1, b[-1])
    return {
        "loops": site.source.loops(nest.loops, site.about),
        "rows": y[-2],
        "columns": y[-1],
        "count": a[-2] if kind.adj_x else a[-1],
        "a_row": a_row,
        "a_step": a_step,
        "b_column": b_column,
        "b_step": b_step,
    }


def window(  # noqa: PLR0913, PLR0917  # what a window is
    x: Shape,
    y: Shape,
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    padding: Padding,
    dilation: tuple[int, int] = (1, 1),
    *,
    padded: Shape = (),
) -> tuple[int, ...]:
    """The numbers of a window that takes ``x`` to ``y``; ``padded`` is the one of the two that has the padding, else x."""
    sizes = padded or x
    ends = [same_padding(sizes[1 + a], kernel[a], stride[a], dilation[a])[0] if padding == "same" else 0 for a in (0, 1)]
    return (*x[1:], *y[1:], *kernel, *stride, *dilation, *ends)


def reach(height: int, taps: int, stride: int, padding: Padding) -> Reach:
    """The rows that a window of ``taps`` rows reads of an input of ``height``."""
    return Reach(stride, taps, same_padding(height, taps, stride, 1)[0] if padding == "same" else 0)


@final
@dataclass(frozen=True, eq=False)
class _Layer:
    """An op with a constant weight: where it reads its input, and ``axis``, along which its output channels lie."""

    site: Site
    weight: np.ndarray
    axis: int
    data: int
    parameter: int
    bias: np.ndarray | None
    out: Output

    @staticmethod
    def of(site: Site, activation: Activation) -> _Layer:
        found = weighted(site.graph, site.op)
        if found is None or not found.is_constant:
            raise site.refused("its weight is computed at run time")
        site.require("int8")
        data, parameter = (site.op.inputs.index(t.id) for t in (found.data, found.weight))
        bias = None if found.bias is None else found.bias.data
        return _Layer(site, np.asarray(found.values, np.int8), found.axis, data, parameter, bias, site.output(activation))

    @property
    def shape(self) -> Shape:
        """Of the input."""
        return self.site.shape(self.data)

    @property
    def x(self) -> Affine:
        return self.site.affine(self.data)

    def run_dense(self, rows: int) -> None:
        outputs, inputs = len(self.weight), self.weight[0].size
        fields: dict[str, object] = {"inputs": inputs, "outputs": outputs, "step": outputs}
        small = packing(self.weight, inputs) if self.site.source.packs else None
        if small is None:
            fields["out"] = self._channels(partial(interleaved, row=inputs))
            self.site.call("dense", fields, str(rows), self.site.x_row(self.data))
            return
        fields |= {"out": self._channels(None), "outputs": AT_ONCE}
        self._run_packed("dense", fields, small, (str(rows), self.site.x_row(self.data)))

    def run_conv(self, at: Sequence[int], row: int, part: str) -> None:
        """CONV_2D of the output rows ``part`` by windows whose numbers come in rows of ``row``."""
        fields: dict[str, object] = {
            "at": self.site.source.window(at),
            "step": len(self.weight),
            "in_zero": self.x.zero_point[0],
        }
        arguments = (part, self.site.x(self.data))
        small = packing(self.weight, row) if self.site.source.packs else None
        if small is None:
            fields["out"] = self._channels(partial(interleaved, row=row, overlaps=True))
            self.site.call("conv", fields, *arguments)
            return
        # A block at a time: a network of four output channels, one after the other.
        fields |= {"out": self._channels(None), "at": self.site.source.window((*at[:_OUT_C], AT_ONCE, *at[_OUT_C + 1 :]))}
        self._run_packed("conv", fields, small, arguments)

    def run_depthwise(self, at: Sequence[int]) -> None:
        """DEPTHWISE_CONV_2D of one output channel for each of the input."""
        count = self.weight.shape[3]
        fields: dict[str, object] = {"at": self.site.source.window(at), "in_zero": self.x.zero_point[0], "count": count}
        arguments = (self.site.rows(self.data), self.site.x(self.data))
        by_channel, block = self.weight.reshape(-1, count).T, min(count, DEPTHWISE_AT_ONCE)
        small = packing(by_channel, 1, block) if self.site.source.packs else None
        if small is None:
            fields["out"] = self._channels(np.ravel)
            self.site.call("depthwise", fields, *arguments)
            return
        fields |= {"out": self._channels(None), "count": block}
        self._run_packed("depthwise", fields, small, (arguments[0], f"{arguments[1]} + channel"))

    def _run_packed(self, kernel: str, fields: Mapping[str, object], small: Packing, arguments: Sequence[str]) -> None:
        """Call the kernel on some channels after the other, whose weights are unpacked before."""
        site, source, outputs, block = self.site, self.site.source, self.weight.shape[self.axis], small.block
        source.need(kernel, "packed")
        numbers = self.weight.size // outputs
        source.scratch(block * numbers)
        held = {
            "indices": source.array(small.indices, f"packed weights of {site.about}"),
            "tables": source.array(small.tables, f"their numbers, of {site.about}"),
            "per_channel": small.tables.shape[1] if len(small.tables) > 1 else 0,
            "row": small.row,
            "rows": numbers // small.row,
            "bits": small.bits,
            "at_once": block,
        }
        address, of_weights = source.struct(kernel, fields, site.about), source.struct("packed", held, site.about)
        source.do(f"for (int32_t c = 0; c < {outputs}; c += {block}) {{")
        source.do(f"    const int32_t channel = c + {block} <= {outputs} ? c : {outputs - block};")
        source.do(f"    {kernel} some = *{address};")
        source.do(f"    unpack({of_weights}, c / {block}, channel, scratch);")
        source.do("    go_on(&some.out, scratch, channel);")
        source.do(f"    run_{kernel}(&some, {', '.join((*arguments, site.y()))} + channel);")
        source.do("}")

    def run_windows(self, kernel: str, at: Sequence[int], lay: Lay, *, folds: bool = True) -> None:
        fields = {"out": self._channels(lay, folds=folds), "at": self.site.source.window(at), "in_zero": self.x.zero_point[0]}
        part = (self.site.rows(self.data),) if folds else ()
        self.site.call(kernel, fields, *part, self.site.x(self.data))

    def run_grouped(self, at: Sequence[int], group_in: int, group_out: int) -> None:
        fields = {
            "out": self._channels(lambda w: np.ascontiguousarray(np.moveaxis(w, self.axis, 0))),
            "at": self.site.source.window(at),
            "in_zero": self.x.zero_point[0],
            "group_in": group_in,
            "group_out": group_out,
        }
        self.site.call("conv_grouped", fields, self.site.rows(self.data), self.site.x(self.data))

    def _channels(self, lay: Lay | None, *, folds: bool = True) -> str:
        """The initializer of what every channel ends with; ``lay`` brings the weight into the order that the kernel reads.

        None where the weight is unpacked as it is needed.

        ``folds``: what the zero point of the input adds is taken off the bias, the same for every position.
        """
        site, x, out, of_weight = self.site, self.x, self.out, self.site.affine(self.parameter)
        if any(of_weight.zero_point):
            raise site.refused("its weight has a zero point")
        weight, rows = self.weight, np.moveaxis(self.weight.astype(np.int64), self.axis, 0)
        rows = rows.reshape(len(rows), -1)
        bias = np.zeros(len(rows), np.int64) if self.bias is None else np.asarray(self.bias, np.int64).reshape(-1)
        taken = x.zero_point[0] if folds else 0
        bias = bias - taken * rows.sum(1)
        real = ARITHMETIC.of_product(x, of_weight, out)
        sums = _range_of_sums(rows, bias, *(end - x.zero_point[0] + taken for end in limits(x.dtype)))
        far = _may_overflow(sums, fixed.q31(real)[1].numpy())
        if far.any():
            made = ARITHMETIC.product(torch.from_numpy(sums), x, of_weight, out).numpy().astype(np.int64)
            if (made[0] != made[1])[far].any():
                raise site.refused("its sums of products may leave 32 bits")
            # Such a channel is constant, whatever the input: a weight of 0, and a bias that gives that number.
            weight, bias = weight.copy(), np.where(far, 2 * (made[0] - out.zero_point), bias)
            np.moveaxis(weight, self.axis, 0)[far] = 0
            real = np.where(far, 0.5, real)
        multiplier, shift = (v.numpy().reshape(-1) for v in fixed.q31(real))
        if (shift >= 0).any():
            site.source.at_least("INTACT_GROWS", 1)
        about = f"of {site.about}"
        fields: Mapping[str, object] = {
            "weight": "0" if lay is None else site.source.array(lay(weight).astype(np.int8), f"weights {about}"),
            "bias": site.source.array(bias.astype(np.int32), f"biases {about}"),
            "multiplier": site.source.array(multiplier.astype(np.int32), f"multipliers {about}"),
            "right": site.source.array((-1 - shift).astype(np.int8), f"shifts {about}"),
            "each": 0 if len(multiplier) == 1 else -1,
            **site.ends(out),
        }
        return designated(fields)


def _range_of_sums(rows: np.ndarray, bias: np.ndarray, low: int, high: int) -> np.ndarray:
    """The least and the most that each channel may sum to, [2, c], whatever numbers from ``low`` to ``high`` it reads."""
    above, below = np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1)
    return np.stack([bias + low * above + high * below, bias + high * above + low * below])


def _may_overflow(sums: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """By channel, whether something on the way to 8 bits may leave int32: the kernels rely on it that nothing does."""
    return np.asarray(np.ldexp(2.0 * np.abs(sums).max(0), np.maximum(shift, 0)) >= 2**31)

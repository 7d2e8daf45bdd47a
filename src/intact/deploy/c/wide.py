"""Layers of 16-bit activations in C: int8 weights, sums of 64 bits or 32, and what is looked up in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final, final

import numpy as np
import torch

from intact.deploy.c.packing import AT_ONCE, interleaved
from intact.deploy.c.positions import LOOPS, Nest
from intact.deploy.c.site import ARITHMETIC, Site
from intact.deploy.c.source import designated
from intact.deploy.c.weighted import window
from intact.network.weighted import weighted
from intact.numbers import fixed_point as fixed
from intact.numbers import interpolated
from intact.numbers.affine import limits
from intact.numbers.arithmetic import Output
from intact.ops.activation import Abs, LeakyRelu, Logistic, Relu, Softmax, Tanh
from intact.ops.call import Activation, Shape
from intact.ops.convolution import Conv2D, DepthwiseConv2D, TransposeConv
from intact.ops.matmul import BatchMatMul, FullyConnected
from intact.ops.quantization import Quantize

#: The largest sum of a channel's weights, signs aside, whose products with 16-bit numbers add up to 32 bits at most.
_SHORT: Final = 65535
#: Numbers of a window that are brought together at most: two bytes each, on the stack.
_GATHERED: Final = 512
#: The largest size that the kernels of windows count to.
_SIZE: Final = 2**15 - 1
#: Bits that a sum and its multiplier have together at most; powers of two that the multiplier stands for, from and to.
_BITS: Final = 62
_POWERS: Final = (-31, 7)
#: How far to the right a product of 15 bits may go to be the upper half of one of 64 bits.
_HIGHER: Final = (16, 32)
#: Where the second and third of four weights change places: the kernels take apart bytes 0 and 2, and 1 and 3.
_FOURS: Final = (0, 2, 1, 3)


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
    gathers = w.shape[3] % 4 != 0
    if groups != 1 or len(w) < AT_ONCE or not layer.is_short or (gathers and w[0].size > _GATHERED):
        layer.run_grouped(at, w.shape[3], len(w) // groups)
    elif w.shape[1:3] == (1, 1) and kind.stride == (1, 1):
        site.require_one_image()
        layer.run_dense(site.count // len(w))
    else:
        if gathers:
            site.source.at_least("INTACT_GATHERED_16", w[0].size)
        layer.run_windows("conv_16", at, by_fours(w, w[0].size if gathers else w.shape[2] * w.shape[3], overlaps=True))


def depthwise(site: Site, kind: DepthwiseConv2D) -> None:
    """DEPTHWISE_CONV_2D."""
    layer = _Layer.of(site, kind.activation)
    if not layer.is_wide:
        raise site.refused("its bias is int32, which the kernel of 16-bit numbers reads as int64")
    x, w = layer.shape, layer.weight
    at = window(x, site.made_shape(), w.shape[1:3], kind.stride, kind.padding, kind.dilation)
    if w.shape[3] == x[3] and layer.is_short:
        layer.run_windows("depthwise_16", at, w)
    else:
        layer.run_grouped(at, 1, w.shape[3] // x[3])


def transposed(site: Site, kind: TransposeConv) -> None:
    """TRANSPOSE_CONV."""
    site.require_one_image()
    layer = _Layer.of(site, kind.activation)
    if not layer.is_wide:
        raise site.refused("its bias is int32, which the kernel of 16-bit numbers reads as int64")
    at = window(layer.shape, site.made_shape(), layer.weight.shape[1:3], kind.stride, kind.padding, padded=site.made_shape())
    fields = {"out": layer.channels(layer.weight), "at": site.source.window(at)}
    site.call("conv_transposed_16", fields, site.x(layer.data))


def matmul(site: Site, kind: BatchMatMul) -> None:
    """BATCH_MATMUL of two activations."""
    site.require("int16")
    a, b, y, out = site.shape(0), site.shape(1), site.made_shape(), site.output()
    starts = (torch.arange(0, prod(s), s[-1] * s[-2]).reshape(s[:-2]).expand(y[:-2]).reshape(-1).numpy() for s in (a, b))
    nest = Nest.of(np.stack(list(starts)))
    if nest is None or len(nest.loops) > LOOPS:
        raise site.refused("its batches broadcast in too many loops")
    count = a[-2] if kind.adj_x else a[-1]
    real = ARITHMETIC.of_matmul(site.affine(0), site.affine(1), out)
    multiplier, right = of_15_bits(site, real, np.asarray([count << 30]))
    a_row, a_step = (1, a[-1]) if kind.adj_x else (a[-1], 1)
    b_column, b_step = (b[-1], 1) if kind.adj_y else (1, b[-1])
    fields = {
        "loops": site.source.loops(nest.loops, site.about),
        "rows": y[-2],
        "columns": y[-1],
        "count": count,
        "a_row": a_row,
        "a_step": a_step,
        "b_column": b_column,
        "b_step": b_step,
        **_ends(out),
        "multiplier": int(multiplier[0]),
        "right": int(right[0]),
    }
    site.call("matmul_16", fields, site.x(0), site.x(1))


def scaled(site: Site, kind: Relu | LeakyRelu | Abs) -> None:
    """RELU, LEAKY_RELU and ABS."""
    site.require("int16")
    x, out = site.affine(0), site.output("relu" if isinstance(kind, Relu) else "none")
    alpha = float(np.float32(kind.alpha)) if isinstance(kind, LeakyRelu) else 1.0
    above = ARITHMETIC.ratio(x.scale[0], over=out.scale)
    below = ARITHMETIC.ratio(x.scale[0], abs(alpha), over=out.scale)
    fields = {
        **site.rescaled(above, 1 << 15),
        **site.rescaled(below, 1 << 15, "_below"),
        "sign_x": -1 if kind.name == "ABS" else 1,
        "sign_y": -1 if alpha < 0 else 1,
        **_ends(out),
    }
    _run_each(site, "scaled_16", "scaled_16", fields)


def convert(site: Site, kind: Quantize) -> None:
    """QUANTIZE where either side has 16 bits."""
    del kind
    x, out = site.affine(0), site.output()
    bits = [fmt.dtype.removeprefix("int") for fmt in (x, out.format)]
    site.require("int8", "int16")
    largest = max(abs(end - x.zero_point[0]) for end in limits(x.dtype))
    ratio = np.asarray(x.scale[0] / out.scale)
    fields = {"zero_x": x.zero_point[0], **site.ends(out), **site.rescaled(ratio, largest)}
    _run_each(site, "convert", f"convert_{bits[0]}_to_{bits[1]}", fields)


def sigmoid(site: Site, kind: Logistic | Tanh) -> None:
    """LOGISTIC and TANH."""
    site.require("int16")
    if not np.isclose(site.output().scale, 2.0**-15):
        raise site.refused("its output is not in steps of 1/32768")
    powers = interpolated.LOGISTIC_POWERS if kind.name == "LOGISTIC" else interpolated.TANH_POWERS
    argument = interpolated.Argument.of(site.affine(0).scale[0], powers)
    _run_each(site, "sigmoid_16", f"{kind.name.lower()}_16", sigmoid_fields(site, argument))


def sigmoid_fields(site: Site, argument: interpolated.Argument) -> Mapping[str, object]:
    """How stored numbers are looked up in the table of the logistic function."""
    if (argument.multiplier << 15) + argument.half >= 1 << 31:
        raise site.refused("the scale of its input is too large to be looked up")
    return {
        "table": site.source.array(interpolated.sigmoid_table(), "the logistic function"),
        "multiplier": argument.multiplier,
        "half": argument.half,
        "right": argument.right,
    }


def softmax(site: Site, kind: Softmax) -> None:
    """SOFTMAX."""
    site.require("int16")
    shape = site.shape(0)
    if not np.isclose(site.output().scale, 2.0**-15):
        raise site.refused("its output is not in steps of 1/32768")
    if shape[-1] > _SHORT:
        raise site.refused(f"the sum of {shape[-1]} numbers may leave 32 bits")
    fields = {
        "exp": site.source.array(interpolated.exp_table(), "exp"),
        "inverse": site.source.array(interpolated.inverse_table(), "1 / (1 + x)"),
        "rows": prod(shape[:-1]),
        "count": shape[-1],
        **site.rescaled(interpolated.of_softmax(site.affine(0).scale[0], kind.beta), _SHORT),
    }
    site.call("softmax_16", fields, site.x(0))


def _run_each(site: Site, kernel: str, function: str, fields: Mapping[str, object]) -> None:
    """Call a function of ``kernel`` that makes each number of the same number of its input."""
    site.source.need(kernel)
    address = site.source.struct(kernel, fields, site.about)
    site.source.do(f"run_{function}({address}, {site.count}, {site.x_row(0)}, {site.y()});")


def _ends(out: Output) -> dict[str, object]:
    low, high = ARITHMETIC.limits(out)
    return {"low": low, "high": high}


def by_fours(weight: np.ndarray, row: int, *, overlaps: bool = False) -> np.ndarray:
    """Weights [outputs, ...inputs] in the kernels' order: as those of 8-bit activations, fours of inputs by :data:`_FOURS`."""
    rows, quads = weight.reshape(len(weight), -1, row).copy(), row // 4 * 4
    fours = rows[:, :, :quads].reshape(*rows.shape[:2], -1, 4)
    rows[:, :, :quads] = fours[..., _FOURS].reshape(*rows.shape[:2], quads)
    return interleaved(rows.reshape(len(rows), -1), row, overlaps=overlaps)


def of_15_bits(site: Site, real: np.ndarray, largest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers of 15 bits and how far to the right their products go, of sums of at most ``largest``."""
    multiplier, power = (v.numpy().reshape(-1) for v in fixed.q31(real))
    short = fixed.short(torch.from_numpy(multiplier)).numpy()
    below, above = _POWERS
    if (power < below).any() or (power > above).any():
        raise site.refused("the scales of its weights and of its output are too far apart")
    if (np.frexp(largest.astype(np.float64) * short)[1] > _BITS).any() or (largest * np.ldexp(1.0, power) >= 2.0**31).any():
        raise site.refused("its sums of products may leave 64 bits, or their result 32")
    return short.astype(np.int32), (15 - power).astype(np.int8)


def initializer(  # noqa: PLR0913  # what a channel ends with
    site: Site,
    laid: np.ndarray,
    bias: np.ndarray,
    scaled: tuple[np.ndarray, np.ndarray],
    largest: np.ndarray | None,
    *,
    ends: tuple[int, int],
    each: int = -1,
    is_narrow: bool = False,
) -> str:
    """The initializer of what channels of 16-bit numbers end with, the weight ``laid`` as the kernel reads it.

    ``largest``: their sums at most, where the kernel takes sums of 32 bits; None: of 64. ``each``: what of a channel's number
    tells its multiplier.
    """
    (multiplier, shift), about = scaled, f"of {site.about}"
    is_one_product = (
        largest is not None
        and bool((largest < 2.0**31).all())
        and bool((shift >= _HIGHER[0]).all() and (shift <= _HIGHER[1]).all())
    )
    fields: dict[str, object] = {"weight": site.source.array(np.ascontiguousarray(laid).reshape(-1), f"weights {about}")}
    if is_one_product:
        multiplier = multiplier << (32 - shift.astype(np.int32))
        fields["bias"] = site.source.array(bias.astype(np.int32), f"biases {about}")
    else:
        fields["wide_bias"] = site.source.array(bias, f"biases {about}")
        fields["shift"] = site.source.array(shift, f"shifts {about}")
    fields |= {
        "multiplier": site.source.array(multiplier, f"multipliers {about}"),
        "each": 0 if len(multiplier) == 1 else each,
        "is_narrow": "true" if is_narrow else "false",
        "low": ends[0],
        "high": ends[1],
    }
    return designated(fields)


def summed(rows: np.ndarray) -> bool:
    """Whether products of every row of weights with 16-bit numbers add up to 32 bits, whatever these are."""
    return bool((np.abs(rows).sum(1) <= _SHORT).all())


@final
@dataclass(frozen=True, eq=False)
class _Layer:
    """An op with a constant weight: where it reads its input, and ``axis``, along which its output channels lie.

    ``is_wide``: sums have 64 bits, as its bias has, or none is there.
    """

    site: Site
    weight: np.ndarray
    axis: int
    data: int
    parameter: int
    bias: np.ndarray
    out: Output

    @staticmethod
    def of(site: Site, activation: Activation) -> _Layer:
        found = weighted(site.graph, site.op)
        if found is None or not found.is_constant:
            raise site.refused("its weight is computed at run time")
        site.require("int16")
        if found.weight.format.dtype != "int8":
            raise site.refused(f"its weight is {found.weight.format.dtype} beside activations of 16 bits")
        data, parameter = (site.op.inputs.index(t.id) for t in (found.data, found.weight))
        if any(site.affine(parameter).zero_point):
            raise site.refused("its weight has a zero point")
        channels = found.values.shape[found.axis]
        bias = np.zeros(channels, np.int64) if found.bias is None else np.asarray(found.bias.data, np.int64).reshape(-1)
        return _Layer(site, np.asarray(found.values, np.int8), found.axis, data, parameter, bias, site.output(activation))

    @property
    def shape(self) -> Shape:
        """Of the input."""
        return self.site.shape(self.data)

    @property
    def is_wide(self) -> bool:
        return self.out.wide

    @property
    def rows(self) -> np.ndarray:
        """Weights by output channel."""
        return np.moveaxis(self.weight.astype(np.int64), self.axis, 0).reshape(len(self.bias), -1)

    @property
    def is_short(self) -> bool:
        """Whether all products of a channel add up to 32 bits, whatever it reads."""
        return summed(self.rows)

    def run_dense(self, rows: int) -> None:
        outputs, inputs = len(self.weight), self.weight[0].size
        if not self.is_short:
            whole = (1, rows, inputs, 1, rows, outputs, 1, 1, 1, 1, 1, 1, 0, 0)  # a convolution of so many pixels in a row
            self._grouped(whole, inputs, outputs, "(row_range){0, 1, 1}", self.site.x_row(self.data))
            return
        fields = {"out": self.channels(by_fours(self.weight, inputs), sums_here=True), "inputs": inputs, "outputs": outputs}
        self.site.call("dense_16", fields, str(rows), self.site.x_row(self.data))

    def run_windows(self, kernel: str, at: Sequence[int], laid: np.ndarray) -> None:
        fields = {"out": self.channels(laid, sums_here=True), "at": self.site.source.window(at)}
        self.site.call(kernel, fields, self.site.rows(self.data), self.site.x(self.data))

    def run_grouped(self, at: Sequence[int], group_in: int, group_out: int) -> None:
        self._grouped(at, group_in, group_out, self.site.rows(self.data), self.site.x(self.data))

    def _grouped(self, at: Sequence[int], group_in: int, group_out: int, *arguments: str) -> None:
        if max(at) > _SIZE:
            raise self.site.refused(f"a layer of {max(at)} numbers whose products leave 32 bits has no kernel")
        laid = np.moveaxis(self.weight, self.axis, 0)
        fields = {"out": self.channels(laid), "at": self.site.source.window(at), "group_in": group_in, "group_out": group_out}
        self.site.call("conv_grouped_16", fields, *arguments)

    def channels(self, laid: np.ndarray, *, sums_here: bool = False) -> str:
        """The initializer of what every channel ends with, the weight ``laid`` as the kernel reads it.

        ``sums_here``: the kernel takes biases and sums of 32 bits, where these hold them.
        """
        site, out = self.site, self.out
        real = ARITHMETIC.of_product(site.affine(self.data), site.affine(self.parameter), out)
        largest = ((np.abs(self.rows).sum(1) << 15).astype(object) + np.abs(self.bias.astype(object))).astype(np.float64)
        if not self.is_wide:
            scaled = self._narrow(real, largest)
            return initializer(site, laid, self.bias, scaled, None, ends=ARITHMETIC.limits(out), is_narrow=True)
        scaled, held = of_15_bits(site, real, largest), largest if sums_here else None
        return initializer(site, laid, self.bias, scaled, held, ends=ARITHMETIC.limits(out))

    def _narrow(self, real: np.ndarray, largest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Multipliers of 31 bits and their powers of two, of sums of 32 bits."""
        multiplier, shift = (v.numpy().reshape(-1) for v in fixed.q31(real))
        if (np.ldexp(largest, np.maximum(shift, 0)) >= 2.0**31).any():
            raise self.site.refused("its sums of products may leave 32 bits")
        return multiplier.astype(np.int32), shift.astype(np.int8)

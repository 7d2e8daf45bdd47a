"""Sums, extremes, windows and softmax in C."""

from __future__ import annotations

from math import prod
from typing import Final

import numpy as np
import torch

from intact.deploy.c.positions import LOOPS, Nest
from intact.deploy.c.site import ARITHMETIC, Site
from intact.deploy.c.stripes import Reach
from intact.deploy.c.weighted import reach, window
from intact.numbers import fixed_point as fixed
from intact.numbers.affine import limits
from intact.ops.activation import L2Normalization, LogSoftmax, Softmax
from intact.ops.pooling import AveragePool2D, MaxPool2D
from intact.ops.reduction import ArgMax, ArgMin, Mean, ReduceMax, ReduceMin, Sum
from intact.ops.resize import ResizeBilinear

#: Numbers along an axis whose squares, of 255 at most, stay within 32 bits.
_SQUARES: Final = (2**31 - 1) // 255**2
#: Numbers of 16 bits whose sum, and half as many more, stay within 32 bits.
_WINDOW: Final = 2**16 - 2


def mean(site: Site, kind: Mean) -> None:
    """MEAN."""
    del kind
    outer, inner, summed = nests(site)
    _total(site, outer, inner, ARITHMETIC.of_mean(summed, site.affine(0), site.output()))


def total(site: Site, kind: Sum) -> None:
    """SUM."""
    del kind
    outer, inner, _ = nests(site)
    _total(site, outer, inner, fixed.q31(ARITHMETIC.of_total(site.affine(0), site.output())))


def extreme(site: Site, kind: ReduceMax | ReduceMin) -> None:
    """REDUCE_MAX and REDUCE_MIN."""
    site.require("int8")
    site.require_alike(0)
    run_extreme(site, kind, "reduce_extreme")


def run_extreme(site: Site, kind: ReduceMax | ReduceMin, kernel: str) -> None:
    """Call a kernel of REDUCE_MAX and REDUCE_MIN, whatever numbers it is for."""
    outer, inner, _ = nests(site)
    site.source.need(kernel)
    loops = [site.source.loops(nest.loops, site.about) for nest in (outer, inner)]
    which = "true" if kind.name == "REDUCE_MAX" else "false"
    site.source.do(f"run_{kernel}({loops[0]}, {loops[1]}, {which}, {site.x(0)}, {site.y()});")


def arg(site: Site, kind: ArgMax | ArgMin) -> None:
    """ARG_MAX and ARG_MIN."""
    site.require("int8", "int32")
    run_arg(site, kind, "arg")


def run_arg(site: Site, kind: ArgMax | ArgMin, kernel: str) -> None:
    """Call a kernel of ARG_MAX and ARG_MIN, whatever numbers it is for."""
    outer, inner, size = nests(site)
    step = inner.loops[0][1][0] if inner.loops else 0
    site.source.need(kernel)
    which = "true" if kind.name == "ARG_MAX" else "false"
    loops = site.source.loops(outer.loops, site.about)
    site.source.do(f"run_{kernel}({loops}, {size}, {step}, {which}, {site.x(0)}, {site.y()});")


def pool(site: Site, kind: AveragePool2D | MaxPool2D) -> None:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    kernel = site.sized("pool")
    site.require_alike(0)
    if prod(kind.filter) > _WINDOW:
        raise site.refused(f"the sum of {prod(kind.filter)} numbers may leave 32 bits")
    low, high = ARITHMETIC.limits(site.output(kind.activation))
    at = site.source.window(window(site.shape(0), site.made_shape(), kind.filter, kind.stride, kind.padding))
    which = "true" if kind.name == "MAX_POOL_2D" else "false"
    site.call(kernel, {"at": at, "low": low, "high": high}, which, site.rows(0), site.x(0))


def of_windows(site: Site, kind: AveragePool2D | MaxPool2D) -> Reach:
    """The rows of the input that a row of the output is made of."""
    return reach(site.shape(0)[1], kind.filter[0], kind.stride[0], kind.padding)


def softmax(site: Site, kind: Softmax) -> None:
    """SOFTMAX."""
    fields = _differences(site, fixed.Differences.of(kind.beta * site.affine(0).scale[0]))
    site.call("softmax", fields | site.ends(site.output()), site.x(0))


def log_softmax(site: Site, kind: LogSoftmax) -> None:
    """LOG_SOFTMAX."""
    del kind
    scale = fixed.Differences.of(site.affine(0).scale[0])
    multiplier, shift = scale.per_raw
    fields = {"back_multiplier": int(multiplier), "back_shift": int(shift)}
    site.call("log_softmax", _differences(site, scale) | fields, site.x(0))


def l2_normalization(site: Site, kind: L2Normalization) -> None:
    """L2_NORMALIZATION."""
    del kind
    site.require("int8")
    shape, zero = site.shape(0), site.affine(0).zero_point[0]
    if shape[-1] > _SQUARES:
        raise site.refused(f"the squares of {shape[-1]} numbers may leave 32 bits")
    site.source.need("l2_normalization")
    site.source.do(f"run_l2_normalization({zero}, {prod(shape[:-1])}, {shape[-1]}, {site.x(0)}, {site.y()});")


def resize_bilinear(site: Site, kind: ResizeBilinear) -> None:
    """RESIZE_BILINEAR."""
    site.require("int8")
    site.require_alike(0)
    site.require_one_image()
    x, y = site.shape(0), site.made_shape()
    tables = dict[str, object]()
    for axis, of in ((1, "rows"), (2, "columns")):
        low, high, part, _ = ARITHMETIC.positions(x[axis], y[axis], kind.align_corners, kind.half_pixel_centers)
        places = torch.stack([low, high, part], 1).numpy().astype(np.int16)
        tables[of] = site.source.array(places, f"{of} of {site.about}")
    fields = tables | {"in_w": x[2], "channels": x[3], "out_h": y[1], "out_w": y[2]}
    site.call("resize_bilinear", fields, site.x(0))


def _differences(site: Site, scale: fixed.Differences) -> dict[str, object]:
    site.require("int8")
    shape = site.shape(0)
    return {
        "rows": prod(shape[:-1]),
        "count": shape[-1],
        "multiplier": int(scale.multiplier),
        "shift": scale.bits,
        "radius": scale.radius,
    }


def nests(site: Site) -> tuple[Nest, Nest, int]:
    """Loops over outputs and where in the input each begins; loops over what one of them sums; how many that are."""
    shape = site.shape(0)
    axes = {int(a) % len(shape) for a in np.asarray(site.data(1)).reshape(-1)}
    kept = [a for a in range(len(shape)) if a not in axes]
    positions = torch.arange(prod(shape)).reshape(shape).permute(*kept, *sorted(axes))
    table = positions.reshape(prod(tuple(shape[a] for a in kept)), -1).numpy()
    outer = Nest.of(table[None, :, 0])
    inner = Nest.of(table[:1] - table[0, 0])
    if outer is None or inner is None:
        raise TypeError("axes are loops")
    if max(len(outer.loops), len(inner.loops)) > LOOPS:
        raise site.refused(f"it has {max(len(outer.loops), len(inner.loops))} loops")
    return outer, inner, table.shape[1]


def _total(site: Site, outer: Nest, inner: Nest, scaled: tuple[torch.Tensor, torch.Tensor]) -> None:
    kernel, zero, out = site.sized("total"), site.affine(0).zero_point[0], site.output()
    multiplier, shift = (int(v) for v in scaled)
    most = prod(count for count, _ in inner.loops) * max(abs(end - zero) for end in limits(site.affine(0).dtype))
    if most << max(shift, 0) >= 1 << 31:
        raise site.refused("its sums may leave 32 bits")
    fields = {
        "outer": site.source.loops(outer.loops, site.about),
        "inner": site.source.loops(inner.loops, site.about),
        **({"zero_x": zero, "zero": out.zero_point} if kernel == "total" else {}),
        **dict(zip(("low", "high"), ARITHMETIC.limits(out), strict=True)),
        "multiplier": multiplier,
        "shift": shift,
    }
    site.call(kernel, fields, site.x(0))

"""Functions of one number and of two, sums, extremes, windows and softmax in float32, in C."""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from intact.deploy.c.elementwise import walk
from intact.deploy.c.reductions import nests, run_arg, run_extreme
from intact.deploy.c.site import Site
from intact.deploy.c.source import bounds, real_literal
from intact.deploy.c.weighted import window
from intact.ops.activation import Gelu, LeakyRelu, LogSoftmax, Relu, Relu0To1, Relu6, ReluN1To1, Softmax
from intact.ops.base import OpKind
from intact.ops.call import Activation
from intact.ops.elementwise import Add, Mul, Sub
from intact.ops.pooling import AveragePool2D, MaxPool2D
from intact.ops.reduction import ArgMax, ArgMin, Mean, ReduceMax, ReduceMin, Sum
from intact.ops.resize import ResizeBilinear


def mapped(site: Site, kind: OpKind) -> None:
    """A function of one number, whose kernel is called like the op."""
    _map(site, kind.name.lower())


def gelu(site: Site, kind: Gelu) -> None:
    """GELU, exact or approximated."""
    _map(site, "gelu_tanh" if kind.approximate else "gelu")


def leaky_relu(site: Site, kind: LeakyRelu) -> None:
    """LEAKY_RELU."""
    _map(site, "leaky_relu", f"{real_literal(float(kind.alpha))}, ")


def clip(site: Site, kind: Relu | Relu6 | Relu0To1 | ReluN1To1) -> None:
    """RELU and its kin."""
    names: dict[str, Activation] = {
        "RELU": "relu",
        "RELU6": "relu6",
        "RELU_0_TO_1": "relu_0_to_1",
        "RELU_N1_TO_1": "relu_n1_to_1",
    }
    site.source.need("float_clip")
    ends = site.source.table("bounds", [bounds(*site.clamp(names[kind.name]))], site.about)
    _map(site, "clip", f"{ends}, ")


def pairs(site: Site, kind: OpKind) -> None:
    """A function of two numbers, whose kernel is called like the op."""
    _pairs(site, kind.name.lower(), "none")


def activated_pairs(site: Site, kind: Add | Sub | Mul) -> None:
    """The same with an activation."""
    _pairs(site, kind.name.lower(), kind.activation)


def mean(site: Site, kind: Mean) -> None:
    """MEAN."""
    del kind
    _total(site, 1 / max(nests(site)[2], 1))


def total(site: Site, kind: Sum) -> None:
    """SUM."""
    del kind
    _total(site, 1.0)


def extreme(site: Site, kind: ReduceMax | ReduceMin) -> None:
    """REDUCE_MAX and REDUCE_MIN."""
    run_extreme(site, kind, "float_reduce_extreme")


def arg(site: Site, kind: ArgMax | ArgMin) -> None:
    """ARG_MAX and ARG_MIN."""
    site.require("float32", "int32")
    run_arg(site, kind, "float_arg")


def pool(site: Site, kind: AveragePool2D | MaxPool2D) -> None:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    at = site.source.window(window(site.shape(0), site.made_shape(), kind.filter, kind.stride, kind.padding))
    which = "true" if kind.name == "MAX_POOL_2D" else "false"
    fields = {"at": at, "ends": bounds(*site.clamp(kind.activation))}
    site.call("float_pool", fields, which, site.rows(0), site.x(0))


def softmax(site: Site, kind: Softmax) -> None:
    """SOFTMAX."""
    _along_rows(site, "softmax", f"{real_literal(float(kind.beta))}, ")


def log_softmax(site: Site, kind: LogSoftmax) -> None:
    """LOG_SOFTMAX."""
    _along_rows(site, kind.name.lower())


def l2_normalization(site: Site, kind: OpKind) -> None:
    """L2_NORMALIZATION."""
    _along_rows(site, kind.name.lower())


def resize_bilinear(site: Site, kind: ResizeBilinear) -> None:
    """RESIZE_BILINEAR."""
    site.require_one_image()
    x, y = site.shape(0), site.made_shape()
    tables = dict[str, object]()
    for axis, of in ((1, "rows"), (2, "columns")):
        # Of numbers that are their own places, what lies between two is its own place too.
        places = torch.arange(x[axis], dtype=torch.float64).reshape([-1 if a == axis else 1 for a in range(4)])
        size = torch.tensor([y[a] if a == axis else 1 for a in (1, 2)])
        at = kind.compute(places, size).reshape(-1).numpy()
        before = np.floor(at)
        both = np.stack([before, np.minimum(before + 1, x[axis] - 1)], 1)
        tables[of] = site.source.array(both.astype(np.int16), f"{of} of {site.about}")
        tables[f"past_{of}"] = site.source.array((at - before).astype(np.float32), f"{of} of {site.about}")
    site.call("float_resize_bilinear", tables | {"in_w": x[2], "channels": x[3], "out_h": y[1], "out_w": y[2]}, site.x(0))


def _map(site: Site, name: str, first: str = "") -> None:
    site.source.need(f"float_{name}")
    site.source.do(f"run_float_{name}({first}{site.x_row(0)}, {site.count}, {site.y()});")


def _pairs(site: Site, name: str, activation: Activation) -> None:
    site.source.need(f"float_{name}")
    address = site.source.struct("float_pairs", {**walk(site), "ends": bounds(*site.clamp(activation))}, site.about)
    site.source.do(f"run_float_{name}({address}, {site.x_row(0)}, {site.x_row(1)}, {site.y()});")


def _total(site: Site, factor: float) -> None:
    outer, inner, _ = nests(site)
    loops = {name: site.source.loops(nest.loops, site.about) for name, nest in (("outer", outer), ("inner", inner))}
    site.call("float_total", {**loops, "factor": real_literal(factor)}, site.x(0))


def _along_rows(site: Site, name: str, first: str = "") -> None:
    shape = site.shape(0)
    site.source.need(f"float_{name}")
    site.source.do(f"run_float_{name}({first}{prod(shape[:-1])}, {shape[-1]}, {site.x(0)}, {site.y()});")

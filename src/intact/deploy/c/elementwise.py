"""Functions of one number and of two, in C."""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from intact.deploy.c.positions import LOOPS, Nest
from intact.deploy.c.site import ARITHMETIC, Site
from intact.deploy.c.stripes import Reach
from intact.network.arena import itemsize
from intact.numbers import fixed_point as fixed
from intact.numbers.affine import limits
from intact.numbers.arithmetic import every_value
from intact.numbers.reference_kernels import ADDEND_BITS
from intact.ops.activation import PRelu
from intact.ops.base import OpKind
from intact.ops.call import Call
from intact.ops.elementwise import Add, Maximum, Minimum, Mul, SquaredDifference, Sub
from intact.ops.logic import SelectV2

#: Bits that numbers whose difference is squared get below their common unit.
_DIFFERENCES = 7


def look_up(site: Site, kind: OpKind) -> None:
    """A function of one number of 8 bits, as a table of all 256."""
    site.require("int8", "uint8")
    fmt, out = site.affine(0), site.output().format
    (made,) = kind.compute_integers(Call((every_value(fmt).to(getattr(torch, fmt.dtype)),), (fmt,), (out,), ARITHMETIC))
    # The table is read by the bits of a number: of int8 the half above zero comes first.
    table = np.roll(made.numpy().view(np.uint8), 128 if fmt.dtype == "int8" else 0)
    site.source.need("look_up")
    name = site.source.array(table, f"{kind.name} {site.about}")
    site.source.do(f"run_look_up({site.x_row(0, 'uint8_t')}, {name}, {site.count}, {site.y(0, 'uint8_t')});")


def row_by_row(site: Site, kind: OpKind) -> Reach | None:
    """That a row of the output is made of the same row of every input, all of one shape."""
    del kind
    shape = site.made_shape()
    alike = all(site.shape(n) == shape and not site.tensor(n).is_constant for n in range(len(site.op.inputs)))
    return Reach() if alike else None


def add(site: Site, kind: Add | Sub) -> None:
    """ADD and SUB."""
    formats, out = (site.affine(0), site.affine(1)), site.output(kind.activation)
    a, b, both = ARITHMETIC.of_sum(formats, out, ADDEND_BITS[out.format.dtype])
    if out.format.dtype == "int16" and both >= 1:
        raise site.refused("its output is so much finer than what it adds that TensorFlow Lite Micro stops at it")
    address = _pairs(site, {**_scaled("_a", a), **_scaled("_b", b), **_scaled("", both), **site.ends(out)})
    _run(site, "add", f"{address}, {kind.sign}")


def mul(site: Site, kind: Mul) -> None:
    """MUL."""
    out = site.output(kind.activation)
    real = ARITHMETIC.ratio(site.affine(0).scale[0], site.affine(1).scale[0], over=out.scale)
    _run(site, "mul", _pairs(site, {**site.rescaled(real, prod(_largest(site, n) for n in (0, 1))), **site.ends(out)}))


def squared_difference(site: Site, kind: SquaredDifference) -> None:
    """SQUARED_DIFFERENCE."""
    del kind
    site.require("int8")
    formats, out = (site.affine(0), site.affine(1)), site.output()
    a, b, _ = ARITHMETIC.of_sum(formats, out, _DIFFERENCES)
    unit = 2 * max(f.scale[0] for f in formats) / 2**_DIFFERENCES
    numbers = {**_scaled("_a", a), **_scaled("_b", b), **_scaled("", np.asarray(unit * unit / out.scale)), **site.ends(out)}
    _run(site, "squared_difference", _pairs(site, numbers))


def prelu(site: Site, kind: PRelu) -> None:
    """PRELU."""
    del kind
    site.require("int8")
    x, alpha, out = site.affine(0), site.affine(1), site.output()
    above = ARITHMETIC.ratio(x.scale[0], over=out.scale)
    below = ARITHMETIC.ratio(x.scale[0], alpha.scale[0], over=out.scale)
    _run(site, "prelu", _pairs(site, {**_scaled("_a", above), **_scaled("", below), **site.ends(out)}))


def select(site: Site, kind: SelectV2) -> None:
    """SELECT_V2."""
    del kind
    site.require_alike(1, 2)
    nest = _spread(site, 3)
    run, steps = nest.loops[0] if nest.loops else (1, (0, 0, 0))
    fields = {
        "loops": site.source.loops(nest.loops[1:], site.about),
        "count": run,
        "step_c": steps[0],
        "step_a": steps[1],
        "step_b": steps[2],
        "bytes": itemsize(site.made().format.dtype),
    }
    site.call("select", fields, site.x(0), *(site.x(n, "uint8_t") for n in (1, 2)))


def extreme(site: Site, kind: Maximum | Minimum) -> None:
    """MAXIMUM and MINIMUM."""
    site.require_alike(0, 1)
    _run(site, "extreme", f"{_pairs(site, {})}, {'true' if kind.name == 'MAXIMUM' else 'false'}")


def _largest(site: Site, n: int) -> int:
    """The largest number, less its zero point and without its sign, that input ``n`` may hold."""
    fmt, data = site.affine(n), site.tensor(n).data
    held = limits(fmt.dtype) if data is None else (int(data.min()), int(data.max()))
    return max(abs(end - fmt.zero_point[0]) for end in held)


def _run(site: Site, kernel: str, first: str) -> None:
    sized = site.sized(kernel)
    site.source.need(sized)
    site.source.do(f"run_{sized}({first}, {site.x_row(0)}, {site.x_row(1)}, {site.y()});")


def _scaled(side: str, real: np.ndarray) -> dict[str, object]:
    multiplier, shift = fixed.q31(real)
    return {f"multiplier{side}": int(multiplier), f"shift{side}": int(shift)}


def _pairs(site: Site, numbers: dict[str, object]) -> str:
    """The address of the struct: loops over both inputs as they broadcast, zero points, and ``numbers``."""
    fields = {
        **walk(site),
        "zero_a": site.affine(0).zero_point[0],
        "zero_b": site.affine(1).zero_point[0],
        **numbers,
    }
    return site.source.struct("pairs", fields, site.about)


def walk(site: Site) -> dict[str, object]:
    """The loops over two inputs as they broadcast, and the run within them."""
    nest = _spread(site, 2)
    run, steps = nest.loops[0] if nest.loops else (1, (0, 0))
    run = run if site.rings is None else site.count
    return {"loops": site.source.loops(nest.loops[1:], site.about), "step_a": steps[0], "step_b": steps[1], "count": run}


def _spread(site: Site, inputs: int) -> Nest:
    """Loops over the positions of the first ``inputs`` as they broadcast to the output."""
    shape = site.made_shape()
    spread = (torch.arange(prod(site.shape(n))).reshape(site.shape(n)).expand(shape) for n in range(inputs))
    nest = Nest.of(np.stack([positions.reshape(-1).numpy() for positions in spread]))
    if nest is None or len(nest.loops) > LOOPS + 1:
        raise site.refused("its shapes broadcast in too many loops")
    return nest

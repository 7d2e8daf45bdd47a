"""One op of a network where its C is written: what it reads and makes, by C expressions, shapes and formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final, final

import numpy as np
import torch

from intact.deploy.c.source import Source, c_type
from intact.errors import UnsupportedError
from intact.network.arena import itemsize
from intact.network.graph import Graph, Op, Tensor
from intact.numbers import fixed_point as fixed
from intact.numbers.affine import PACKED, Affine, Float
from intact.numbers.arithmetic import Output
from intact.numbers.reference_kernels import Micro
from intact.ops.call import CLAMPS, sums_are_wide

if TYPE_CHECKING:
    from intact.ops.call import Activation, Shape

#: The arithmetic that the C computes with.
ARITHMETIC: Final = Micro()


@final
@dataclass(frozen=True, eq=False)
class Site:
    """``offsets``: where each activation lies in the arena, in bytes. ``shapes`` are those of one sample.

    ``rings``: None where the op is computed at once; else it is computed one row of its output after the other, number ``row``
    in the C, and of each tensor here the arena holds so many rows: row n where row n % rows lies.
    """

    graph: Graph
    op: Op
    source: Source
    shapes: Mapping[int, Shape]
    offsets: Mapping[int, int]
    rings: Mapping[int, int] | None = None

    @property
    def about(self) -> str:
        """What the op is called."""
        return self.graph.label(self.op)

    def given(self, n: int) -> Tensor | None:
        """Input ``n``; None where it is left out."""
        i = self.op.inputs[n] if n < len(self.op.inputs) else None
        return None if i is None else self.graph[i]

    def tensor(self, n: int) -> Tensor:
        """Input ``n``, which must be there."""
        t = self.given(n)
        if t is None:
            raise self.refused(f"its input {n} is left out")
        return t

    def made(self, n: int = 0) -> Tensor:
        return self.graph[self.op.outputs[n]]

    def shape(self, n: int) -> Shape:
        return self.shapes[self.tensor(n).id]

    def made_shape(self, n: int = 0) -> Shape:
        return self.shapes[self.made(n).id]

    def affine(self, n: int) -> Affine:
        return self._affine(self.tensor(n))

    def output(self, activation: Activation = "none") -> Output:
        """The first output; refused where the activation is more than a clamp."""
        given = [self.graph[i].format for i in self.op.inputs if i is not None]
        return Output(self._affine(self.made()), self.clamp(activation), sums_are_wide(given, self.made().format))

    def clamp(self, activation: Activation) -> tuple[float, float]:
        """The real numbers that an activation lies between; refused where it is more than a clamp."""
        clamp = CLAMPS[activation]
        if clamp is None:
            raise self.refused(f"it has a fused {activation}")
        return clamp

    @property
    def zero(self) -> np.ndarray:
        """What the first output stores 0 as."""
        fmt = self._real(self.made())
        return np.asarray(fmt.zero_point[0] if isinstance(fmt, Affine) else 0, fmt.dtype)

    def ends(self, out: Output) -> dict[str, object]:
        """The fields of the output's zero point and clamp."""
        low, high = ARITHMETIC.limits(out)
        return {"zero": out.zero_point, "low": low, "high": high}

    def rescaled(self, real: np.ndarray, largest: int, side: str = "") -> dict[str, object]:
        """The fields of a multiplier of 31 bits and of its power of two, of numbers of at most ``largest``."""
        multiplier, shift = (int(v) for v in fixed.q31(real))
        if largest << max(shift, 0) >= 1 << 31:
            raise self.refused("what it makes is so much finer than what it reads that it leaves 32 bits on the way")
        return {f"multiplier{side}": multiplier, f"shift{side}": shift}

    def data(self, n: int) -> np.ndarray:
        """The constant input ``n`` as it is stored; refused where it is computed."""
        data = self.tensor(n).data
        if data is None:
            raise self.refused(f"its input {n} is computed at run time")
        return data

    def x(self, n: int, ctype: str = "") -> str:
        """Input ``n`` in C: a pointer to its first number, to ``ctype`` where it is given."""
        return self._pointer(self.tensor(n), ctype, const=True)

    def x_row(self, n: int, ctype: str = "") -> str:
        """A pointer to what an op reads that makes each row of the same row of its input."""
        return self._pointer(self.tensor(n), ctype, const=True, at_row=True)

    def y(self, n: int = 0, ctype: str = "") -> str:
        """Output ``n`` in C, where the op begins to write."""
        return self._pointer(self.made(n), ctype, const=False, at_row=True)

    def is_wanted(self, n: int) -> bool:
        """Whether output ``n`` has a place, because something reads it."""
        return self.made(n).id in self.offsets

    def is_same_place(self, n: int, made: int) -> bool:
        """Whether input ``n`` and an output lie at one place, so that what is only renamed is there already."""
        t = self.tensor(n)
        return not t.is_constant and self.offsets[t.id] == self.offsets[self.made(made).id]

    @property
    def count(self) -> int:
        """The numbers of the first output that are computed at once."""
        whole = prod(self.made_shape())
        return whole if self.rings is None else whole // self.made_shape()[1]

    def require_one_image(self) -> None:
        """Refuse an op on several images in one call: kernels of windows take one."""
        if self.made_shape()[0] != 1:
            raise self.refused(f"it computes {self.made_shape()[0]} samples at once; export it with an open batch")

    def require_alike(self, *inputs: int) -> None:
        """Refuse an op that picks numbers of ``inputs`` which do not stand for what they stand for in its outputs."""
        formats = [self._real(t) for t in (*map(self.tensor, inputs), *(self.graph[i] for i in self.op.outputs))]
        if len({(f.scale, f.zero_point, f.dtype) for f in formats if isinstance(f, Affine)}) > 1:
            raise self.refused("what it reads and what it makes have different scales")

    def rows(self, n: int) -> str:
        """The rows of the output that are computed at once, and the rows of input ``n`` that there are."""
        self.require_one_image()
        if self.rings is None:
            return f"(row_range){{0, {self.made_shape()[1]}, {self.shape(n)[1]}}}"
        return f"(row_range){{row, row + 1, {self._ring(self.tensor(n))}}}"

    def call(self, kernel: str, fields: Mapping[str, object], *arguments: str) -> None:
        """Call ``run_kernel`` with a struct of ``fields``, other arguments and the output, as bytes where they are."""
        self.source.need(kernel)
        address = self.source.struct(kernel, fields, self.about)
        of_bytes = "uint8_t" if "bytes" in fields else ""
        self.source.do(f"run_{kernel}({', '.join((address, *arguments, self.y(0, of_bytes)))});")

    def sized(self, kernel: str) -> str:
        """The kernel for the type of all activations: int8, or int16, for which it is ``kernel``_16; others are refused."""
        is_wide = self.made().format.dtype == "int16"
        self.require("int16" if is_wide else "int8")
        return f"{kernel}_16" if is_wide else kernel

    def require(self, *dtypes: str) -> None:
        """Refuse an op that reads or makes activations of other types."""
        for t in (*(self.graph[i] for i in self.op.reads), *(self.graph[i] for i in self.op.outputs)):
            if not t.is_constant and t.format.dtype not in dtypes:
                raise self.refused(f"its C kernel takes {' and '.join(dtypes)}, and {t.name!r} is {t.format.dtype}")

    def refused(self, why: str) -> UnsupportedError:
        also = "; --runtime tflm writes a project for TensorFlow Lite Micro" if self.graph.is_quantized else ""
        return UnsupportedError(f"{self.about} cannot be written as C: {why}{also}")

    def _real(self, t: Tensor) -> Affine | Float:
        """The format of numbers that stand for real ones: of integers in an integer network, else float32."""
        return t.format if not self.graph.is_quantized and t.format == Float() else self._affine(t)

    def _affine(self, t: Tensor) -> Affine:
        if not isinstance(t.format, Affine):
            raise self.refused(f"{t.name!r} is {t.format.dtype}, and the C computes on integers that stand for real numbers")
        if t.format.dtype == "int16" and any(t.format.zero_point):
            raise self.refused(f"{t.name!r} is int16 with a zero point, which kernels leave out")
        return t.format

    def _ring(self, t: Tensor) -> int:
        return (self.rings or {}).get(t.id, self.shapes[t.id][1])

    def _pointer(self, t: Tensor, ctype: str, *, const: bool, at_row: bool = False) -> str:
        own = c_type("int8" if t.format.dtype in PACKED else t.format.dtype)
        wanted = ctype or own
        if t.data is not None:
            name = self.source.array(np.asarray(t.data), t.origin)
            return name if wanted == own else f"(const {wanted} *){name}"
        at = f"arena + {self.offsets[t.id]}"
        if at_row and self.rings is not None:
            shape = self.shapes[t.id]
            width, ring = prod(shape[2:]) * itemsize(t.format.dtype), self._ring(t)
            at += f" + row * {width}" if ring == shape[1] else f" + row % {ring} * {width}"
        if wanted == "int8_t":
            return at
        return f"({'const ' if const else ''}{wanted} *)(void *)({at})"


def marks(shape: Shape, first: int) -> torch.Tensor:
    """The positions of a tensor's numbers, from ``first`` on, in a tensor of its shape: float64, which holds them exactly."""
    return torch.arange(first, first + prod(shape), dtype=torch.float64).reshape(shape)

"""An op that we do not know: kept as its file spells it, computed by the runtime, opaque to all but its shapes.

Source of what it computes: the runtime's own kernel, asked through a file of the op alone (runtime/scripts/one_op_worker.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias, final

import torch
from torch import Tensor

from intact.errors import UnsupportedError
from intact.numbers.affine import Affine, Format, dequantize, quantize
from intact.ops.base import MANY, Costless
from intact.ops.call import Call, Shape, bounded, present

#: The runtime's word on what an op makes of stored tensors, for one run or several: its computed inputs in order (constants are
#: left out), its outputs in order.
Kernel: TypeAlias = Callable[[Sequence[Sequence[Tensor]]], Sequence[Sequence[Tensor]]]


@final
@dataclass(frozen=True)
class Port:
    """What the file records of a tensor that the op reads or writes: its shape for one sample, and how it is stored."""

    shape: Shape
    format: Format
    constant: bool = False


@final
@dataclass(frozen=True)
class Spelling:
    """How a .tflite file writes the op, so that it can be written back: nothing in it is interpreted.

    ``code`` is the builtin operator, with the ``custom`` name where that is CUSTOM; ``options`` the table of builtin options as
    (its name in the schema, a flatbuffer of it alone), None where there is none; ``custom_options`` bytes as they are.
    """

    code: int
    version: int
    custom: bytes = b""
    options: tuple[str, bytes] | None = None
    custom_options: bytes | None = None


def _no_kernel(runs: Sequence[Sequence[Tensor]]) -> Sequence[Sequence[Tensor]]:
    del runs
    raise UnsupportedError("no runtime was given for it; read the file with intact.load")


@final
@dataclass(frozen=True)
class Opaque(Costless):
    """Whatever ``spelling`` means to the runtime. Shapes are those that the file records.

    ``per_sample``: what it reads and writes leads with one sample, and it takes n of them one by one: ``y[i] = op(x[i])``, as
    the device does. Any other runs on just what it is given, so that a graph with one runs its samples one by one.
    """

    unknown: ClassVar[bool] = True
    takes: ClassVar[tuple[int, int]] = (0, MANY)
    repeatable: ClassVar[bool] = False  # as far as anybody knows
    differentiable: ClassVar[bool] = False
    name: str  # type: ignore[misc]  # of this op, not of a class: the operator's, or CUSTOM with its name
    spelling: Spelling
    reads: tuple[Port | None, ...]
    makes: tuple[Port, ...]
    per_sample: bool = False
    kernel: Kernel = field(default=_no_kernel, compare=False, repr=False)

    def compute(self, *inputs: Tensor | None) -> Tensor | tuple[Tensor, ...]:
        count = self._samples(inputs)
        if any(x is not None and x.is_meta for x in inputs):
            shapes = (p.shape if count is None else (count, *p.shape[1:]) for p in self.makes)
            made = tuple(torch.empty(bounded(shape), device="meta") for shape in shapes)
        else:
            stored = [_stored(x, p) for x, p in zip(inputs, self.reads, strict=True) if p is not None and not p.constant]
            made = tuple(_real(y, p) for y, p in zip(self._run(stored, count), self.makes, strict=True))
        return made[0] if len(made) == 1 else made

    def compute_integers(self, call: Call) -> tuple[Tensor, ...]:
        given = [x for x, p in zip(call.inputs, self.reads, strict=True) if x is not None and p is not None and not p.constant]
        return tuple(self._run(given, self._samples(call.inputs)))

    def _run(self, given: Sequence[Tensor], count: int | None) -> Sequence[Tensor]:
        """The outputs for stored inputs; sample by sample where there are ``count`` of them."""
        ports = [p for p in self.reads if p is not None and not p.constant]
        given = [x.detach().cpu() for x in given]
        if count is None:
            return self.kernel([given])[0]
        parts = self.kernel([[_one(x, p, i) for x, p in zip(given, ports, strict=True)] for i in range(count)])
        if any(len(y) != 1 for part in parts for y in part):
            raise UnsupportedError("how many rows it gives depends on the sample, so that samples cannot be run together")
        return [torch.cat(tuple(ys)) for ys in zip(*parts, strict=True)]

    def _samples(self, inputs: Sequence[Tensor | None]) -> int | None:
        """How many samples the inputs hold where that is not what the file records; None to run on what is given."""
        if not self.per_sample:
            return None
        ports = [(present(x, "value"), p) for x, p in zip(inputs, self.reads, strict=True) if p is not None]
        counts = {x.shape[0] for x, p in ports if tuple(x.shape) != p.shape and tuple(x.shape[1:]) == p.shape[1:]}
        return counts.pop() if len(counts) == 1 else None


def leads_with_a_sample(reads: Sequence[Port | None], makes: Sequence[Port]) -> bool:
    """Whether the first axis of all that an op writes, and of something that it reads, is one sample's."""
    computed = any(p is not None and not p.constant and p.shape[:1] == (1,) for p in reads)
    return computed and all(p.shape[:1] == (1,) for p in makes)


def _one(x: Tensor, port: Port, i: int) -> Tensor:
    """Sample i, or all of what is the same for every sample."""
    return x if tuple(x.shape) == port.shape else x[i : i + 1]


def _stored(x: Tensor | None, port: Port) -> Tensor:
    """Real numbers as the file stores them."""
    x = present(x, "value").detach()
    if isinstance(port.format, Affine):
        return quantize(x, port.format)
    return x.to(getattr(torch, port.format.dtype))


def _real(y: Tensor, port: Port) -> Tensor:
    """What the simulator takes for the op's stored output: float32 for real numbers, whole numbers and bools as they are."""
    if isinstance(port.format, Affine):
        return dequantize(y, port.format)
    return y.to(torch.float32) if y.is_floating_point() else y

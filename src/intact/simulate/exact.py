"""Runs an integer graph as the kernels do, to the last bit: batched, every tensor in the integers that the device holds.

What has no integers (between DEQUANTIZE and QUANTIZE) is computed in float32, where kernels may sum in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, final

import numpy as np
import torch

from intact.annotations import Values
from intact.errors import DataError, OptionError, UnsupportedError, located
from intact.network.graph import Graph, Op, Tensor
from intact.network.lanes import Lanes
from intact.numbers.affine import Affine, Float, quantize
from intact.numbers.arithmetic import Arithmetic
from intact.numbers.default_kernels import Default
from intact.numbers.reference_kernels import Micro, Reference
from intact.ops.call import Call
from intact.planning.targets import TARGETS
from intact.simulate.engine import Engine

#: Kinds whose arithmetic of int16 activations, or of an int16 cell state, is known.
INT16: Final = TARGETS["mcu"].kinds("int16") | {"DEQUANTIZE", "QUANTIZE", "SUM", "UNIDIRECTIONAL_SEQUENCE_LSTM"}
ARITHMETICS: Final[Mapping[str, Arithmetic]] = MappingProxyType({a.name: a for a in (Reference(), Micro(), Default())})


@final
class IntegerProgram(Engine):
    """An integer graph ready to run as ``kernels`` compute it.

    "reference" or "default": LiteRT's, as in :mod:`intact.runtime.litert`; "tflm": TensorFlow Lite Micro's.

    Inputs are stored integers, or real numbers that are quantized as the runtime does; outputs and what an observer sees
    are stored integers. UnsupportedError names an op whose arithmetic is not known.
    """

    def __init__(self, graph: Graph, kernels: str = "reference", device: str | torch.device = "cpu") -> None:
        if kernels not in ARITHMETICS:
            raise OptionError(f"no kernels are called {kernels!r}; there are {', '.join(ARITHMETICS)}")
        self.arithmetic = ARITHMETICS[kernels]
        super().__init__(graph, device)

    def _constant(self, t: Tensor) -> torch.Tensor:
        data = torch.from_numpy(np.array(t.data))
        return data.to(self.device, torch.float32) if t.is_float else data

    def _entered(self, t: Tensor, x: Values[torch.Tensor, "*s"]) -> Values[torch.Tensor, "*s"]:
        if not isinstance(t.format, Affine):
            return x.to(torch.float32) if t.is_float else x
        if x.is_floating_point():
            return quantize(x.to(torch.float32), t.format)
        if str(x.dtype) != f"torch.{t.format.dtype}":
            raise DataError(f"input {t.name!r} takes {t.format.dtype} or real numbers as float32, and got {x.dtype}")
        return x

    def _computed(self, op: Op, inputs: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor, ...]:
        formats = tuple(Float() if i is None else self.graph[i].format for i in op.inputs)
        outs = tuple(self.graph[i].format for i in op.outputs)
        if not any(isinstance(f, Affine) for f in (*formats, *outs)):
            return self.lanes.compute(op, op.kind, inputs)
        with located(f"op {self.graph.label(op)}"):
            self._check(op)

            def computed(*given: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
                return op.kind.compute_integers(Call(given, formats, outs, self.arithmetic))

            return self.lanes.one_by_one(op, computed, inputs)

    def stored(
        self, i: int, x: Values[np.ndarray, "n ..."] | Values[torch.Tensor, "n ..."]
    ) -> Values[torch.Tensor, "lanes ..."]:
        """A graph input as the network reads it, by its tensor's id."""
        return self._entered(self.graph[i], self.lanes.enter(self.graph[i], torch.as_tensor(x, device=self.device)))

    def _check(self, op: Op) -> None:
        """Only what was compared with the runtime is called exact."""
        known = {"int8", "uint8"}
        if self.arithmetic.knows_int16 and op.kind.name in INT16:
            known.add("int16")
        for t in (self.graph[i] for i in (*op.reads, *op.outputs)):
            if not isinstance(t.format, Affine) or t.is_constant:
                continue
            if t.format.dtype not in known:
                raise UnsupportedError(f"the exact arithmetic of {t.format.dtype} activations is not known")
            if t.format.dtype == "int16" and any(t.format.zero_point):
                raise UnsupportedError(f"the exact arithmetic of int16 activations with a zero point ({t.name!r}) is not known")

    def _seen(self, t: Tensor, y: torch.Tensor) -> bool:
        del y
        return isinstance(t.format, (Affine, Float))


def exposed(graph: Graph, unseen: frozenset[int] = frozenset()) -> Graph:
    """``graph`` with every activation as an output, named ``t<id>``: how the runtime shows what it computes on the way.

    Those are left out that the runtime could not cut into samples, and those that are ``unseen`` in a file.
    """
    lanes = Lanes(graph)
    activations = dict.fromkeys((*graph.inputs, *(i for op in graph.ops for i in op.outputs)))
    shown = {i: replace(graph[i], name=f"t{i}") for i in activations}
    outputs = tuple(i for op in graph.ops for i in op.outputs if i not in unseen and lanes.tells_samples_apart(graph[i]))
    return replace(graph, tensors={**graph.tensors, **shown}, outputs=outputs, signatures=())

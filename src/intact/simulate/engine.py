"""Runs a Graph in torch: differentiable, batched, on any device.

Integer graphs are simulated in real numbers: constants are dequantized once, and every activation is rounded to its own
format as it is made (fake quantization).
"""

from __future__ import annotations

import abc
import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeAlias, TypeVar, final

import numpy as np
import torch

from intact import choices
from intact.annotations import Values
from intact.errors import DataError, ModelError, OptionError, located
from intact.network.graph import Graph, Op, State, Tensor
from intact.network.lanes import Lanes
from intact.network.shapes import concrete
from intact.numbers.affine import Affine, dequantize, fake_quantize

#: Called once with every activation as it is made, graph inputs too, and all samples of it: axis 0 counts them. It is 1 where
#: the inputs do not matter, and counts lanes where they do not tell samples apart (:mod:`intact.network.lanes`).
Observer: TypeAlias = Callable[[Tensor, torch.Tensor], None]
#: Samples by input name, [n, ...] each; and the same as an engine takes them.
Batch: TypeAlias = Mapping[str, Values[np.ndarray, "_n ..."]]
Inputs: TypeAlias = Mapping[str, Values[np.ndarray, "_n ..."] | Values[torch.Tensor, "_n ..."]]
Made = TypeVar("Made")
Item = TypeVar("Item")


def device_named(name: str) -> str:
    """``"cuda"`` or ``"cpu"`` for ``"auto"`` (the former where there is one) or itself; OptionError for anything else."""
    has_cuda = torch.cuda.is_available()
    if choices.device(name) == "cuda" and not has_cuda:
        raise OptionError("--device cuda needs a GPU and a torch built for it, and there is none here; type --device cpu")
    return "cuda" if has_cuda and name != "cpu" else "cpu"


class Engine(abc.ABC):
    """A graph made ready to run on ``device``, op by op. Immutable; safe to call from several threads."""

    def __init__(self, graph: Graph, device: str | torch.device = "cpu") -> None:
        self.graph = graph
        self.device = torch.device(device)
        self.lanes = Lanes(graph)
        self.constants = {t.id: self._constant(t) for t in graph.constants()}
        last = {i: n for n, op in enumerate(graph.ops) for i in op.reads}
        self._dead_after = {
            n: tuple(i for i in op.reads if last[i] == n and i not in graph.ends) for n, op in enumerate(graph.ops)
        }

    @abc.abstractmethod
    def _constant(self, t: Tensor) -> torch.Tensor:
        """A constant as ops read it."""

    @abc.abstractmethod
    def _entered(self, t: Tensor, x: Values[torch.Tensor, "*s"]) -> Values[torch.Tensor, "*s"]:
        """A graph input as ops read it."""

    @abc.abstractmethod
    def _computed(self, op: Op, inputs: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor, ...]:
        """The outputs of one op."""

    @abc.abstractmethod
    def _seen(self, t: Tensor, y: torch.Tensor) -> bool:
        """Whether an observer is told of this tensor."""

    @property
    def batches(self) -> bool:
        """Whether the graph takes any number of samples at once, rather than in lanes."""
        return self.lanes.open

    def __call__(self, inputs: Inputs, observe: Observer | None = None) -> dict[str, Values[torch.Tensor, "n ..."]]:
        """Outputs by name, [n, ...], for inputs by name, [n, ...]; states begin anew. DataError when they do not fit."""
        values, graph = self.entered(inputs), self.graph
        count = len(inputs[graph.input_names[0]]) if graph.inputs else 1
        together = observe is not None and self.lanes.size > 1 and not graph.states
        rows = self._rows(values) if together else frozenset[int]()

        def noted(i: int, y: torch.Tensor) -> None:
            if observe is not None and self._seen(graph[i], y):
                observe(graph[i], self.lanes.shown(graph[i], y, count, rows=i in rows))

        made = self._in_turn(values, noted) if graph.states else self._run(values, noted)
        outputs = zip(graph.output_names, graph.outputs, strict=True)
        return {name: self.lanes.leave(graph[i], made[i], count) for name, i in outputs}

    def look(self, inputs: Inputs, look: Callable[[Tensor, torch.Tensor], Made | None]) -> dict[int, Made]:
        """What ``look`` says of each activation, by id, where that is not None.

        It is asked as an observer is, once for each activation and all samples: nothing that it saw can be overwritten.
        """
        found: dict[int, Made] = {}

        def note(tensor: Tensor, y: torch.Tensor) -> None:
            said = look(tensor, y)
            if said is not None:
                found[tensor.id] = said

        self(inputs, note)
        return found

    def entered(self, inputs: Inputs) -> dict[int, torch.Tensor]:
        """The graph inputs as ops read them, by id. DataError when they do not fit."""
        graph = self.graph
        values = {i: self._input(name, i, inputs) for name, i in zip(graph.input_names, graph.inputs, strict=True)}
        if not self.batches and len({len(x) for x in values.values()}) > 1:
            shapes = ", ".join(f"{name!r} {list(graph[i].shape)}" for name, i in zip(graph.input_names, values, strict=True))
            raise DataError(f"inputs of different batch sizes ({shapes}) cannot be run sample by sample")
        return values

    def _input(self, name: str, i: int, inputs: Inputs) -> Values[torch.Tensor, "lanes ..."]:
        if name not in inputs:
            raise DataError(f"input {name!r} is missing; the model takes {', '.join(map(repr, self.graph.input_names))}")
        x = torch.as_tensor(inputs[name], device=self.device)
        wanted = concrete(self.graph[i])
        if tuple(x.shape[1:]) != wanted[1:]:
            raise DataError(f"input {name!r} has shape {list(x.shape)}, and the model takes {['n', *wanted[1:]]}")
        return self._entered(self.graph[i], self.lanes.enter(self.graph[i], x))

    def _rows(self, values: Mapping[int, torch.Tensor]) -> frozenset[int]:
        """The tensors whose axis 0 is the samples of a lane: they turn when the samples of the first lane do."""
        seen: list[dict[int, torch.Tensor]] = []
        for turns in (0, 1):
            made: dict[int, torch.Tensor] = {}
            self._run({i: x[:1].roll(turns, 1) if x.dim() > 1 else x[:1] for i, x in values.items()}, made.__setitem__)
            seen.append(made)
        alike = (i for i, y in seen[0].items() if i in self.lanes.carried and tuple(y.shape[1:2]) == (self.lanes.size,))
        return frozenset(i for i in alike if torch.allclose(seen[0][i].roll(1, 1).double(), seen[1][i].double(), atol=1e-6))

    def _in_turn(
        self, inputs: Mapping[int, torch.Tensor], noted: Callable[[int, torch.Tensor], None]
    ) -> dict[int, torch.Tensor]:
        """Lane after lane, each a call that finds what the one before left in the states; otherwise like :meth:`_run`."""
        graph, parts = self.graph, dict[int, list[torch.Tensor]]()
        held = {state.read: self._begun(state) for state in graph.states}

        def note(i: int, y: torch.Tensor) -> None:
            parts.setdefault(i, []).append(y)

        made = list[dict[int, torch.Tensor]]()
        for at in range(len(next(iter(inputs.values())))):
            ends = self._run({**{i: x[at] for i, x in inputs.items()}, **held}, note)
            held = {state.read: ends[state.write] for state in graph.states}
            made.append({i: ends[i] for i in graph.outputs})
        for i, seen in parts.items():
            noted(i, torch.stack(seen) if i in self.lanes.carried else seen[0])
        return {i: torch.stack([call[i] for call in made]) if i in self.lanes.carried else made[0][i] for i in graph.outputs}

    def _begun(self, state: State) -> torch.Tensor:
        """What a state holds before the first call."""
        return self._entered(self.graph[state.read], torch.from_numpy(np.array(state.initial)).to(self.device))

    def _run(self, inputs: Mapping[int, torch.Tensor], noted: Callable[[int, torch.Tensor], None]) -> dict[int, torch.Tensor]:
        """What a call leaves behind, by id; ``noted`` is told every activation once, as ops read it."""
        values = dict(self.constants)
        for i, x in inputs.items():
            noted(i, x)
            values[i] = x
        for n, op in enumerate(self.graph.ops):
            for i, y in zip(op.outputs, self.compute(op, values), strict=True):
                noted(i, y)
                values[i] = y
            for i in self._dead_after[n]:
                values.pop(i, None)
        return {i: values[i] for i in self.graph.ends}

    def compute(self, op: Op, values: Mapping[int, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """What one op makes of ``values`` by tensor id; constants need not be among them."""
        known = {i: values[i] if i in values else self.constants[i] for i in op.reads}
        try:
            return self._computed(op, tuple(None if i is None else known[i] for i in op.inputs))
        except (RuntimeError, ValueError, IndexError) as error:
            with located(f"op {self.graph.label(op)}"):
                raise ModelError(f"cannot be computed ({str(error).splitlines()[0]})") from error

    def run(self, ops: Sequence[Op], values: Mapping[int, torch.Tensor], wanted: Iterable[int]) -> dict[int, torch.Tensor]:
        """The tensors ``wanted`` that ``ops`` make of ``values`` by id; no more ops than that takes."""
        return run_ops(ops, values, wanted, self.compute)


@final
class Program(Engine):
    """A graph in real numbers, differentiable: integers are dequantized, and activations rounded to their own format."""

    def _constant(self, t: Tensor) -> torch.Tensor:
        return constant(t, self.device)

    def _entered(self, t: Tensor, x: Values[torch.Tensor, "*s"]) -> Values[torch.Tensor, "*s"]:
        return rounded(t, x.to(torch.float32) if t.is_float or isinstance(t.format, Affine) else x)

    def _computed(self, op: Op, inputs: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor, ...]:
        made = zip(op.outputs, self.lanes.compute(op, op.kind, inputs), strict=True)
        return tuple(rounded(self.graph[i], y) for i, y in made)

    def _seen(self, t: Tensor, y: torch.Tensor) -> bool:
        del t
        return y.is_floating_point()


def constant(t: Tensor, device: torch.device) -> torch.Tensor:
    """What a constant stands for: real numbers, or the whole numbers that it holds."""
    data = torch.from_numpy(np.array(t.data))
    if isinstance(t.format, Affine):
        return dequantize(data, t.format).to(device)
    if t.is_float:
        return data.to(device, torch.float32)
    return data


def rounded(t: Tensor, y: Values[torch.Tensor, "*s"]) -> Values[torch.Tensor, "*s"]:
    """An activation as it is after it was stored."""
    return fake_quantize(y, t.format) if isinstance(t.format, Affine) else y


def run_ops(
    ops: Sequence[Op],
    values: Mapping[int, torch.Tensor],
    wanted: Iterable[int],
    compute: Callable[[Op, Mapping[int, torch.Tensor]], tuple[torch.Tensor, ...]],
) -> dict[int, torch.Tensor]:
    """The tensors ``wanted`` that ``ops`` make of ``values`` by id, each op by ``compute``; no more ops than that takes."""
    wanted, known = set(wanted), dict(values)
    last = {i: n for n, op in enumerate(ops) for i in op.reads}
    for n, op in enumerate(ops):
        if wanted <= known.keys():
            break
        known.update(zip(op.outputs, compute(op, known), strict=True))
        for i in op.reads:
            if last[i] == n and i not in wanted:
                known.pop(i, None)
    return {i: known[i] for i in wanted}


def map_batches(
    work: Callable[[Batch], Made], batches: Iterable[Batch], device: str | torch.device = "cpu", threads: int | None = None
) -> Iterator[Made]:
    """``work(batch)`` for every batch, in order, without gradients; see :func:`one_per_core`."""

    def alone(batch: Batch) -> Made:
        with torch.inference_mode():
            return work(batch)

    return one_per_core(alone, batches, device, threads)


def one_per_core(
    work: Callable[[Item], Made], items: Iterable[Item], device: str | torch.device = "cpu", threads: int | None = None
) -> Iterator[Made]:
    """``work(item)`` for every item, in order: on a CPU one item per core, each computed on one thread.

    That is faster than many threads on one item, holds its speed beside other jobs, and gives the same bits on any number
    of cores.
    """
    before = torch.get_num_threads()
    workers = before if threads is None else threads
    if workers == 1 or torch.device(device).type != "cpu":
        yield from map(work, items)
        return
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(_single_threads(workers).submit(work, item))
            if len(waiting) > workers:  # one ahead of the cores, so that memory stays bounded
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        wait(waiting)
        torch.set_num_threads(before)


@functools.cache
def _single_threads(workers: int) -> ThreadPoolExecutor:
    """Threads whose torch does not start threads of its own. Kept, because training comes back a thousand times."""
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))


def run_batches(program: Engine, batches: Iterable[Batch]) -> dict[str, Values[np.ndarray, "n ..."]]:
    """All outputs, [n, ...] by name, for samples that come in batches."""

    def outputs(batch: Batch) -> dict[str, Values[np.ndarray, "n ..."]]:
        return {name: y.cpu().numpy() for name, y in program(batch).items()}

    parts = list(map_batches(outputs, batches, program.device))
    return {name: np.concatenate([part[name] for part in parts]) for name in program.graph.output_names}

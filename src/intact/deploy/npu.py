"""What Vela estimates of a network on an Ethos-U: cycles, memory, and which ops stay on the CPU. Nothing runs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from intact import scratch
from intact.deploy.edge_tpu import Fallback
from intact.deploy.npus import MEMORY, Npu
from intact.errors import ChildError
from intact.formats import tflite
from intact.network.graph import Graph
from intact.network.shapes import concrete, macs_by_op
from intact.numbers.affine import Affine, limits
from intact.runtime import vela
from intact.wording import counted

#: The kinds of memory, by Vela's names of them.
MEMORIES: Final = ("sram", "dram", "on_chip_flash", "off_chip_flash")
_KIB: Final = 1024
#: What tensors are called in the file that Vela is given: names of strangers may repeat, break lines or be empty.
_NAME: Final = re.compile(r"#(\d+)#")
#: How Vela tells that it leaves an op to the CPU: its kind, the name of what it makes, and why, in lines up to an empty one.
_WARNING: Final = re.compile(
    r"^Warning \(supported operators\) operator: (.*), ofm: '(.*)'\nReason: (.+(?:\n.+)*)", re.MULTILINE
)
#: How it tells how many those are.
_COUNT: Final = re.compile(r"^CPU operators = (\d+)", re.MULTILINE)
_VARIABLES: Final = "its READ_VARIABLE and ASSIGN_VARIABLE stay there, which Vela has no kernels for"
#: The largest number of the narrowest weights that Vela takes.
_LEAST: Final = limits("int8")[1]


@final
@dataclass(frozen=True)
class Estimate:
    """``clock`` in Hz; ``cycles``: those of the part that runs on the NPU, ``total``, and what its parts would take of them by
    themselves, ``npu`` and :data:`MEMORIES`; ``used``: bytes by :data:`MEMORIES`.

    ``by_op``: the cycles of each op that takes any, by its name; they add up to ``total``. ``ops`` and ``macs`` count what of
    the network runs there; ``cpu`` is what does not.
    """

    clock: int
    cycles: Mapping[str, int]
    by_op: Mapping[str, int]
    used: Mapping[str, int]
    ops: int
    macs: int
    cpu: tuple[Fallback, ...]

    @property
    def per_second(self) -> float | None:
        """Inferences a second, the ops on the CPU left out; None where nothing runs on the NPU."""
        return self.clock / self.cycles["total"] if self.cycles["total"] else None


def estimate(graph: Graph, npu: Npu) -> Estimate:
    """What Vela says of one sample of ``graph`` on ``npu``, in the memory mode :data:`~intact.deploy.npus.MEMORY`.

    ChildError where it fails.
    """
    with scratch.folder() as folder:
        path = folder / "network.tflite"
        path.write_bytes(tflite.write(_given(graph), named=True))
        try:
            said = vela.compiled(path, accelerator=npu.key, system=npu.system, memory=MEMORY)
        except ChildError as error:
            error.message = _named(graph, error.message) + _known_cause(graph)
            raise
    cpu = _on_cpu(graph, said)
    by_op = _by_op(graph, said)
    there = {output: n for output, n in macs_by_op(graph).items() if output not in cpu}
    cycles = {"total": "cycles_total", "npu": "cycles_npu"} | {name: f"cycles_{name}_access" for name in MEMORIES}
    return Estimate(
        round(_figure(said.summary, "core_clock")),
        {name: round(_figure(said.summary, column)) for name, column in cycles.items()},
        by_op,
        {name: round(_figure(said.summary, f"{name}_memory_used") * _KIB) for name in MEMORIES},
        len(there),
        sum(there.values()),
        (*cpu.values(), *(Fallback(f"the state {state.name!r}", _VARIABLES) for state in graph.states)),
    )


def _given(graph: Graph) -> Graph:
    """What Vela is asked about: one sample, tensors by number, and states as inputs and outputs.

    A file spells states as variables and a subgraph that sets them; of two subgraphs Vela's table has the last alone.
    """
    numbered = {i: replace(t, name=f"#{i}#", shape=concrete(t)) for i, t in graph.tensors.items()}
    ends = tuple(i for i in dict.fromkeys(graph.ends) if i not in graph.starts)
    return Graph(numbered, graph.ops, graph.starts, ends)


def _on_cpu(graph: Graph, said: vela.Said) -> dict[int | str, Fallback]:
    """The ops that stay on the CPU, by their first output; what is no op of the network by Vela's name of it."""
    if unknown := {row.get("Target") for row in said.layers} - {"CPU", "NPU"}:
        raise ChildError(f"Vela's table of layers has an op on {unknown.pop()!r}, which is neither CPU nor NPU")
    told, listed = _COUNT.search(said.printed), sum(row["Target"] == "CPU" for row in said.layers)
    if told is None or int(told[1]) != listed:
        raise ChildError(f"Vela's table of layers has {counted(listed, 'op')} on the CPU, and it counts {told and told[1]}")
    makers, found = graph.producers(), dict[int | str, Fallback]()
    warned = {name: (kind, why) for kind, name, why in _WARNING.findall(said.printed)}
    for row in said.layers:
        if row["Target"] == "CPU":
            name = row.get("Name", "")
            kind, why = warned.get(name, (row.get("Original Operator", ""), "Vela gives no reason"))
            op = makers.get(int(number[1])) if (number := _NAME.fullmatch(name)) else None
            called = f"{kind} {name!r}" if op is None else graph.label(op)
            found.setdefault(name if op is None else op.output, Fallback(called, "; ".join(_named(graph, why).splitlines())))
    return found


def _named(graph: Graph, text: str) -> str:
    """``text`` with the names that tensors have for those that Vela was given."""
    return _NAME.sub(lambda m: repr(graph[int(m[1])].name) if int(m[1]) in graph.tensors else m[0], text)


def _by_op(graph: Graph, said: vela.Said) -> dict[str, int]:
    """Cycles by the name of the op whose work they are: Vela makes several of one, and calls them after what that makes."""
    makers, found = graph.producers(), Counter[str]()
    for row in said.layers:
        name = row.get("Name", "")
        op = makers.get(int(number[1])) if (number := _NAME.match(name)) else None
        cycles = round(_figure(row, "Op Cycles"))
        if cycles:
            found[name if op is None else graph.label(op)] += cycles
    if (listed := found.total()) != (total := round(_figure(said.summary, "cycles_total"))):
        raise ChildError(f"Vela's table of layers has {listed:,} cycles, and it counts {total:,}")
    return dict(found)


def _figure(row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except (KeyError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ChildError(f"Vela's tables have no number as {column!r}; type: pip install 'intact[npu]' for a version that has")
    return value


def _known_cause(graph: Graph) -> str:
    """What is known to end Vela 5.2: weights of fewer than 8 bits (SIGFPE)."""
    dtypes = [t.format.dtype for t in graph.constants() if isinstance(t.format, Affine) and limits(t.format.dtype)[1] < _LEAST]
    return f"; it takes no {dtypes[0]} weights: type intact quantize with --scheme int8" if dtypes else ""

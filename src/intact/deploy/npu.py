"""What Vela estimates of a network on an Ethos-U: cycles, memory, and which ops stay on the CPU. Nothing runs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, final

from intact import scratch
from intact.deploy.edge_tpu import Fallback
from intact.deploy.npus import MEMORY, Npu
from intact.errors import ChildError
from intact.formats import tflite
from intact.network.graph import Graph
from intact.network.shapes import macs_by_op
from intact.numbers.affine import Affine, limits
from intact.runtime import vela

#: The kinds of memory, by Vela's names of them.
MEMORIES: Final = ("sram", "dram", "on_chip_flash", "off_chip_flash")
_KIB: Final = 1024
#: What tensors are called in the file that Vela is given: names of strangers may repeat, break lines or be empty.
_NAME: Final = re.compile(r"#(\d+)#")
#: How Vela tells that it leaves an op to the CPU: its kind, the name of what it makes, and why, in lines up to an empty one.
_WARNING: Final = re.compile(
    r"^Warning \(supported operators\) operator: (.*), ofm: '(.*)'\nReason: (.+(?:\n.+)*)", re.MULTILINE
)
#: The largest number of the narrowest weights that Vela takes.
_LEAST: Final = limits("int8")[1]


@final
@dataclass(frozen=True)
class Estimate:
    """``clock`` in Hz; ``cycles``: those of the part that runs on the NPU, ``total``, and what its parts would take of them by
    themselves, ``npu`` and :data:`MEMORIES`; ``used``: bytes by :data:`MEMORIES`.

    ``ops`` and ``macs`` count what of the network runs there; ``cpu`` is what does not.
    """

    clock: int
    cycles: Mapping[str, int]
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
    numbered = {i: replace(t, name=f"#{i}#") for i, t in graph.tensors.items()}
    with scratch.folder() as folder:
        path = folder / "network.tflite"
        path.write_bytes(tflite.write(replace(graph, tensors=numbered, signatures=(), metadata=(), archive=b""), named=True))
        try:
            said = vela.compiled(path, accelerator=npu.key, system=npu.system, memory=MEMORY)
        except ChildError as error:
            error.message += _known_cause(graph)
            raise
    cpu = _on_cpu(graph, said)
    counted = {output: n for output, n in macs_by_op(graph).items() if output not in cpu}
    cycles = {"total": "cycles_total", "npu": "cycles_npu"} | {name: f"cycles_{name}_access" for name in MEMORIES}
    return Estimate(
        round(_figure(said, "core_clock")),
        {name: round(_figure(said, column)) for name, column in cycles.items()},
        {name: round(_figure(said, f"{name}_memory_used") * _KIB) for name in MEMORIES},
        len(counted),
        sum(counted.values()),
        tuple(cpu.values()),
    )


def _on_cpu(graph: Graph, said: vela.Said) -> dict[int | str, Fallback]:
    """The ops that stay on the CPU, by their first output; ops that only the file has, such as those of states, by name."""
    if unknown := {row.get("Target") for row in said.layers} - {"CPU", "NPU"}:
        raise ChildError(f"Vela's table of layers has an op on {unknown.pop()!r}, which is neither CPU nor NPU")
    makers, found = graph.producers(), dict[int | str, Fallback]()
    warned = {name: (kind, why) for kind, name, why in _WARNING.findall(said.printed)}
    for row in said.layers:
        if row["Target"] == "CPU":
            name = row.get("Name", "")
            kind, why = warned.get(name, (row.get("Original Operator", ""), "Vela gives no reason"))
            op = makers.get(int(number[1])) if (number := _NAME.fullmatch(name)) else None
            called = f"{kind} {name!r}" if op is None else graph.label(op)
            found.setdefault(name if op is None else op.output, Fallback(called, _reason(graph, why)))
    return found


def _reason(graph: Graph, why: str) -> str:
    """As one line, with the names that tensors have."""
    named = _NAME.sub(lambda m: repr(graph[int(m[1])].name) if int(m[1]) in graph.tensors else m[0], why)
    return "; ".join(named.splitlines())


def _figure(said: vela.Said, column: str) -> float:
    try:
        value = float(said.summary[column])
    except (KeyError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ChildError(f"Vela's summary has no number as {column!r}; type: pip install 'intact[npu]' for a version that has")
    return value


def _known_cause(graph: Graph) -> str:
    """What is known to end Vela 5.2: weights of fewer than 8 bits (SIGFPE)."""
    dtypes = [t.format.dtype for t in graph.constants() if isinstance(t.format, Affine) and limits(t.format.dtype)[1] < _LEAST]
    return f"; it takes no {dtypes[0]} weights: type intact quantize with --scheme int8" if dtypes else ""

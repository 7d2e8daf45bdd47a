"""A network as a project for TensorFlow Lite Micro: its arena found by trying, its samples run in the real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from intact import scratch
from intact.deploy.bytes import spelled
from intact.deploy.c.network import Text
from intact.deploy.micro import require
from intact.deploy.project import Budget, Vectors
from intact.deploy.tflm.project import Arena, Project, files_of, ports
from intact.deploy.tflm.resolver import check_softmax, resolved
from intact.errors import MissingToolError, UnsupportedError
from intact.formats.tflite.op_codes import resource_variables
from intact.formats.tflite.states import goes_on
from intact.network.graph import Graph
from intact.progress import Progress
from intact.run.tflm_arena import estimated, least
from intact.run.vectors import calls, simulated
from intact.runtime import tflm
from intact.wording import counted

_INSTALL: Final = "type: pip install tflite-micro (Linux)"
#: Kinds that turn integers into real numbers or back, and compute nothing else.
_BRIDGES: Final = frozenset({"QUANTIZE", "DEQUANTIZE"})
#: What deploy.json calls the arithmetic that TFLM was compared with.
SIMULATOR: Final = "exact simulator"
#: Bytes of an arena in which nothing is short, beside twice the least.
_AMPLE: Final = 1 << 20


@final
@dataclass(frozen=True, eq=False)
class Micro:
    """Texts by path in the project's folder, what deploy.json says of it, and what to know, a sentence each."""

    files: Mapping[str, str] = field(repr=False)
    record: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def project(  # noqa: PLR0913  # all by keyword but what the network is
    content: bytes,
    graph: Graph,
    text: Text,
    *,
    budget: Budget,
    data: object,
    brought: int,
    verified: int,
    progress: Progress,
) -> Micro:
    """The project of the file ``content``, which ``graph`` was read from, with ``brought`` samples at most.

    ``verified``: samples that are run in the real TensorFlow Lite Micro, in the very arena that is written, and compared with
    the exact simulator; where that does not know the arithmetic, with a run in an ample arena. 0 for none.

    UnsupportedError names what TensorFlow Lite Micro does not run, and by how many bytes it does not fit; MissingToolError
    where it takes the runtime, and that is not installed.
    """
    given_ports = ports(graph)
    resolved(graph, content)
    check_softmax(graph)
    progress("try TensorFlow Lite Micro", 0, 0)
    answer = require(graph, content, "--runtime c")
    if verified and not answer.asked:
        raise MissingToolError(f"TensorFlow Lite Micro is not installed here, and --verify runs it; {_INSTALL}")
    floats = [graph.label(op) for op in graph.ops if op.kind.name not in _BRIDGES and _is_real(graph, op.reads + op.outputs)]
    inputs, about = calls(graph, data, max(brought, verified))
    with scratch.folder() as folder:
        known = None if floats or (answer.asked and not verified) else _known(graph, inputs)
        if answer.asked:
            tried = least(content, graph, inputs, folder)
            model, arena, record, outputs = tried.data, tried.arena, tried.record, tried.outputs
        else:
            model, arena, record, outputs = content, estimated(content, graph), {"found": "estimate"}, _without_runtime(known)
        _check_fit(len(model), arena, budget)
        path = folder / "written.tflite"
        path.write_bytes(model)
        compared = _compared(path, inputs, outputs, known, arena, verified) if verified else None
    notes = _float_notes(floats)
    made = Project(
        text,
        model,
        given_ports,
        resolved(graph, model),
        arena,
        Vectors(inputs, outputs, about).first(brought),
        variables=resource_variables(model),
        tolerance=1 if floats else 0,
        notes=notes,
        check=_checked(compared, answer.asked),
    )
    record = {
        "arena": arena.bytes,
        **record,
        "ops": list(made.ops),
        "model": len(model),
        "code": None,
        "float_ops": len(floats),
        "verified": compared,
    }
    return Micro(files_of(made), record, (*notes, *((answer.advice,) if answer.advice else ())))


def _is_real(graph: Graph, ids: tuple[int, ...]) -> bool:
    return any(graph[i].is_float and not graph[i].is_constant for i in ids)


def _float_notes(floats: list[str]) -> tuple[str, ...]:
    if not floats:
        return ()
    return (f"{counted(len(floats), 'op')} in float32, on TensorFlow Lite Micro's float kernels, {floats[0]} first",)


def _known(graph: Graph, inputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...] | None:
    """What the simulator makes of ``inputs``; None where it does not know the arithmetic to the last bit, or begins layers
    anew that go on from call to call in the runtime.
    """
    if goes_on(graph):
        return None
    try:
        return simulated(graph, inputs)
    except UnsupportedError:
        return None


def _without_runtime(known: tuple[np.ndarray, ...] | None) -> tuple[np.ndarray, ...]:
    if known is None:
        raise MissingToolError(
            "TensorFlow Lite Micro alone knows what must come of samples where ops are in float or a layer goes on from call "
            f"to call, and that is not installed here; {_INSTALL}"
        )
    return known


def _check_fit(model: int, arena: Arena, budget: Budget) -> None:
    if model > budget.flash:
        raise UnsupportedError(
            f"the model alone takes {spelled(model)} of flash, {spelled(model - budget.flash)} more than there are; fewer bits "
            "help: intact quantize --scheme w4a8 or clusters4, and --minimize size"
        )
    if arena.bytes > budget.ram:
        raise UnsupportedError(
            f"its arena takes {spelled(arena.bytes)} of RAM in TensorFlow Lite Micro, {spelled(arena.bytes - budget.ram)} more "
            "than there are; give a smaller input, or more --ram, or type --runtime c"
        )


def _compared(  # noqa: PLR0913, PLR0917  # one comparison
    path: Path,
    inputs: tuple[np.ndarray, ...],
    outputs: tuple[np.ndarray, ...],
    known: tuple[np.ndarray, ...] | None,
    arena: Arena,
    count: int,
) -> dict[str, Any]:
    """Of how many calls each output is the same, element by element."""
    against = SIMULATOR if known is not None else "ample arena"
    wanted = tflm.run(path, inputs, len(outputs), 2 * arena.bytes + _AMPLE) if known is None else known
    pairs = tuple(zip(outputs, wanted, strict=True))
    ran = min(count, len(inputs[0]))
    same = sum(all(np.array_equal(y[n], z[n], equal_nan=True) for y, z in pairs) for n in range(ran))
    return {"samples": ran, "exact": same, "against": against}


def _checked(compared: Mapping[str, Any] | None, asked: bool) -> str:
    if compared is None:
        return "What must come of the samples is what " + ("the real one gave" if asked else "Intact's exact simulator gives")
    against = "Intact's exact simulator has them" if compared["against"] == SIMULATOR else "it gives them in an ample one"
    return f"In an arena of just that size the real one gave {compared['exact']} of {compared['samples']} samples as {against}"

"""What an integer network takes on a microcontroller, and which boards it fits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, final

from intact.deploy import boards
from intact.deploy.c.network import Text
from intact.deploy.cores import CORES
from intact.deploy.edge_tpu import SOURCE, by_document
from intact.deploy.emulate import emulate
from intact.deploy.fitting import FITTING
from intact.deploy.project import Budget
from intact.errors import OptionError, UnsupportedError, located
from intact.installed import __version__
from intact.network.graph import Graph
from intact.network.shapes import macs
from intact.progress import Progress, silent
from intact.run import firmware_document, fit_lines, fit_npu
from intact.run.fit_float import comparison
from intact.run.vectors import integer_network, vectors
from intact.wording import brief, shown

SCHEMA: Final = "intact-fit/1"
#: What code is measured on, and emulated.
_CORE: Final = CORES["cortex-m4"]


@final
@dataclass(frozen=True, eq=False)
class Fit:
    """``document``: everything that was found, as JSON has it; ``notes``: what to know, a sentence each."""

    document: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    __repr__ = brief

    @property
    def fits(self) -> bool | None:
        """Whether the board that was named holds it; None where none was."""
        named = self.document["board"]
        return None if named is None else any(b["board"] == named and b["fits"] in FITTING for b in self.document["boards"])

    @property
    def is_estimated(self) -> bool:
        """Whether Vela made each estimate that it was asked for; True where none was."""
        return all(e["failed"] is None for e in (self.document["npu"] or {"estimates": ()})["estimates"])

    @property
    def lines(self) -> tuple[str, ...]:
        """For people: what it takes, what exists during each op, the boards, and an Edge TPU."""
        return tuple(map(shown, fit_lines.lines(self.document)))

    def to_json(self) -> dict[str, Any]:
        """The document itself."""
        return dict(self.document)


def fit(  # noqa: PLR0913  # all by keyword, with defaults
    model: str | Path,
    *,
    board: str | None = None,
    instructions: bool = False,
    against_float: bool = True,
    data: object = None,
    npu: str | Sequence[str] = (),
    progress: Progress = silent,
) -> Fit:
    """What an integer .tflite takes of RAM and flash as the C of :func:`~intact.run.deploy.deploy`, and which boards hold it.

    ``board``: the one that matters, by any of its names; ``fits`` of the result is then whether it holds the network, and the
    lines say what would help where it does not. ``instructions`` emulates one sample, of ``data`` or random, on a Cortex-M4.
    ``against_float``: and on a core without floating point, beside the same network in float32 (:mod:`intact.run.fit_float`).
    ``npu``: names of :func:`~intact.deploy.npus.npus`, for each of which Vela makes an estimate.

    Where C lacks an op, that is said in the document, and what the network's tensors take is said all the same. ModelError for
    a float network; OptionError for a board or an NPU that there is not; MissingToolError where ``instructions`` lacks a tool,
    MissingExtraError where ``npu`` lacks Vela.
    """
    named = None if board is None else boards.board(board)
    if data is not None and not instructions:
        raise OptionError("samples serve to count instructions; add --instructions, or leave --data out")
    asked = fit_npu.asked((npu,) if isinstance(npu, str) else npu)
    with located(str(model)):
        content, graph = integer_network(Path(model), "fit")
    text = Text("network", Path(model).name, hashlib.sha256(content).hexdigest())
    progress("plan", 0, 0)
    made, lacking = firmware_document.written(graph, text, _CORE)
    notes = (f"code is not counted, for it was not compiled here: {made.missing}",) if made.missing else ()
    ran = compared = None
    if instructions:
        if not made.nets:
            raise UnsupportedError(f"there is no C of it to emulate: {lacking[0]}")
        progress("emulate", 0, 0)
        given = vectors(graph, data, 1)
        fitting = next((v.how for v in firmware_document.verdicts(made) if v.board == named and v.how in made.nets), None)
        net = made.nets["at once" if fitting is None else fitting]
        ran = emulate(net, _CORE, Budget(_CORE.ram, _CORE.flash), given)
        if against_float:
            compared = comparison(graph, text, made.nets["at once"], given, progress)
    document = {
        "schema": SCHEMA,
        "version": __version__,
        "model": {"name": text.title, "sha256": text.sha256, "bytes": len(content)},
        **firmware_document.document(graph, made, lacking, _CORE),
        "board": None if named is None else named.key,
        "edge_tpu": _edge_tpu(graph),
        "npu": fit_npu.estimates(graph, asked, progress),
        "emulated": None if ran is None else {"core": ran.core, "exact": ran.same == ran.count, **ran.figures(macs(graph))},
        "float": compared,
    }
    return Fit(document, notes)


def _edge_tpu(graph: Graph) -> dict[str, Any]:
    found = by_document(graph)
    cpu: Sequence[Mapping[str, str]] = [asdict(fallback) for fallback in found.cpu]
    return {"source": SOURCE, "measured": False, "runs": list(found.runs), "cpu": cpu, "limits": dict(found.limits)}

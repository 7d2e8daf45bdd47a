"""What a run gives back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from intact import files
from intact.data import Finding
from intact.errors import OptionError
from intact.measure.accuracy import Verdict
from intact.measure.criteria import Judged
from intact.measure.figures import Reading
from intact.measure.task import Task
from intact.network.graph import Graph
from intact.planning.plan import Plan
from intact.report.brief import to_html
from intact.report.markdown import to_markdown
from intact.report.record import compact as details_to_json
from intact.report.record import record, to_json
from intact.run.folder import open_run
from intact.run.settings import Settings
from intact.search.candidate import Candidate
from intact.wording import counted, shown


@final
@dataclass(frozen=True, eq=False)
class Result:
    """The quantized model with its plan and every figure. ``float_graph`` is the network that was quantized.

    ``taken`` names the candidate that a search chose, ``steps`` say what remedies did to the network, ``tasks`` what each
    output, by name, was taken for. ``job``: what the run was started with, as ``job.json`` has it. ``criteria``: what each
    criterion came to. ``details``: what lies under the figures, as ``details.json`` has it, empty where nobody asked.
    ``samples``: figures of every single sample, as ``samples.npz`` has them. ``packed``: the file for a device that decodes
    tables of weights, which LiteRT does not. Both are empty where there is none.
    """

    model: bytes = field(repr=False)
    graph: Graph = field(repr=False)
    float_graph: Graph = field(repr=False)
    plan: Plan = field(repr=False)
    settings: Settings
    readings: tuple[Reading, ...]
    findings: tuple[Finding, ...]
    about: Mapping[str, Any]
    candidates: tuple[Candidate, ...] = field(default=(), repr=False)
    taken: str | None = None
    steps: tuple[str, ...] = ()
    verdict: Verdict | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict, repr=False)
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    criteria: tuple[Judged, ...] = ()
    packed: bytes = field(default=b"", repr=False)
    samples: bytes = field(default=b"", repr=False)

    def __repr__(self) -> str:
        about = f"{self.settings.scheme} for {self.settings.target}, {len(self.model):,} bytes"
        return f"<Result: {about}, {counted(len(self.readings), 'figure')}; print(result.summary()) shows them>"

    def _repr_html_(self) -> str:
        return to_html(record(self), json.loads(details_to_json(self.details)) if self.details else None)

    def save(self, path: str | Path) -> Path:
        """Write the .tflite, whole or not at all."""
        files.write_bytes(Path(path), self.model)
        return Path(path)

    def save_run(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write what ``intact quantize --out`` writes: the model, its plan, and the figures as result.json and result.md.

        OutputError for a folder that holds a finished run or other things, unless ``overwrite``: then the results of the
        former run are replaced, and nothing else.
        """
        path = Path(folder)
        with open_run(path, self.job, overwrite=overwrite) as run:
            run.finish(self.files())
        return path

    def files(self) -> dict[str, bytes]:
        """What a finished run's folder holds, by name."""
        document = record(self)
        return {
            **self.deliverables,
            **({"samples.npz": self.samples} if self.samples else {}),
            **({"details.json": details_to_json(self.details)} if self.details else {}),
            "result.md": to_markdown(document).encode(),
            "result.json": to_json(document).encode(),
        }

    @property
    def deliverables(self) -> dict[str, bytes]:
        """What is handed on, by file name: the model, and how it was made."""
        adjusted = self.plan.adjusted
        return {
            **({"plan.npz": adjusted.data} if adjusted is not None and adjusted.data else {}),
            "model.tflite": self.model,
            **({"packed.tflite": self.packed} if self.packed else {}),
            "plan.json": self.plan.to_json().encode(),
        }

    @property
    def acceptance(self) -> Mapping[str, Any] | None:
        """Whether the model is accepted, with limitation or rejected by the criteria, and why; None without criteria."""
        found: Mapping[str, Any] | None = record(self)["acceptance"]
        return found

    def reading(self, name: str, of: str = "quantized") -> Reading:
        """The figure called ``name`` of the ``"float"`` or ``"quantized"`` model or their ``"difference"``."""
        for reading in self.readings:
            if (reading.of, reading.measurement.name) == (of, name):
                return reading
        known = ", ".join(f"{r.of} {r.measurement.name!r}" for r in self.readings)
        raise OptionError(f"no figure is called {name!r} of {of!r}; there are {known}")

    def summary(self) -> str:
        """Every figure, one a line, then the verdict, criteria and what was noticed."""
        width = max((len(r.of) for r in self.readings), default=0)
        lines = [f"{r.of:<{width}}  {r.measurement}" for r in self.readings]
        if self.verdict is not None:
            lines.append(f"verdict: {self.verdict.in_full}")
        lines += [f"{j.status}: {j.criterion} ({j.why})" for j in self.criteria]
        return "\n".join(map(shown, (*lines, *(f"note: {f.message}" for f in self.findings))))

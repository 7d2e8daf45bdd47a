"""``intact.study``: models quantized in every way that is asked for, side by side."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from intact import data as samples_of
from intact import scratch
from intact.errors import OptionError
from intact.measure.accuracy import Metric, called
from intact.measure.criteria import Criterion
from intact.measure.metrics import metric_of
from intact.progress import unheard
from intact.report.brief import to_html
from intact.report.study import to_json
from intact.run import acceptance
from intact.run.conduct import Asked, Conductor, Watch, unwatched
from intact.run.options import seconds
from intact.run.settings import Settings
from intact.run.study_cells import Axes, Names, Numbers
from intact.run.study_file import reference
from intact.run.study_folder import open_study
from intact.runtime import anywhere

#: What all runs of a study have alike.
_OPTIONS: Final = frozenset(
    {
        "ranges", "input_type", "output_type", "keep_float", "input_shape", "time_budget", "device", "learning_samples",
        "label_weight", "on",
    }
)  # fmt: skip


@final
@dataclass(frozen=True, eq=False)
class Study:
    """All cells of a study and what they come to. ``folder`` holds a run's folder for each; see docs/study.md."""

    document: Mapping[str, Any] = field(repr=False)
    folder: Path

    @property
    def cells(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self.document["cells"])

    @property
    def rows(self) -> tuple[Mapping[str, Any], ...]:
        """The cells that differ in seed, repeat and threads only, put together."""
        return tuple(self.document["rows"])

    @property
    def decision(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.document["decision"]
        return found

    def to_json(self) -> str:
        return to_json(self.document)

    def save(self, folder: str | Path) -> Path:
        """Copy the study with its runs into a folder that is not there yet, or empty."""
        path = Path(folder)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OptionError(f"{path} is there already; give save() a folder that is not")
        shutil.copytree(self.folder, path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
        return path

    def _repr_html_(self) -> str:
        return to_html(self.document)

    def __repr__(self) -> str:
        failed = sum(row["status"] == "failed" for row in self.rows)
        about = f"{len(self.rows)} variants of {', '.join(self.document['models'])}" + (f", {failed} failed" if failed else "")
        return f"<Study: {about}; {self.decision['taken'] or 'none'} taken; .rows holds the figures>"


def study(  # noqa: PLR0913  # all but two have defaults
    models: object,
    data: object,
    *,
    evaluation: object = None,
    schemes: Names | None = None,
    targets: Names | None = None,
    runtimes: Names | None = None,
    weights: Names = "per-channel",
    remedies: Names = "quick",
    calibration_samples: Numbers = 500,
    threads: Numbers = 1,
    seeds: int = 1,
    repeats: int = 1,
    seed: int = 0,
    accept: str | Path | Criterion | Iterable[str | Criterion] | None = None,
    references: Iterable[Mapping[str, Any]] = (),
    out: str | Path | None = None,
    overwrite: bool = False,
    jobs: int | None = None,
    workers: int | None = None,
    metric: Metric | str | None = None,
    watch: Watch = unwatched,
    tell: Callable[[str], None] = unheard,
    **options: Any,
) -> Study:
    """Quantize one model, or a list of them, in every way that is asked for, and put the results side by side.

    ``models`` and ``data`` are what :func:`intact.quantize` takes, and so are ``options`` that all runs have (``ranges``,
    ``input_type``, ``output_type``, ``keep_float``, ``input_shape``, ``time_budget``, ``device``, ``learning_samples``,
    ``label_weight``, ``on``). ``targets``: "cpu" where nothing else is said. ``runtimes``: LiteRT and others, "litert",
    "tflm", "onnxruntime", "openvino", "pytorch", "pytorch-eager" and "tensorrt", each planned for its own target unless
    ``targets`` are named. Without ``schemes``, all that each target runs. ``remedies``: "plain" (none), "quick" (the cheap
    ones where they gain), "fine-tuned", or names with "+" between them. ``seeds`` draws of samples, ``repeats`` of all times in
    fresh processes. ``accept``: criteria, such as "drop <= 2", by which one variant is taken. ``references``: what others
    published. ``out`` is a folder, in which the same call goes on where it was; without, a temporary one that goes with the
    Study. ``workers`` processes compute runs side by side, or so many nodes as a cluster has; ``jobs`` is how many runs at a
    time, whose samples the workers share; with 1, or without workers, runs are computed in this process. ``tell`` hears what
    becomes of them that was not asked for. A variant that fails is a row with its reason. Raises IntactError for what no
    variant could have.
    """
    several = models if isinstance(models, (list, tuple)) else [models]
    unknown = options.keys() - _OPTIONS
    if unknown:
        raise OptionError(f"a study has no {', '.join(sorted(unknown))}; its options are: {', '.join(sorted(_OPTIONS))}")
    kept = options.get("keep_float", ())
    budget = options.get("time_budget", Settings.time_budget)
    axes = Axes.of(
        schemes=schemes,
        targets=targets,
        runtimes=runtimes,
        weights=weights,
        remedies=remedies,
        calibration_samples=calibration_samples,
        threads=threads,
        seeds=seeds,
        repeats=repeats,
    )
    asked = Asked(
        models=tuple(several),
        data=samples_of.samples_from(data),
        evaluation=None if evaluation is None else samples_of.samples_from(evaluation, "evaluation"),
        given=(data, evaluation),
        preprocessing=samples_of.Preprocessing().to_json(),
        image=None,
        label=None,
        axes=axes,
        options={
            **options,
            "keep_float": (kept,) if isinstance(kept, str) else tuple(kept),
            "time_budget": seconds(budget) if isinstance(budget, str) else budget,
            "seed": seed,
            "metric": None if metric is None else metric if isinstance(metric, str) else called(metric),
        },
        metric=metric_of(metric),
        accept=acceptance.of_study(accept or (), metric, axes),
        references=tuple(reference(table, number) for number, table in enumerate(references, start=1)),
    )
    if out is not None:
        with (
            anywhere.opened(options.get("on"), workers) as place,
            open_study(Path(out), asked.job(), overwrite=overwrite) as folder,
        ):
            return Study(Conductor(asked, folder, watch, tell, place).run(jobs), Path(out))
    temporary = scratch.lasting()
    try:
        with anywhere.opened(options.get("on"), workers) as place, open_study(temporary / "study", asked.job()) as folder:
            made = Study(Conductor(asked, folder, watch, tell, place).run(jobs), folder.path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    weakref.finalize(made, shutil.rmtree, temporary, ignore_errors=True)
    return made

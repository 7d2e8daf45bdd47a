"""Fine-tuning of a network that is quantized already as one function, on one process or on all that torchrun started."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from intact import data as samples_of
from intact import scratch
from intact.errors import OptionError
from intact.measure import accuracy
from intact.measure.accuracy import Metric
from intact.measure.criterion import Accept
from intact.measure.criterion import criteria as criteria_of
from intact.measure.metrics import metric_of
from intact.planning.plan import Plan
from intact.planning.schemes import INTEGERS
from intact.planning.schemes import scheme as scheme_named
from intact.progress import Progress, silent, unheard
from intact.reading import content
from intact.remedies.loss import LossFunction
from intact.run.folder import RunFolder, Work, difference, open_run
from intact.run.folder import job as described
from intact.run.job import Job
from intact.run.losses import loss_of
from intact.run.result import Result
from intact.run.settings import Settings
from intact.run.training import Training
from intact.runtime.scripts.keras_export import InputShape
from intact.simulate.engine import device_named
from intact.simulate.ranks import Ranks, joined

#: Seconds that the ranks wait for each other.
PATIENCE: Final = 600.0
#: Bytes of a job.json, which may hold a plan.
_LONGEST: Final = 1 << 28
#: Of a job, what may lie elsewhere on another machine.
_PLACES: Final = ("data", "eval")


def finetune(  # noqa: PLR0913  # all but three have defaults
    model: object,
    data: object,
    *,
    plan: Plan | Result | str | Path,
    evaluation: object = None,
    folder: str | Path | None = None,
    epochs: int = Training.epochs,
    steps: int | None = None,
    batch: int = Training.batch,
    parts: int = Training.parts,
    rate: float = Training.rate,
    label_weight: float = Training.label_weight,
    loss: LossFunction | str | None = None,
    patience: int = Training.patience,
    learn_rounding: bool = False,
    precision: str = Training.precision,
    learning_samples: int | None = None,
    seed: int = 0,
    device: str = "auto",
    input_shape: InputShape | None = None,
    metric: Metric | str | None = None,
    accept: Accept = (),
    measure: bool = True,
    details: bool = True,
    overwrite: bool = False,
    rank_timeout: float = PATIENCE,
    progress: Progress | None = None,
) -> Result:
    """Train the integer network of ``plan`` further on ``data``, and measure what comes out, as :func:`intact.quantize` does.

    ``model`` is the float network that the plan was made for: what is trained has to make its outputs, and with labels, by
    ``label_weight`` from 0 to 1, to be right. ``plan``: a run's folder, its plan.json, a Plan or a Result. ``data`` are read a
    batch at a time; without ``evaluation``, half of them report.
    ``loss`` takes the place of both: ``f(made, exact, targets)`` of the outputs by name, [n, ...], of the integer and of the
    float network, and of what came with the samples; or "file.py:f". ``batch`` samples make a step, in ``parts`` that are
    summed in order, so that any number of ranks gives the same bytes. ``rate``: of weights, in steps of their scales.
    ``precision``: "bfloat16" for convolutions and products of matrices, on GPUs. ``learn_rounding``: before the training.
    ``folder``: what ``intact finetune --out`` writes, from which the same call goes on after an interruption.

    In a process that ``torchrun`` started, all ranks train together; rank 0 writes and measures, and the results of the others
    have no figures. Raises RankError where ranks disagree, or one is silent for ``rank_timeout`` seconds.
    """
    with joined_on(device, rank_timeout) as ranks:
        training = Training(
            epochs=epochs,
            steps=steps,
            batch=batch,
            parts=parts,
            rate=rate,
            label_weight=label_weight,
            patience=patience,
            rounding=learn_rounding,
            precision=precision,
            samples=learning_samples,
            loss=loss_of(loss),
            ranks=ranks,
        )
        settings = Settings(
            seed=seed,
            device=device,
            input_shape=input_shape,
            metric=None if metric is None else metric if isinstance(metric, str) else accuracy.called(metric),
            accept=tuple(c.text for c in criteria_of(accept)),
        )
        began = plan_of(plan)
        settings = settings_for(began, settings)

        def job(work: Work) -> Job:
            samples = samples_of.samples_from(data)
            reporting = None if evaluation is None else samples_of.samples_from(evaluation, "evaluation")
            return Job(model, samples, reporting, settings, began, metric_of(metric), work, training)

        about = described(
            model=model,
            data=data,
            evaluation=evaluation,
            settings=settings,
            preprocessing=samples_of.Preprocessing().to_json(),
            image=None,
            label=None,
            plan=began,
            training=training.to_json(),
        )
        out = None if folder is None else Path(folder)
        made = carried_out(job, about, out, ranks, progress or silent, measure=measure, details=details, overwrite=overwrite)
        ranks.same_status(0)
    return made


def joined_on(device: str, timeout: float) -> AbstractContextManager[Ranks]:
    """The ranks that torchrun started, which train on ``device`` and wait ``timeout`` seconds for each other."""
    return joined(timeout, device_named(device))


def carried_out(  # noqa: PLR0913  # a run's own parts
    job: Callable[[Work], Job],
    about: Mapping[str, Any],
    out: Path | None,
    ranks: Ranks,
    progress: Progress,
    *,
    tell: Callable[[str], None] = unheard,
    measure: bool = True,
    details: bool = True,
    overwrite: bool = False,
) -> Result:
    """The job of this rank, which is ``about`` the same as that of the others. Rank 0 measures, and writes into ``out``."""
    is_first = ranks.rank == 0
    ranks.agree(
        _without_places(about), lambda theirs, ours: f"it was started for another job{difference(theirs.encode(), ours)}"
    )
    with _folder(out if is_first else None, about, overwrite, tell) as folder:
        begun = job(Work(folder, progress, tell) if is_first else Work(folder))
        if ranks.size > 1:  # converted once, for converters are large and slow
            source = ranks.from_first(begun.converted().read_bytes() if is_first else b"")
            folder.file("float.tflite", lambda: source)
        result = replace(begun.run(measure=measure and is_first, details=details and is_first), job=about)
        if out is not None and is_first:
            folder.finish(result.files())
    return result


def plan_of(plan: Plan | Result | str | Path) -> Plan:
    """The plan to begin with, of a run's folder too."""
    if isinstance(plan, Result):
        return plan.plan
    if isinstance(plan, (str, Path)):
        return Plan.load(Path(plan) / "plan.json" if Path(plan).is_dir() else plan)
    if not isinstance(plan, Plan):
        raise OptionError(f"plan= takes a run's folder, a plan.json, a Plan or a Result, not {type(plan).__name__}")
    return plan


def other_preprocessing(plan: Path, preprocessing: Mapping[str, Any]) -> str:
    """A sentence where the run beside a plan read its images in another way than ``preprocessing``; else nothing."""
    job = (plan if plan.is_dir() else plan.parent) / "job.json"
    try:
        held = json.loads(content(job, OptionError, _LONGEST))["preprocessing"]
    except (OptionError, ValueError, LookupError, TypeError, RecursionError):  # a plan may lie anywhere
        return ""
    mine = json.dumps(dict(preprocessing))
    if held == json.loads(mine):
        return ""
    other = difference(json.dumps(held).encode(), mine)
    return f"the run in {job.parent} read its samples otherwise{other}; type what it was given"


def settings_for(plan: Plan, settings: Settings) -> Settings:
    """``settings`` with the scheme and target of ``plan``; OptionError where that has no integers."""
    if not scheme_named(plan.scheme).is_integer:
        raise OptionError(f"the plan is of {plan.scheme}, which computes in float; fine-tuning is for {INTEGERS}")
    return settings.replaying(plan.scheme, plan.target)


def _without_places(about: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in about.items() if name not in _PLACES}, sort_keys=True)


@contextmanager
def _folder(out: Path | None, about: Mapping[str, Any], overwrite: bool, tell: Callable[[str], None]) -> Iterator[RunFolder]:
    if out is None:
        with scratch.folder() as folder:
            yield RunFolder(folder)
    else:
        with open_run(out, about, overwrite=overwrite, tell=tell) as run:
            yield run

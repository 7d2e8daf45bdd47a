"""The main job as one function."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from intact import data as samples_of
from intact import scratch
from intact.choices import Granularity
from intact.deploy import bytes as sizes
from intact.errors import OptionError
from intact.measure import accuracy
from intact.measure.accuracy import Metric
from intact.measure.criterion import Accept
from intact.measure.criterion import criteria as criteria_of
from intact.measure.metrics import metric_of
from intact.planning.plan import Plan
from intact.progress import Progress, silent
from intact.run import acceptance, options
from intact.run.folder import RunFolder, Work
from intact.run.folder import job as described
from intact.run.job import Job
from intact.run.result import Result
from intact.run.settings import Settings
from intact.runtime import anywhere
from intact.runtime.scripts.keras_export import InputShape


def quantize(  # noqa: PLR0913  # all but two have defaults
    model: object,
    data: object,
    *,
    evaluation: object = None,
    scheme: str = "int8",
    target: str = "cpu",
    ranges: str = "auto",
    weights: Granularity = "per-channel",
    keep_float: Iterable[str] | str = (),
    input_type: str | None = None,
    output_type: str | None = None,
    seed: int = 0,
    calibration_samples: int = 500,
    input_shape: InputShape | None = None,
    remedies: Iterable[str] | str = "auto",
    max_drop: float | None = None,
    min_agreement: float | None = None,
    time_budget: float | str = 900.0,
    device: str = "auto",
    learning_samples: int = 2000,
    label_weight: float = 0.1,
    plan: Plan | str | Path | None = None,
    metric: Metric | str | None = None,
    accept: Accept = (),
    minimize: str | None = None,
    ram: int | str | None = None,
    flash: int | str | None = None,
    board: str | None = None,
    runtime: str = "c",
    on: str | None = None,
    workers: int | None = None,
    measure: bool = True,
    details: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Quantize ``model`` (anything that :func:`intact.load` takes) and measure what it costs, on the written file.

    ``data`` and ``evaluation`` are samples in whatever form they come: see :func:`intact.data.samples_from`; a torch module is
    traced on the first of them. ``data`` is split by ``seed`` into calibration and evaluation samples, unless ``evaluation``
    is given. ``metric`` is any function of outputs and labels, larger being better, or one of "mse", "mae", "auc" and "iou".
    ``input_shape`` is for models that leave sizes open: (96, 96, 3), or by input name. ``remedies`` are applied as named,
    none of them for ``()`` or "none"; "auto": equalize, clip and bias or compensate where the output clearly gains.
    ``max_drop`` (percentage points, or in the unit of ``metric``) or ``min_agreement`` (per cent) lets a search of at most
    ``time_budget`` (seconds, or "15m") choose; they learn on ``device``: "cpu", "cuda", or "auto", from ``learning_samples``
    at most, and "finetune" from their labels by ``label_weight``, from 0 to 1. ``plan`` replays a plan
    made before: a Plan, or the path of a plan.json with its plan.npz beside it. ``accept``: criteria that the result is judged
    by, such as ["drop <= 2", "size >= 4x"], or the path of an accept.toml; one on what is lost steers as a limit does.
    ``minimize="size"``: not the first network within the limit but the smallest, with a width for the weights of each op.
    ``ram`` and ``flash`` (bytes, or "256K"), or those of ``board``, are what firmware may take with ``target="mcu"``, as C or
    in TensorFlow Lite Micro (``runtime="tflm"``): what takes more is no candidate, and weights get fewer bits until they fit.
    ``on``: a device of the user's (``intact devices``) or a Ray cluster ("ray", "ray://head:10001") on which the files are
    measured, instead of this machine; ``workers``: processes of one thread each that share the samples on this machine.
    ``measure=False`` leaves out all figures, ``details=False`` what lies under them: each op, tensor, class and changed sample,
    which a report shows.
    ``save`` of the result writes the model, ``save_run`` the folder that the command ``intact quantize`` writes.
    Raises IntactError with one sentence that says what to do.
    """
    settings = Settings(
        scheme=scheme,
        target=target,
        ranges=ranges,
        weights=weights,
        keep_float=(keep_float,) if isinstance(keep_float, str) else tuple(keep_float),
        input_type=input_type,
        output_type=output_type,
        seed=seed,
        calibration_samples=calibration_samples,
        input_shape=input_shape,
        remedies=options.remedies(remedies) if isinstance(remedies, str) else tuple(remedies),
        max_drop=max_drop,
        min_agreement=min_agreement,
        time_budget=options.seconds(time_budget) if isinstance(time_budget, str) else time_budget,
        device=device,
        learning_samples=learning_samples,
        label_weight=label_weight,
        metric=None if metric is None else metric if isinstance(metric, str) else accuracy.called(metric),
        accept=tuple(c.text for c in criteria_of(accept)),
        minimize=minimize,
        ram=sizes.parsed(ram, "--ram") if isinstance(ram, str) else ram,
        flash=sizes.parsed(flash, "--flash") if isinstance(flash, str) else flash,
        board=board,
        runtime=runtime,
        on=on,
    )
    acceptance.check_measured(settings.criteria, measure=measure)
    measured_by = metric_of(metric)
    replaying = Plan.load(plan) if isinstance(plan, (str, Path)) else plan
    if not isinstance(replaying, Plan | None):
        raise OptionError(f"plan= takes a Plan or the path of a plan.json, not {type(plan).__name__}; a Result has its .plan")
    with anywhere.timing(on, workers) as timer, scratch.folder() as folder:
        samples = samples_of.samples_from(data)
        reporting = None if evaluation is None else samples_of.samples_from(evaluation, "evaluation")
        work = Work(RunFolder(folder), progress or silent, timer=timer)
        job = Job(model, samples, reporting, settings, replaying, measured_by, work)
        started_with = described(  # before the work: the files may change, or go, meanwhile
            model=model,
            data=data,
            evaluation=evaluation,
            settings=settings,
            preprocessing=samples_of.Preprocessing().to_json(),  # as load takes a path
            image=None,
            label=None,
            plan=replaying,
        )
        result = job.run(measure=measure, details=details)
        if not isinstance(data, (str, Path)):
            started_with["preprocessing"] = result.about["samples"]["preprocessing"]
        return replace(result, job=started_with)

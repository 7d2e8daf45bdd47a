"""The main job in one call."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

from intact import data as samples_of
from intact.choices import Granularity
from intact.measure import accuracy
from intact.measure.accuracy import Metric
from intact.measure.metrics import metric_of
from intact.planning.plan import Plan
from intact.progress import Progress, silent
from intact.run import options
from intact.run.folder import RunFolder, Work
from intact.run.job import Job
from intact.run.result import Result
from intact.run.settings import Settings
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
    keep_float: Iterable[str] = (),
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
    plan: Plan | str | Path | None = None,
    metric: Metric | str | None = None,
    measure: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Quantize ``model`` (anything that :func:`intact.load` takes) and measure what it costs, on the written file.

    ``data`` and ``evaluation`` are samples in whatever form they come: see :func:`intact.data.samples_from`; a torch module is
    traced on the first of them. ``data`` is split by ``seed`` into calibration and evaluation samples, unless ``evaluation``
    is given. ``metric`` is any function of outputs and labels, larger being better, or one of "mse", "mae", "auc" and "iou".
    ``input_shape`` is for Keras models that leave sizes open: (96, 96, 3), or by input name. ``remedies`` are applied as named,
    none of them for ``()`` or "none"; "auto": equalize, clip and bias where the output clearly gains by them.
    ``max_drop`` (percentage points, or in the unit of ``metric``) or ``min_agreement`` (per cent) lets a search of at most
    ``time_budget`` (seconds, or "15m") choose; they learn on ``device``: "cpu", "cuda", or "auto". ``plan`` replays a plan
    made before: a Plan, or the path of a plan.json with its plan.npz beside it. ``measure=False`` leaves out all figures.
    Raises IntactError with one sentence that says what to do.
    """
    settings = Settings(
        scheme=scheme,
        target=target,
        ranges=ranges,
        weights=weights,
        keep_float=tuple(keep_float),
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
        metric=None if metric is None else metric if isinstance(metric, str) else accuracy.called(metric),
    )
    measured_by = metric_of(metric)
    replaying = Plan.load(plan) if isinstance(plan, (str, Path)) else plan
    with tempfile.TemporaryDirectory(prefix="intact-") as folder:
        samples = samples_of.samples_from(data)
        reporting = None if evaluation is None else samples_of.samples_from(evaluation, "evaluation")
        job = Job(
            model, samples, reporting, settings, replaying, measured_by, Work(RunFolder(Path(folder)), progress or silent)
        )
        return job.run(measure=measure)

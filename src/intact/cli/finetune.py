"""The command ``finetune``: a quantized network trained further, by one process or by all that torchrun starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from intact import choices
from intact import data as samples_of
from intact.cli import shared
from intact.cli.quantize import missed, say
from intact.data import Preprocessing
from intact.errors import IntactError, OptionError, RankError, located
from intact.run import options
from intact.run.settings import Settings

#: What a process that torchrun started finds in its environment.
_RANK: Final = "RANK"


def finetune(
    model: shared.Model,
    plan: Annotated[Path, typer.Option(help="The folder of the run that quantized the model, or its plan.json.")],
    data: shared.Data,
    evaluation: Annotated[
        Path | None, typer.Option("--eval", help="Samples that report; without it half of --data, by seed.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output folder. Default: the model's name, the scheme and finetuned.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="How often every sample is seen.")] = 8,
    steps: Annotated[int | None, typer.Option(help="At most so many steps, whatever the epochs.")] = None,
    batch: Annotated[int, typer.Option(help="Samples a step, of all ranks together.")] = 50,
    parts: Annotated[int, typer.Option(help="Into how many parts a batch is split: as many ranks can share it.")] = 4,
    rate: Annotated[float, typer.Option(help="The learning rate of weights, in steps of their scales.")] = 1e-2,
    label_weight: Annotated[
        float, typer.Option(help="How much labels count beside the float network's outputs, 0 to 1.")
    ] = 0.1,
    loss: Annotated[
        str | None, typer.Option(help="file.py:function of outputs, the float network's outputs and targets, instead of both.")
    ] = None,
    patience: Annotated[int, typer.Option(help="Epochs in a row that are no better, after which it ends.")] = 4,
    learn_rounding: Annotated[bool, typer.Option("--learn-rounding", help="Learn how weights round before.")] = False,
    precision: Annotated[
        str, typer.Option(help="float32, or bfloat16 of convolutions and products of matrices: on a GPU.")
    ] = "float32",
    learning_samples: Annotated[int | None, typer.Option(help="Train on so many samples at most. Default: all.")] = None,
    metric: shared.MetricName = None,
    accept: shared.Accept = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when a criterion is open.")] = False,
    device: Annotated[str, typer.Option(help="Where it trains: auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Decides the split and the order of the samples.")] = 0,
    rank_timeout: Annotated[str, typer.Option(help="Under torchrun, how long a rank may be silent: 90s, 10m.")] = "10m",
    input_shape: Annotated[
        list[str] | None, typer.Option(help="Sizes that a model leaves open: 96,96,3, or image=96,96,3 for each input.")
    ] = None,
    image: shared.ImageField = None,
    label: shared.Label = None,
    pixels: shared.Pixels = "0,1",
    mean: shared.Mean = None,
    std: shared.Std = None,
    channels: shared.Channels = None,
    resize: shared.Resize = "stretch",
    overwrite: shared.Overwrite = False,
    details: Annotated[
        bool, typer.Option("--details/--no-details", help="Also what a report shows of each op, tensor and class.")
    ] = True,
    verbose: shared.Verbose = False,
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Train the integer network of a run further on your own samples, and measure it; torchrun shares the work."""
    with shared.reported(debug, _is_told):
        patient = options.seconds(rank_timeout, "--rank-timeout")

        def checked() -> tuple[Settings, Preprocessing]:
            settings = Settings(
                seed=seed,
                device=device,
                input_shape=options.input_shape(input_shape or []),
                metric=None if metric is None else choices.metric(metric),
                accept=tuple(accept or ()),
            )
            if strict and not accept:
                raise OptionError("--strict says how a criterion is judged; type --accept as well")
            preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
            shared.check(model, data, evaluation, image=image, label=label)
            return settings, preprocessing

        # What one rank of several refuses, it has to tell the others.
        found = checked() if _RANK not in os.environ else None
        with shared.loading():
            from intact.measure.metrics import metric_of
            from intact.report.terminal import Output
            from intact.run.finetune import carried_out, joined_on, other_preprocessing, plan_of, settings_for
            from intact.run.folder import Work
            from intact.run.folder import job as described
            from intact.run.job import Job
            from intact.run.losses import loss_of
            from intact.run.training import Training

        with joined_on(device, patient) as ranks:
            settings, preprocessing = checked() if found is None else found
            output = Output(quiet or ranks.rank > 0, as_json and ranks.rank == 0)
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
            began = plan_of(plan)
            if note := other_preprocessing(plan, preprocessing.to_json()):
                output.line(note)
            settings = settings_for(began, settings)
            folder = out or Path(f"{model.stem}_{began.scheme}_finetuned")
            source = samples_of.load(data, preprocessing, image=image, label=label)
            reporting = (
                None if evaluation is None else samples_of.load(evaluation, preprocessing, image=image, label=label, use="eval")
            )
            about = described(
                model=model,
                data=data,
                evaluation=evaluation,
                settings=settings,
                preprocessing=preprocessing.to_json(),
                image=image,
                label=label,
                plan=began,
                training=training.to_json(),
            )

            def job(work: Work) -> Job:
                return Job(model, source, reporting, settings, began, metric_of(metric), work, training)

            with output.progress() as progress:
                result = carried_out(
                    job, about, folder, ranks, progress, tell=output.line, details=details, overwrite=overwrite
                )
            if ranks.rank == 0:
                with located(f"{folder} is finished"):
                    say(result, output, folder, model.name, verbose)
            status = ranks.same_status(int(missed(result, strict)))
        if status:
            raise typer.Exit(status)


def _is_told(error: IntactError) -> bool:
    """Whether this process tells it: of several ranks the first, and each that another was lost to."""
    return os.environ.get(_RANK, "0") == "0" or (isinstance(error, RankError) and error.is_lost)

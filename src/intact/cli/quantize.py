"""The commands ``quantize`` and ``demo``: the main job in a folder of its own."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from intact import choices
from intact import data as samples_of
from intact.cli import shared
from intact.cli.report import report as page
from intact.deploy import bytes as sizes
from intact.errors import OptionError, located
from intact.run import options
from intact.run.settings import Settings
from intact.runtime import anywhere

if TYPE_CHECKING:
    from intact.report.terminal import Output
    from intact.run.result import Result


def quantize(
    model: shared.Model,
    data: shared.Data,
    evaluation: Annotated[
        Path | None, typer.Option("--eval", help="Samples that report; without it --data is split by seed.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder. Default: the model's name and the scheme.")] = None,
    scheme: Annotated[
        str,
        typer.Option(help="int8, w4a8, int16x8 (see README), dynamic, float16, float32; w2a8, clusters4 and such as these."),
    ] = "int8",
    target: shared.TargetName = "cpu",
    ranges: shared.Ranges = "auto",
    weights: shared.Weights = "per-channel",
    input_type: Annotated[str | None, typer.Option(help="int8, uint8, int16 or float32. Default: as the activations.")] = None,
    output_type: Annotated[str | None, typer.Option(help="int8, uint8, int16 or float32. Default: as the activations.")] = None,
    keep_float: Annotated[list[str] | None, typer.Option(help="An op kind or output name, or a pattern; repeatable.")] = None,
    calibration_samples: Annotated[int, typer.Option(help="How many samples calibrate.")] = 500,
    max_drop: Annotated[
        float | None, typer.Option(help="Recover accuracy until at most this many percentage points are lost.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="mse, mae, auc or iou of outputs and targets; --max-drop is then in its unit.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Without labels: until the classes agree on at least this per cent of samples.")
    ] = None,
    time_budget: Annotated[str, typer.Option(help="How long to try: 90s, 15m, 1h.")] = "15m",
    minimize: Annotated[
        str | None, typer.Option(help="size: the smallest network within the limit, each layer's weights in bits of their own.")
    ] = None,
    ram: Annotated[
        str | None, typer.Option(help="With --target mcu, what the firmware may take: 256K. What takes more is no candidate.")
    ] = None,
    flash: Annotated[
        str | None, typer.Option(help="The same of flash: 1M. Weights get fewer bits under a limit until they fit.")
    ] = None,
    board: Annotated[str | None, typer.Option(help="The RAM and flash that it has: nano33ble, pico2, …")] = None,
    runtime: Annotated[str, typer.Option(help="Whose memory that is: c (of intact deploy) or tflm.")] = "c",
    on: shared.On = None,
    workers: shared.Workers = None,
    accept: shared.Accept = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 when a limit is met by the estimate only, or a criterion is open.")
    ] = False,
    remedies: Annotated[
        str,
        typer.Option(
            help="Instead of a limit: auto (equalize, clip and bias or compensate where the output clearly gains), none, "
            f"or some of {','.join(choices.REMEDIES)}."
        ),
    ] = "auto",
    device: Annotated[str, typer.Option(help="Where remedies learn: auto, cpu or cuda.")] = "auto",
    learning_samples: Annotated[int, typer.Option(help="From how many samples remedies learn at most.")] = 2000,
    label_weight: Annotated[
        float, typer.Option(help="How much labels count in finetune beside the float network's outputs, 0 to 1.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Decides the split and the calibration samples.")] = 0,
    input_shape: Annotated[
        list[str] | None, typer.Option(help="Sizes that a model leaves open: 96,96,3, or image=96,96,3 for each input.")
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="Replay the plan.json of an earlier run.")] = None,
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
    """Quantize a trained float model and measure what it costs."""
    with shared.reported(debug):
        if strict and max_drop is None and min_agreement is None and not accept:
            raise OptionError("--strict says how a limit is judged; type --max-drop, --min-agreement or --accept as well")
        settings = Settings(
            scheme=scheme,
            target=target,
            ranges=ranges,
            weights=choices.granularity(weights),
            keep_float=tuple(keep_float or ()),
            input_type=input_type,
            output_type=output_type,
            seed=seed,
            calibration_samples=calibration_samples,
            input_shape=options.input_shape(input_shape or []),
            remedies=options.remedies(remedies),
            max_drop=max_drop,
            min_agreement=min_agreement,
            time_budget=options.seconds(time_budget),
            device=device,
            learning_samples=learning_samples,
            label_weight=label_weight,
            metric=None if metric is None else choices.metric(metric),
            accept=tuple(accept or ()),
            minimize=minimize,
            ram=_size(ram, "--ram"),
            flash=_size(flash, "--flash"),
            board=board,
            runtime=runtime,
            on=on,
        )
        preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
        if plan is not None:
            choices.plan(plan)
        shared.check(model, data, evaluation, image=image, label=label)
        with shared.loading():
            from intact.measure.metrics import metric_of
            from intact.planning.plan import Plan
            from intact.report.terminal import Output
            from intact.run.folder import Work, open_run
            from intact.run.folder import job as described
            from intact.run.job import Job

        output, replayed = Output(quiet, as_json), None if plan is None else Plan.load(plan)
        if replayed is not None:
            settings.replaying(replayed.scheme, replayed.target)
        folder = out or Path(f"{model.stem}_{scheme if replayed is None else replayed.scheme}")
        if plan is not None and overwrite and plan.resolve().parent == folder.resolve():
            raise OptionError(f"--overwrite would delete {plan} before it is replayed; give --out another folder")
        source = samples_of.load(data, preprocessing, image=image, label=label)
        reporting = (
            None if evaluation is None else samples_of.load(evaluation, preprocessing, image=image, label=label, use="eval")
        )
        job = described(
            model=model,
            data=data,
            evaluation=evaluation,
            settings=settings,
            preprocessing=preprocessing.to_json(),
            image=image,
            label=label,
            plan=replayed,
        )
        with anywhere.timing(on, workers) as timer, open_run(folder, job, overwrite=overwrite, tell=output.line) as in_folder:
            with output.progress() as progress:
                work = Work(in_folder, progress, output.line, timer=timer)
                result = Job(model, source, reporting, settings, replayed, metric_of(metric), work).run(details=details)
            in_folder.finish(result.files())
        with located(f"{folder} is finished"):
            say(result, output, folder, model.name, verbose)
        if missed(result, strict):
            raise typer.Exit(1)


def _size(text: str | None, option: str) -> int | None:
    """The bytes of a memory; ``least``, which ``deploy`` takes, is no limit that a network could meet or miss."""
    if text == sizes.LEAST:
        raise OptionError(f"{option} least is for intact deploy; type {option} 256K")
    return sizes.parsed(text, option)


def missed(result: Result, strict: bool) -> bool:
    """Whether a limit or criterion is missed, or with ``strict`` not met for certain."""
    statuses = {j.status for j in result.criteria} | ({result.verdict.status} if result.verdict is not None else set())
    return "fail" in statuses or (strict and bool(statuses - {"pass"}))


def say(result: Result, output: Output, folder: Path, model: str, verbose: bool) -> None:
    """What a finished run comes to, for whoever typed it."""
    from intact.report.record import record

    made, document = result.settings, record(result)
    output.verdict(document, f"{model} as {made.scheme} for {made.target}, timed on {document['machine']['cpu']}")
    if made.minimize and document["front"]:
        output.front(document)
    if verbose:
        output.say("")
        output.readings("", result.readings)
    output.say("")
    output.notes(finding.message for finding in result.findings)
    output.say(f"{folder / 'model.tflite'} is the model; {folder / 'result.md'} is the account in a page.")
    output.document(document)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the data, the float model and the run.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Decides the training and the samples.")] = 0,
    overwrite: shared.Overwrite = False,
    verbose: shared.Verbose = False,
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Train a small network on handwritten digits, quantize it and measure it: the whole main job on real data."""
    with shared.reported(debug):
        with shared.loading():
            from intact.cli.demo import train_digits
            from intact.report.terminal import Output

        output = Output(quiet, as_json)
        with output.progress() as progress:
            made = train_digits(out, seed, progress=partial(progress, "train"))
        output.say(f"Trained {made.model} on scikit-learn's handwritten digits. Now as a user would:")
        output.say("")
        typed = f"intact quantize {made.model} --data {made.train} --eval {made.test} --pixels=-1,1 --out {out / 'run'}"
        output.say(f"$ {typed}")
        output.say("")
        same = partial(quantize, seed=seed, overwrite=overwrite, verbose=verbose, quiet=quiet, as_json=as_json, debug=debug)
        same(made.model, made.train, made.test, out / "run", pixels="-1,1")
        output.say("")
        output.say(f"$ intact report {out / 'run'}")
        page(out / "run", quiet=quiet or as_json, debug=debug)

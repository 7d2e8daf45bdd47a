"""The command ``study``: every format side by side, from options or from a study.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from intact import choices
from intact import data as samples_of
from intact.cli import shared
from intact.errors import IntactError, OptionError
from intact.measure import criterion
from intact.run import options
from intact.run.study_cells import Axes
from intact.run.study_file import references, study_file
from intact.runtime import anywhere
from intact.wording import counted

#: Options that no study.toml has, and neither are said again to go on.
_OUT: Final = "study"
#: Cells side by side at most, whatever is typed: each holds its samples and networks in memory.
_JOBS: Final = 64


def study(
    models: Annotated[list[Path], typer.Argument(help="Models, or one study.toml that says all of this.")],
    data: Annotated[Path | None, typer.Option(help="Samples: see intact quantize --help.")] = None,
    evaluation: Annotated[Path | None, typer.Option("--eval", help="Samples that report; without it --data is split.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the study. Default: study, or the name of the .toml.")] = None,
    schemes: Annotated[
        str | None,
        typer.Option(
            help="Some of int8,w4a8,int16x8,dynamic,float16,float32, by default all of these that the target runs; and of "
            "clusters4, w3a8, dynamic-w4, dynamic-w4-g32 and such as these."
        ),
    ] = None,
    targets: Annotated[str | None, typer.Option(help="Some of cpu,mcu,openvino,tensorrt,pytorch. Default: cpu.")] = None,
    runtimes: Annotated[
        str | None,
        typer.Option(
            help="Some of litert,tflm,onnxruntime,openvino,pytorch,pytorch-eager,tensorrt, side by side, each planned for "
            "its own target where --targets names none. Default: litert."
        ),
    ] = None,
    weights: Annotated[str | None, typer.Option(help="per-channel, per-tensor, or both. Default: per-channel.")] = None,
    remedies: Annotated[
        str | None,
        typer.Option(help="Some of plain,quick,fine-tuned, or names of remedies with + between them. Default: quick."),
    ] = None,
    calibration_samples: Annotated[str | None, typer.Option(help="How many calibrate: 100,500. Default: 500.")] = None,
    threads: Annotated[str | None, typer.Option(help="Threads of the runtime for times: 1,2. Default: 1.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many times samples are drawn anew. Default: 1.")] = None,
    repeats: Annotated[int | None, typer.Option(help="How many times all is timed, in fresh processes. Default: 1.")] = None,
    seed: Annotated[int | None, typer.Option(help="The first seed. Default: 0.")] = None,
    accept: Annotated[
        list[str] | None, typer.Option(help="A criterion such as 'drop <= 2', or an accept.toml; repeatable.")
    ] = None,
    reference: Annotated[Path | None, typer.Option(help="A .toml of figures that others published, to stand beside.")] = None,
    ranges: Annotated[str | None, typer.Option(help="auto, minmax, moving, percentile or mse.")] = None,
    input_type: Annotated[str | None, typer.Option(help="int8, uint8, int16 or float32, where a scheme has it.")] = None,
    output_type: Annotated[str | None, typer.Option(help="int8, uint8, int16 or float32, where a scheme has it.")] = None,
    keep_float: Annotated[list[str] | None, typer.Option(help="An op kind or output name, or a pattern; repeatable.")] = None,
    input_shape: shared.InputShape = None,
    metric: shared.MetricName = None,
    time_budget: Annotated[str | None, typer.Option(help="How long remedies of one cell may learn: 90s, 15m, 1h.")] = None,
    device: Annotated[str | None, typer.Option(help="Where remedies learn: auto, cpu or cuda.")] = None,
    learning_samples: Annotated[int | None, typer.Option(help="From how many samples remedies learn at most.")] = None,
    label_weight: Annotated[float | None, typer.Option(help="How much labels count in finetune, 0 to 1.")] = None,
    image: shared.ImageField = None,
    label: shared.Label = None,
    pixels: Annotated[str | None, typer.Option(help="What 0..255 maps to: --pixels=-1,1. Default: 0,1. Images only.")] = None,
    mean: shared.Mean = None,
    std: shared.Std = None,
    channels: shared.Channels = None,
    resize: Annotated[str | None, typer.Option(help="stretch, letterbox, crop, crop:256 or none. Default: stretch.")] = None,
    on: shared.On = None,
    workers: Annotated[
        int | None, typer.Option(help="Compute cells side by side in this many processes of this machine.", min=1)
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Cells at a time. Default: as many as there are workers, or cores of a cluster; without these one for each "
            "four cores, at most 4. 1: one after the other, its samples shared by the workers or nodes."
        ),
    ] = None,
    overwrite: shared.Overwrite = False,
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Quantize models in every format that a target runs, and put accuracy, size and time side by side."""
    typed: dict[str, Any] = {
        "data": data, "eval": evaluation, "out": out, "schemes": schemes, "targets": targets, "runtimes": runtimes,
        "weights": weights, "remedies": remedies, "calibration-samples": calibration_samples, "threads": threads,
        "seeds": seeds, "repeats": repeats, "seed": seed, "accept": accept, "reference": reference, "ranges": ranges,
        "input-type": input_type, "output-type": output_type, "keep-float": keep_float, "input-shape": input_shape,
        "metric": metric, "time-budget": time_budget, "device": device, "learning-samples": learning_samples,
        "label-weight": label_weight, "image": image, "label": label, "pixels": pixels, "mean": mean, "std": std,
        "channels": channels, "resize": resize, "on": on, "workers": workers, "jobs": jobs,
    }  # fmt: skip
    with shared.reported(debug):
        said = _said(models, {key: value for key, value in typed.items() if value not in (None, [])})
        _run(said, overwrite=overwrite, quiet=quiet, as_json=as_json)


def _said(models: list[Path], typed: dict[str, Any]) -> dict[str, Any]:
    """What was typed, over what a study.toml says."""
    if len(models) != 1 or models[0].suffix.lower() != ".toml":
        if any(model.suffix.lower() == ".toml" for model in models):
            raise OptionError("a study.toml says which models there are; type it alone")
        return {"models": models, "out": Path(_OUT), **typed}
    held = study_file(models[0])
    return {"out": models[0].with_suffix(""), **held, **typed}


def _axes(said: Mapping[str, Any]) -> Axes:
    names = ("schemes", "targets", "runtimes", "weights", "remedies", "calibration-samples", "threads", "seeds", "repeats")
    return Axes.of(**{name.replace("-", "_"): said[name] for name in names if name in said})


def _options(said: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all runs have, as :class:`~intact.run.settings.Settings` takes them."""
    plain = ("ranges", "input-type", "output-type", "device", "learning-samples", "label-weight", "seed", "on")
    made = {name.replace("-", "_"): said[name] for name in plain if name in said}
    made["keep_float"] = tuple(said.get("keep-float", ()))
    made["input_shape"] = options.input_shape(said.get("input-shape", []))
    made["time_budget"] = options.seconds(said.get("time-budget", "15m"))
    made["metric"] = choices.metric(said["metric"]) if "metric" in said else None
    return made


def _unread(models: list[Path]) -> list[str]:
    """Why each of the models that cannot be read cannot be; the first error where none can."""
    errors = list[IntactError]()
    for model in models:
        try:
            shared.check(model)
        except IntactError as error:
            errors.append(error)
    if errors and len(errors) == len(models):
        raise errors[0]
    return [str(error) for error in errors]


def _failures(failed: list[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each reason, with whose it is."""
    for why in dict.fromkeys(row["why"] for row in failed):
        first, *others = (row["name"] for row in failed if row["why"] == why)
        yield f"{first}{f' and {len(others)} more' if others else ''}: {why}"


def _found(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What every run found out, and how much more there is to read."""
    from intact.report.study_columns import ALL, findings

    told = findings(rows)
    yield from (message for names, message in told if names == ALL)
    if more := sum(names != ALL for names, _ in told):
        yield f"study.md has {counted(more, 'finding')} of single variants"


def _run(said: Mapping[str, Any], *, overwrite: bool, quiet: bool, as_json: bool) -> None:
    for needed in ("models", "data"):
        if needed not in said:
            raise OptionError(f"a study needs {needed}; type --{needed}, or say {needed} = … in the study.toml")
    axes, kept, given = _axes(said), _options(said), references(said["reference"]) if "reference" in said else ()
    preprocessing = options.preprocessing(
        said.get("pixels", "0,1"), said.get("mean"), said.get("std"), said.get("channels"), said.get("resize", "stretch")
    )
    jobs = None if "jobs" not in said else min(choices.whole("--jobs", said["jobs"], 1), _JOBS)
    data, evaluation, out = said["data"], said.get("eval"), said["out"]
    image, label = said.get("image"), said.get("label")
    shared.check_data(data, evaluation, image=image, label=label)
    criterion.criteria(said.get("accept"))
    unread = _unread(said["models"])
    with shared.loading():
        from intact.measure.metrics import metric_of
        from intact.report.study import to_table
        from intact.report.study_terminal import Live
        from intact.report.terminal import Output
        from intact.run import acceptance
        from intact.run.conduct import Asked, Conductor
        from intact.run.study import Study
        from intact.run.study_folder import open_study

    accepting, output = acceptance.of_study(said.get("accept", ()), kept["metric"], axes), Output(quiet, as_json)
    for why in unread:
        output.line(f"note: {why}; its rows fail, the others go on")
    asked = Asked(
        models=tuple(said["models"]),
        data=samples_of.load(data, preprocessing, image=image, label=label),
        evaluation=None
        if evaluation is None
        else samples_of.load(evaluation, preprocessing, image=image, label=label, use="eval"),
        given=(data, evaluation),
        preprocessing=preprocessing.to_json(),
        image=image,
        label=label,
        axes=axes,
        options=kept,
        metric=metric_of(kept["metric"]),
        accept=accepting,
        references=given,
    )
    live = Live([v.name for v in asked.variants], quiet=quiet or as_json)
    with (
        anywhere.opened(kept.get("on"), said.get("workers")) as place,
        open_study(out, asked.job(), overwrite=overwrite, tell=output.line) as folder,
        live,
    ):
        made = Study(Conductor(asked, folder, live.watch, output.line, place).run(jobs), out)
    output.console.print(to_table(made.document, output.console.width))
    failed = [row for row in made.rows if row["status"] == "failed"]
    output.notes(_failures(failed))
    output.notes(_found(made.rows))
    output.say("")
    for target, decision in made.decision["targets"].items():
        taken = f"take {decision['taken']}: " if decision["taken"] else ""
        output.say(f"{target}: {taken}{decision['why']}")
    output.say(f"{out / 'study.md'} is the account, {out / 'study.json'} holds every figure, {out / 'runs'} the models.")
    output.document(dict(made.document))
    if len(failed) == len(made.rows):
        raise OptionError(f"no variant could be made; the first: {failed[0]['why']}")
    if accepting and _misses(made.rows, made.decision["targets"]):
        raise typer.Exit(1)


def _misses(rows: Sequence[Mapping[str, Any]], decisions: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether nothing passes on a device; one whose runtimes are all missing here is no miss."""
    absent = {row["device"] for row in rows if row["runtime"]} - {row["device"] for row in rows if row["status"] == "done"}
    return any(decision["taken"] is None for device, decision in decisions.items() if device not in absent)

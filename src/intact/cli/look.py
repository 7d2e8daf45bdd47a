"""The commands that look at a file as it is: ``evaluate``, ``benchmark`` and ``inspect``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from intact import choices, files, scratch
from intact import data as samples_of
from intact.cli import shared
from intact.data import paths
from intact.errors import OptionError
from intact.measure import criterion
from intact.planning.targets import target as target_named
from intact.run import options
from intact.wording import counted


def evaluate(
    model: shared.AnyModel,
    data: shared.Data,
    against: Annotated[
        Path | None, typer.Option(help="Another model of any kind, to compare with on the same samples.")
    ] = None,
    metric: shared.MetricName = None,
    accept: shared.Accept = None,
    target: shared.TargetName = "cpu",
    runtime: shared.RuntimeName = None,
    on: shared.On = None,
    workers: shared.Workers = None,
    input_shape: shared.InputShape = None,
    image: shared.ImageField = None,
    label: shared.Label = None,
    pixels: shared.Pixels = "0,1",
    mean: shared.Mean = None,
    std: shared.Std = None,
    channels: shared.Channels = None,
    resize: shared.Resize = "stretch",
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Measure a model's accuracy in the real runtime, alone or against another."""
    with shared.reported(debug):
        target_named(target)
        preprocessing, shape = (
            options.preprocessing(pixels, mean, std, channels, resize),
            options.input_shape(input_shape or []),
        )
        if metric is not None:
            choices.metric(metric)
        criteria = criterion.criteria(accept)
        shared.check_any(model, against)
        paths.check(data)
        with shared.loading():
            from intact.report.terminal import Output
            from intact.run.evaluate import evaluate as measured

        output, samples = Output(quiet, as_json), samples_of.load(data, preprocessing, image=image, label=label, use="eval")
        with output.progress() as progress:
            found = measured(
                model,
                samples,
                against=against,
                metric=metric,
                accept=criteria,
                target=target,
                input_shape=shape,
                runtime=runtime,
                on=on,
                workers=workers,
                progress=progress,
            )
        output.readings(f"{counted(found.count, 'sample')}, {found.how}", found.readings)
        output.criteria(found.to_json())
        output.notes(finding.message for finding in found.findings)
        output.document(found.to_json())
        if any(judged.status == "fail" for judged in found.criteria):
            raise typer.Exit(1)


def benchmark(
    model: shared.AnyModel,
    against: Annotated[Path | None, typer.Option(help="Another model of any kind; both take turns.")] = None,
    target: shared.TargetName = "cpu",
    runtime: shared.RuntimeName = None,
    threads: Annotated[int, typer.Option(help="Threads of the runtime.", min=1)] = 1,
    on: shared.On = None,
    input_shape: shared.InputShape = None,
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Time a model on this machine or a device, alone or taking turns with another."""
    with shared.reported(debug):
        kernels, shape = target_named(target).kernels, options.input_shape(input_shape or [])
        shared.check_any(model, against)
        with shared.loading():
            from intact.measure.condition import condition
            from intact.measure.figures import Reading
            from intact.measure.latency import latency, speedup
            from intact.measure.machine import cpu
            from intact.report.terminal import Output
            from intact.run.opened import opened
            from intact.runtime import anywhere, litert, runtimes

        output = Output(quiet, as_json)
        with anywhere.timing(on) as timer, scratch.folder() as folder, output.progress() as progress:
            progress("convert", 0, 0)
            models = opened([model] if against is None else [model, against], folder, shape, runtime=runtime)
            files = {m.name: m.path for m in models}
            by_name = {m.name: m.kernels or kernels for m in models}
            times = litert.latency(files, kernels=by_name, threads=threads, progress=partial(progress, "time"), place=timer)
            _, felt = condition(timer)
        ran = {name: runtimes.named(used) for name, used in by_name.items()}
        how = f"{counted(threads, 'thread')}, {' and '.join(dict.fromkeys(ran.values()))}, {cpu(timer)}"
        readings = tuple(
            Reading(name, latency(t.samples_ms, f"{counted(threads, 'thread')}, {ran[name]}, {cpu(timer)}"))
            for name, t in times.items()
        )
        if against is not None:
            first, second = times
            ratio = speedup(times[first].samples_ms, times[second].samples_ms, how)
            readings += (Reading(f"{first} against {second}", ratio),)
        output.readings(how, readings)
        output.notes(finding.message for finding in felt)
        output.document({"measurements": [r.to_json() for r in readings], "findings": [vars(f) for f in felt]})


def inspect(
    model: Annotated[Path, typer.Argument(help="A model file of any kind that Intact reads.")],
    input_shape: shared.InputShape = None,
    named: Annotated[
        Path | None, typer.Option(help="Write a copy whose tensors have your network's names, to look at in Netron.")
    ] = None,
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Say what a model is made of: inputs, outputs, ops with their cost, memory."""
    with shared.reported(debug):
        shape = options.input_shape(input_shape or [])
        shared.check(model)
        with shared.loading():
            from intact.report import contents as tables
            from intact.report.terminal import Output
            from intact.run.contents import contents, named_copy

        if named is not None and named.resolve() == model.resolve():
            raise OptionError("--named would write over the model itself; type another file")
        output = Output(quiet, as_json)
        with output.progress() as progress:
            progress("read", 0, 0)
            found = contents(model, shape)
            if named is not None:
                files.write_bytes(named, named_copy(model))
        document = found.to_json()
        for port in document["ports"]:
            output.say(f"{port['side']} {port['name']!r} {tables.written(port['shape'])} {port['format']}")
        output.rows(lambda width: tables.ops_table(document["ops"], width))
        output.rows(lambda _: tables.kinds_table(document["kinds"]))
        title = "as a float .tflite" if found.is_converted else "the file"
        output.rows(lambda _: tables.sizes_table(document["sizes"], title))
        output.readings("", found.readings)
        if found.is_quantized:
            output.say("The model is quantized.")
        if named is not None:
            output.say(f"{named} is the copy to look at; the model itself is as it was.")
        output.document(document)

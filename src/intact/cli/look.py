"""The commands that look at a file as it is: ``evaluate``, ``benchmark`` and ``inspect``."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from intact import choices
from intact import data as samples_of
from intact.cli import shared
from intact.data import paths
from intact.errors import OptionError
from intact.formats import tflite
from intact.planning.targets import target as target_named
from intact.run import options
from intact.wording import counted

#: Characters of a tensor's name that a table shows.
_TAIL: Final = 48


def evaluate(
    model: Annotated[Path, typer.Argument(help="Any .tflite file that LiteRT runs, quantized or not.")],
    data: shared.Data,
    against: Annotated[Path | None, typer.Option(help="Another .tflite file to compare with on the same samples.")] = None,
    metric: shared.MetricName = None,
    target: shared.TargetName = "cpu",
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
    """Measure a .tflite file's accuracy in the real runtime, alone or against another file."""
    with shared.reported(debug):
        device, preprocessing = target_named(target), options.preprocessing(pixels, mean, std, channels, resize)
        if metric is not None:
            choices.metric(metric)
        shared.check_files(model, against)
        paths.check(data)
        with shared.loading():
            from intact.measure import accuracy, metrics
            from intact.measure.figures import Reading, fidelity
            from intact.measure.outputs import look
            from intact.measure.run_outputs import outputs_of
            from intact.measure.task import tasks as tasks_of
            from intact.report.terminal import Output
            from intact.run import findings
            from intact.runtime.litert import KERNEL_NAMES

        output, graph, measured_by = Output(quiet, as_json), tflite.read(model), metrics.metric_of(metric)
        source = samples_of.load(data, preprocessing, label=label, use="eval")
        samples = metrics.bound(source, graph, measured_by)
        if measured_by is not None:
            metrics.targets_of(samples)
        with output.progress() as progress:
            outputs = [
                outputs_of(path, samples, device, partial(progress, f"run {path.name}"))
                for path in (model, *([] if against is None else [against]))
            ]
        notes = list(samples.findings)
        if against is not None and len(outputs[0]) != len(outputs[1]):
            given = ", ".join(f"{path.name} {len(made)}" for path, made in zip((model, against), outputs, strict=True))
            raise OptionError(
                f"the two files have different numbers of outputs ({given}); give --against the same network's file"
            )
        if against is not None:
            outputs[0] = dict(zip(outputs[1], outputs[0].values(), strict=True))  # converters name outputs as they like
            tasks = tasks_of(graph, outputs[1], samples, metric=metric is not None)
            compared = look(outputs[1], outputs[0], tasks)
            readings = fidelity(compared, samples, measured_by)
            notes += [finding for _, finding in findings.poor(compared.fidelities, graph)]
            names = {"float": against.name, "quantized": model.name, "difference": f"{model.name} against {against.name}"}
            readings = tuple(replace(r, of=names[r.of]) for r in readings)
        elif measured_by is not None:
            readings = (Reading(model.name, metrics.value(measured_by, outputs[0], metrics.targets_of(samples))),)
        elif samples.labels is not None:
            first = next(iter(outputs[0].values()))
            right = accuracy.correct(first, samples.labels, accuracy.threshold(first))
            readings = (Reading(model.name, accuracy.top1(right)),)
        else:
            raise OptionError(
                "the data has no labels that fit the model; type --against with the float .tflite to compare with, "
                "or --metric where the labels are targets"
            )
        output.readings(f"{len(samples):,} samples, {KERNEL_NAMES[device.kernels]}", readings)
        output.notes(finding.message for finding in notes)
        output.document({"measurements": [r.to_json() for r in readings], "findings": [vars(f) for f in notes]})


def benchmark(
    model: Annotated[Path, typer.Argument(help="A .tflite file.")],
    against: Annotated[Path | None, typer.Option(help="Another .tflite file; both take turns.")] = None,
    target: shared.TargetName = "cpu",
    threads: Annotated[int, typer.Option(help="Threads of the runtime.", min=1)] = 1,
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Time a .tflite file on this machine, alone or taking turns with another."""
    with shared.reported(debug):
        kernels = target_named(target).kernels
        shared.check_files(model, against)
        with shared.loading():
            from intact.measure.figures import Reading
            from intact.measure.latency import latency, speedup
            from intact.measure.machine import cpu
            from intact.report.terminal import Output
            from intact.runtime import litert

        output = Output(quiet, as_json)
        files = {model.name: model} if against is None else {"model": model, "against": against}
        for path in files.values():
            tflite.read(path)
        with output.progress() as progress:
            times = litert.latency(files, kernels=kernels, threads=threads, progress=partial(progress, "time"))
        how = f"{counted(threads, 'thread')}, {litert.KERNEL_NAMES[kernels]}, {cpu()}"
        readings = tuple(Reading(name, latency(t.samples_ms, how)) for name, t in times.items())
        if against is not None:
            ratio = speedup(times["model"].samples_ms, times["against"].samples_ms, how)
            readings += (Reading("model against the other", ratio),)
        output.readings(how, readings)
        output.document({"measurements": [r.to_json() for r in readings]})


def inspect(
    model: Annotated[Path, typer.Argument(help="A model file of any kind that Intact reads.")],
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Say what a model is made of: inputs, outputs, ops with their cost, memory."""
    with shared.reported(debug):
        shared.check(model)
        with shared.loading():
            from rich.table import Table

            from intact.formats.load import load
            from intact.measure import cost
            from intact.measure.figures import Reading
            from intact.measure.memory import peak
            from intact.measure.size import size
            from intact.planning.plan import describe
            from intact.report.terminal import Output

        output = Output(quiet, as_json)
        with output.progress() as progress:
            progress("read", 0, 0)
            graph = load(model)
        ports = [
            {"side": side, "name": name, "shape": list(graph[i].shape), "format": describe(graph[i].format)}
            for side, names, ids in (("input", graph.input_names, graph.inputs), ("output", graph.output_names, graph.outputs))
            for name, i in zip(names, ids, strict=True)
        ]
        for port in ports:
            output.console.print(f"{port['side']} {port['name']!r} {port['shape']} {port['format']}".replace("None", "n"))
        table = Table(box=None, pad_edge=False)
        for column in ("op", "output", "shape", "multiply-accumulates", "parameters"):
            table.add_column(column, justify="right" if column in ("multiply-accumulates", "parameters") else "left")
        rows = cost.costs(graph)
        for op, row in zip(graph.ops, rows, strict=True):
            shape = str(list(graph[op.output].shape)).replace("None", "n")
            table.add_row(row.kind, _tail(graph[op.output].name), shape, f"{row.macs:,}", f"{row.parameters:,}")
        output.console.print(table)
        readings = (
            *((Reading("model", size(graph, model.stat().st_size)),) if model.suffix == ".tflite" else ()),
            *(Reading("model", m) for m in (cost.parameters(graph), cost.macs(graph), peak(graph))),
        )
        output.readings("", readings)
        if graph.is_quantized:
            output.console.print("The model is quantized.")
        output.document({"ports": ports, "ops": [asdict(row) for row in rows], "measurements": [r.to_json() for r in readings]})


def _tail(name: str) -> str:
    return name if len(name) <= _TAIL else "…" + name[-_TAIL + 1 :]

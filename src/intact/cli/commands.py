"""What the commands do once they are understood: call and render. Loading this loads everything; ``cli`` parses first."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from rich.markup import escape
from rich.table import Table

from intact import data as samples_of
from intact import files
from intact.cli.demo import train_digits
from intact.data import Preprocessing
from intact.diagnosis.diagnose import diagnose as what_is_wrong
from intact.diagnosis.diagnose import diagnose_file
from intact.errors import OptionError
from intact.formats import tflite
from intact.formats.load import load
from intact.measure import accuracy, cost, metrics
from intact.measure.figures import Reading, fidelity
from intact.measure.latency import latency, speedup
from intact.measure.machine import cpu
from intact.measure.memory import peak
from intact.measure.outputs import look
from intact.measure.run_outputs import outputs_of
from intact.measure.size import size
from intact.measure.task import tasks as tasks_of
from intact.planning.plan import Plan, describe
from intact.planning.targets import Target
from intact.report.diagnosis import to_table
from intact.report.markdown import to_markdown
from intact.report.record import record, to_json
from intact.report.terminal import Output
from intact.run import findings
from intact.run.folder import RunFolder, open_run
from intact.run.quantize import Job, Result
from intact.run.settings import Settings
from intact.runtime import litert
from intact.runtime.litert import KERNEL_NAMES
from intact.wording import counted


def output_for(quiet: bool, as_json: bool) -> Output:
    """How the user wants to be told."""
    return Output(quiet, as_json)


def quantize(  # noqa: PLR0913, PLR0917  # a run's own parts, from one caller
    model: Path,
    data: Path,
    evaluation: Path | None,
    settings: Settings,
    preprocessing: Preprocessing,
    plan: Path | None,
    out: Path,
    overwrite: bool,
    output: Output,
    label: str | None = None,
) -> Result:
    """Run the job in its folder and write what it gives."""
    replayed = None if plan is None else Plan.load(plan)
    source = samples_of.load(data, preprocessing, label=label)
    reporting = None if evaluation is None else samples_of.load(evaluation, preprocessing, label=label, use="eval")
    job = {
        "model": files.sha256(model) if model.is_file() else str(model.resolve()),
        "data": str(data.resolve()),
        "eval": None if evaluation is None else str(evaluation.resolve()),
        "settings": asdict(settings) | {"keep_float": list(settings.keep_float)},
        "preprocessing": preprocessing.to_json(),
        "label": label,
        "plan": None if replayed is None else replayed.to_json(),
    }
    folder = open_run(out, job, overwrite=overwrite)
    with folder.while_working(output.line), output.progress() as progress:
        metric = None if settings.metric is None else metrics.METRICS[settings.metric]
        result = Job(model, source, reporting, settings, replayed, metric, folder, progress, output.line).run()
    document = record(result)
    adjusted = result.plan.adjusted
    folder.finish(
        {
            **({"plan.npz": adjusted.data} if adjusted is not None and adjusted.data else {}),
            "model.tflite": result.model,
            "plan.json": result.plan.to_json().encode(),
            "result.md": to_markdown(document).encode(),
            "result.json": to_json(document).encode(),
        }
    )
    made = result.settings
    output.readings(f"{model.name} as {made.scheme} for {made.target}, timed on {cpu()}", result.readings)
    for finding in result.findings:
        output.console.print(f"note: {escape(finding.message)}", soft_wrap=True)
    output.console.print(
        f"\n{out / 'model.tflite'} is the model; {out / 'result.md'} is the account in a page.", soft_wrap=True
    )
    output.document(document)
    return result


def evaluate(  # noqa: PLR0913, PLR0917  # likewise
    model: Path,
    data: Path,
    against: Path | None,
    device: Target,
    preprocessing: Preprocessing,
    output: Output,
    label: str | None,
    metric: str | None,
) -> None:
    """Accuracy of a file in the real runtime, or what ``metric`` says of it, alone or against another file."""
    graph = tflite.read(model)
    measured_by = None if metric is None else metrics.METRICS[metric]
    source = samples_of.load(data, preprocessing, label=label, use="eval")
    samples = source.bind(samples_of.input_specs(graph), None if metric else samples_of.class_count(graph))
    if metric is not None and samples.targets is None:
        raise OptionError(f"--metric {metric} needs targets, and the data has none; an .npz with x and y has some")
    with output.progress() as progress:
        outputs = [
            outputs_of(path, samples, device, lambda done, path=path: progress(f"run {path.name}", done, len(samples)))  # type: ignore[misc]
            for path in (model, *([] if against is None else [against]))
        ]
    notes = [f for f in samples.findings if metric is None or f.kind != "unlabelled"]
    if against is not None and len(outputs[0]) != len(outputs[1]):
        given = ", ".join(f"{path.name} {len(made)}" for path, made in zip((model, against), outputs, strict=True))
        raise OptionError(f"the two files have different numbers of outputs ({given}); give --against the same network's file")
    if against is not None:
        outputs[0] = dict(zip(outputs[1], outputs[0].values(), strict=True))  # converters name outputs as they like
        tasks = tasks_of(graph, outputs[1], samples, metric=metric is not None)
        compared = look(outputs[1], outputs[0], tasks)
        readings = fidelity(compared, samples, measured_by)
        notes += [finding for _, finding in findings.poor(compared.fidelities, graph)]
        names = {"float": against.name, "quantized": model.name, "difference": f"{model.name} against {against.name}"}
        readings = tuple(replace(r, of=names[r.of]) for r in readings)
    elif measured_by is not None and samples.targets is not None:
        readings = (Reading(model.name, metrics.value(measured_by, outputs[0], samples.targets)),)
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
    for finding in notes:
        output.console.print(f"note: {escape(finding.message)}", soft_wrap=True)
    found = [{"kind": f.kind, "message": f.message} for f in notes]
    output.document({"measurements": [r.to_json() for r in readings], "findings": found})


def diagnose(  # noqa: PLR0913, PLR0917  # likewise
    model: Path,
    data: Path,
    against: Path | None,
    settings: Settings,
    preprocessing: Preprocessing,
    output: Output,
    label: str | None,
) -> None:
    """Which ops the loss comes from and what looks wrong."""
    samples = samples_of.load(data, preprocessing, label=label)
    with tempfile.TemporaryDirectory(prefix="intact-") as folder, output.progress() as progress:
        if against is not None:
            found = diagnose_file(model, samples, against=against, target=settings.target, progress=progress)
        else:
            _, start, parts = Job(model, samples, None, settings, None, None, RunFolder(Path(folder)), progress).start()
            found = what_is_wrong(start.network, parts.calibration, progress)
    output.wide(to_table(found))
    for said in found.symptoms or ("nothing looks wrong; what is lost is rounding noise",):
        output.console.print(f"note: {escape(str(said))}", soft_wrap=True)
    output.document({"schema": "intact-diagnosis/1", **found.to_json()})


def benchmark(model: Path, against: Path | None, device: Target, threads: int, output: Output) -> None:
    """Time a file, alone or taking turns with another."""
    kernels = device.kernels
    paths = {model.name: model} if against is None else {"model": model, "against": against}
    for path in paths.values():
        tflite.read(path)
    with output.progress() as progress:
        times = litert.latency(paths, kernels=kernels, threads=threads, progress=lambda a, b: progress("time", a, b))
    how = f"{counted(threads, 'thread')}, {KERNEL_NAMES[kernels]}, {cpu()}"
    readings = tuple(Reading(name, latency(t.samples_ms, how)) for name, t in times.items())
    if against is not None:
        ratio = speedup(times["model"].samples_ms, times["against"].samples_ms, how)
        readings += (Reading("model against the other", ratio),)
    output.readings(how, readings)
    output.document({"measurements": [r.to_json() for r in readings]})


def inspect(model: Path, output: Output) -> None:
    """Say what a model is made of."""
    with output.progress() as progress:
        progress("read", 0, 0)
        graph = load(model)
    ports = [
        {"side": side, "name": name, "shape": list(graph[i].shape), "format": describe(graph[i].format)}
        for side, names, ids in (("input", graph.input_names, graph.inputs), ("output", graph.output_names, graph.outputs))
        for name, i in zip(names, ids, strict=True)
    ]
    for port in ports:
        output.console.print(
            f"{port['side']} {port['name']!r} {port['shape']} {port['format']}".replace("None", "n"), markup=False
        )
    table = Table(box=None, pad_edge=False)
    for column in ("op", "output", "shape", "multiply-accumulates", "parameters"):
        table.add_column(column, justify="right" if column in ("multiply-accumulates", "parameters") else "left")
    rows = cost.costs(graph)
    for op, row in zip(graph.ops, rows, strict=True):
        shape = str(list(graph[op.output].shape)).replace("None", "n")
        table.add_row(row.kind, escape(_tail(graph[op.output].name)), escape(shape), f"{row.macs:,}", f"{row.parameters:,}")
    output.console.print(table)
    readings = (
        *((Reading("model", size(graph, model.stat().st_size)),) if model.suffix == ".tflite" else ()),
        *(Reading("model", m) for m in (cost.parameters(graph), cost.macs(graph), peak(graph))),
    )
    output.readings("", readings)
    if graph.is_quantized:
        output.console.print("The model is quantized.")
    output.document({"ports": ports, "ops": [asdict(row) for row in rows], "measurements": [r.to_json() for r in readings]})


def demo(out: Path, seed: int, overwrite: bool, output: Output) -> None:
    """The main job on a network that is trained here."""
    with output.progress() as progress:
        made = train_digits(out, seed, progress=lambda done, total: progress("train", done, total))
    output.console.print(f"Trained {made.model} on scikit-learn's handwritten digits. Now as a user would:\n")
    command = f"intact quantize {made.model} --data {made.train} --eval {made.test} --pixels=-1,1 --out {out / 'run'}"
    output.console.print(f"$ {command}\n", soft_wrap=True, markup=False)
    preprocessing = replace(Preprocessing(), pixels=(-1.0, 1.0))
    quantize(made.model, made.train, made.test, Settings(seed=seed), preprocessing, None, out / "run", overwrite, output)


_TAIL: Final = 48


def _tail(name: str) -> str:
    return name if len(name) <= _TAIL else "…" + name[-_TAIL + 1 :]

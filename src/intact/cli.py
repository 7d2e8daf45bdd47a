"""The ``intact`` command: parse, call, render. Exit codes: 0 done, 1 target missed, 2 bad input."""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.markup import escape
from rich.table import Table

from intact import data as samples_of
from intact import files, options
from intact.data import Preprocessing
from intact.demo import train_digits
from intact.diagnose import diagnose as what_is_wrong
from intact.diagnose import diagnose_file
from intact.errors import IntactError, OptionError
from intact.formats import tflite
from intact.formats.load import load
from intact.measure import accuracy, cost
from intact.measure.figures import Reading, fidelity
from intact.measure.latency import latency, speedup
from intact.measure.memory import peak
from intact.measure.run_outputs import outputs_of
from intact.measure.size import size
from intact.plan import Plan, describe
from intact.quantize import Job, Result
from intact.remedies import REMEDIES
from intact.report.diagnosis import to_table
from intact.report.markdown import to_markdown
from intact.report.record import record, to_json
from intact.report.terminal import Output
from intact.run_folder import RunFolder, open_run
from intact.runtime import litert
from intact.runtime.litert import KERNEL_NAMES
from intact.schemes import INTEGER
from intact.schemes import scheme as scheme_named
from intact.settings import Settings
from intact.targets import target as target_named

app = typer.Typer(
    help="Takes a trained float network and gives back the integer network for an edge device, proven on the real runtime.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


Data = Annotated[
    Path, typer.Option("--data", help="Class folders of images, a flat folder of images, an .npz with x and y, or an .npy.")
]
Pixels = Annotated[str, typer.Option(help="What 0..255 maps to: --pixels=0,1, --pixels=-1,1 or --pixels=0,255. Images only.")]
Mean = Annotated[
    str | None, typer.Option(help="Per channel, in units of 0..1: --mean=0.485,0.456,0.406. With --std, instead of --pixels.")
]
Std = Annotated[str | None, typer.Option(help="Per channel, in units of 0..1: --std=0.229,0.224,0.225.")]
Channels = Annotated[str | None, typer.Option(help="rgb (default for three channels), bgr or gray.")]
Resize = Annotated[str, typer.Option(help="stretch, crop, crop:256 (shorter side to 256, then the centre) or none.")]
TargetName = Annotated[
    str, typer.Option("--target", help="cpu (LiteRT with XNNPACK) or mcu (microcontrollers: TensorFlow Lite Micro).")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote in the output folder.")]


@app.command()
def quantize(
    model: Annotated[Path, typer.Argument(help="A .keras, .h5, .pt2 or float .tflite file, or a SavedModel folder.")],
    data: Data,
    evaluation: Annotated[
        Path | None, typer.Option("--eval", help="Samples that report; without it --data is split by seed.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Output folder. Default: the model's name and the scheme.")] = None,
    scheme: Annotated[str, typer.Option(help="int8, w4a8, int16x8 (see README), dynamic, float16 or float32.")] = "int8",
    target: TargetName = "cpu",
    ranges: Annotated[str, typer.Option(help="minmax, moving, percentile or mse.")] = "minmax",
    weights: Annotated[str, typer.Option(help="per-channel or per-tensor.")] = "per-channel",
    input_type: Annotated[str | None, typer.Option(help="int8, uint8, int16 or float32. Default: as the activations.")] = None,
    output_type: Annotated[str | None, typer.Option(help="int8, uint8, int16 or float32. Default: as the activations.")] = None,
    keep_float: Annotated[list[str] | None, typer.Option(help="An op kind or output name, or a pattern; repeatable.")] = None,
    calibration_samples: Annotated[int, typer.Option(help="How many samples calibrate.")] = 500,
    max_drop: Annotated[
        float | None, typer.Option(help="Recover accuracy until at most this many percentage points are lost.")
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(help="Without labels: until the classes agree on at least this per cent of samples.")
    ] = None,
    time_budget: Annotated[str, typer.Option(help="How long to try: 90s, 15m, 1h.")] = "15m",
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when a limit is met by the estimate only.")] = False,
    remedies: Annotated[str | None, typer.Option(help=f"Instead of a limit: some of {','.join(REMEDIES)}.")] = None,
    device: Annotated[str, typer.Option(help="Where remedies learn: auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Decides the split and the calibration samples.")] = 0,
    input_shape: Annotated[
        list[str] | None, typer.Option(help="Sizes that a Keras model leaves open: 96,96,3, or image=96,96,3 for each input.")
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="Replay the plan.json of an earlier run.")] = None,
    pixels: Pixels = "0,1",
    mean: Mean = None,
    std: Std = None,
    channels: Channels = None,
    resize: Resize = "stretch",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Quantize a trained float model and measure what it costs."""
    with _reported(debug):
        if strict and max_drop is None and min_agreement is None:
            raise OptionError("--strict says how a limit is judged; type --max-drop or --min-agreement as well")
        settings = Settings(
            scheme=scheme,
            target=target,
            ranges=ranges,
            weights=options.granularity(weights),
            keep_float=tuple(keep_float or ()),
            input_type=input_type,
            output_type=output_type,
            seed=seed,
            calibration_samples=calibration_samples,
            input_shape=options.input_shape(input_shape or []),
            remedies=options.names(remedies),
            max_drop=max_drop,
            min_agreement=min_agreement,
            time_budget=options.seconds(time_budget),
            device=device,
        )
        preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
        folder = out or Path(f"{model.stem}_{scheme}")
        output = Output(quiet, as_json)
        result = main_job(model, data, evaluation, settings, preprocessing, plan, folder, overwrite, output)
        if result.verdict is not None:
            verdict = result.verdict
            output.console.print(f"verdict: {verdict.in_full}", soft_wrap=True)
            if verdict.status == "fail" or (strict and verdict.status != "pass"):
                raise typer.Exit(1)


def main_job(
    model: Path,
    data: Path,
    evaluation: Path | None,
    settings: Settings,
    preprocessing: Preprocessing,
    plan: Path | None,
    out: Path,
    overwrite: bool,
    output: Output,
) -> Result:
    """``intact quantize`` after its options are understood: run the job in its folder and write what it gives."""
    replayed = None if plan is None else Plan.from_json(_text(plan))
    source = samples_of.load(data, preprocessing)
    reporting = None if evaluation is None else samples_of.load(evaluation, preprocessing)
    _check_model(model)
    job = {
        "model": files.sha256(model) if model.is_file() else str(model.resolve()),
        "data": str(data.resolve()),
        "eval": None if evaluation is None else str(evaluation.resolve()),
        "settings": asdict(settings) | {"keep_float": list(settings.keep_float)},
        "preprocessing": preprocessing.to_json(),
        "plan": None if replayed is None else replayed.to_json(),
    }
    folder = open_run(out, job, overwrite=overwrite)
    with folder.while_working(output.line), output.progress() as progress:
        result = Job(model, source, reporting, settings, replayed, None, folder, progress, output.line).run()
    document = record(result)
    folder.finish(
        {
            "model.tflite": result.model,
            "plan.json": result.plan.to_json().encode(),
            "result.md": to_markdown(document).encode(),
            "result.json": to_json(document).encode(),
        }
    )
    output.readings(f"{model.name} as {settings.scheme} for {settings.target}", result.readings)
    for finding in result.findings:
        output.console.print(f"note: {escape(finding.message)}", soft_wrap=True)
    output.console.print(
        f"\n{out / 'model.tflite'} is the model; {out / 'result.md'} is the account in a page.", soft_wrap=True
    )
    output.document(document)
    return result


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Any .tflite file that LiteRT runs, quantized or not.")],
    data: Data,
    against: Annotated[Path | None, typer.Option(help="Another .tflite file to compare with on the same samples.")] = None,
    target: TargetName = "cpu",
    pixels: Pixels = "0,1",
    mean: Mean = None,
    std: Std = None,
    channels: Channels = None,
    resize: Resize = "stretch",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure a .tflite file's accuracy in the real runtime, alone or against another file."""
    with _reported(debug):
        graph = tflite.read(model)
        source = samples_of.load(data, options.preprocessing(pixels, mean, std, channels, resize))
        samples = source.bind(samples_of.input_specs(graph), samples_of.class_count(graph))
        output, device = Output(quiet, as_json), target_named(target)
        with output.progress() as progress:
            outputs = [
                outputs_of(path, samples, device, lambda done, path=path: progress(f"run {path.name}", done, len(samples)))  # type: ignore[misc]
                for path in (model, *([] if against is None else [against]))
            ]
        if against is not None:
            readings = fidelity(outputs[1], outputs[0], samples, None)
            names = {"float": against.name, "quantized": model.name, "difference": f"{model.name} against {against.name}"}
            readings = tuple(replace(r, of=names[r.of]) for r in readings)
        elif samples.labels is not None:
            first = next(iter(outputs[0].values()))
            right = accuracy.correct(first, samples.labels, accuracy.threshold(first))
            readings = (Reading(model.name, accuracy.top1(right)),)
        else:
            raise OptionError(
                "the data has no labels that fit the model; type --against with the float .tflite to compare with"
            )
        output.readings(f"{len(samples):,} samples, {KERNEL_NAMES[device.kernels]}", readings)
        for finding in samples.findings:
            output.console.print(f"note: {escape(finding.message)}", soft_wrap=True)
        output.document({"measurements": [r.to_json() for r in readings]})


@app.command()
def diagnose(
    model: Annotated[Path, typer.Argument(help="A .keras, .h5, .pt2 or float .tflite file, or a SavedModel folder.")],
    data: Data,
    against: Annotated[
        Path | None, typer.Option(help="The model is an integer .tflite that anyone made; this is its float model.")
    ] = None,
    scheme: Annotated[str, typer.Option(help="int8, w4a8 or int16x8.")] = "int8",
    target: TargetName = "cpu",
    ranges: Annotated[str, typer.Option(help="minmax, moving, percentile or mse.")] = "minmax",
    weights: Annotated[str, typer.Option(help="per-channel or per-tensor.")] = "per-channel",
    pixels: Pixels = "0,1",
    mean: Mean = None,
    std: Std = None,
    channels: Channels = None,
    resize: Resize = "stretch",
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say which ops the loss comes from and what looks wrong, in simulation and in the real runtime; writes nothing."""
    with _reported(debug), tempfile.TemporaryDirectory(prefix="intact-") as folder:
        settings = Settings(scheme=scheme, target=target, ranges=ranges, weights=options.granularity(weights))
        if not scheme_named(scheme).is_integer:
            raise OptionError(f"--scheme {scheme} computes in float; type --scheme with one of: {', '.join(INTEGER)}")
        samples = samples_of.load(data, options.preprocessing(pixels, mean, std, channels, resize))
        output = Output(quiet, as_json)
        _check_model(model)
        with output.progress() as progress:
            if against is not None:
                found = diagnose_file(model, samples, against=against, target=target, progress=progress)
            else:
                _, start, parts = Job(model, samples, None, settings, None, None, RunFolder(Path(folder)), progress).start()
                found = what_is_wrong(start, parts.calibration, progress)
        output.wide(to_table(found))
        for said in found.symptoms or ("nothing looks wrong; what is lost is rounding noise",):
            output.console.print(f"note: {escape(str(said))}", soft_wrap=True)
        output.document({"schema": "intact-diagnosis/1", **found.to_json()})


@app.command()
def benchmark(
    model: Annotated[Path, typer.Argument(help="A .tflite file.")],
    against: Annotated[Path | None, typer.Option(help="Another .tflite file; both take turns.")] = None,
    target: TargetName = "cpu",
    threads: Annotated[int, typer.Option(help="Threads of the runtime.", min=1)] = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Time a .tflite file on this machine, alone or taking turns with another."""
    with _reported(debug):
        kernels, output = target_named(target).kernels, Output(quiet, as_json)
        paths = {model.name: model} if against is None else {"model": model, "against": against}
        for path in paths.values():
            tflite.read(path)
        with output.progress() as progress:
            times = litert.latency(paths, kernels=kernels, threads=threads, progress=lambda a, b: progress("time", a, b))
        how = f"{threads} thread{'s' if threads > 1 else ''}, {KERNEL_NAMES[kernels]}"
        readings = tuple(Reading(name, latency(t.samples_ms, how)) for name, t in times.items())
        if against is not None:
            ratio = speedup(times["model"].samples_ms, times["against"].samples_ms, how)
            readings += (Reading("model against the other", ratio),)
        output.readings(how, readings)
        output.document({"measurements": [r.to_json() for r in readings]})


@app.command()
def inspect(
    model: Annotated[Path, typer.Argument(help="A model file of any kind that Intact reads.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a model is made of: inputs, outputs, ops with their cost, memory."""
    with _reported(debug):
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


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the data, the float model and the run.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Decides the training and the samples.")] = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train a small network on handwritten digits, quantize it and measure it: the whole main job on real data."""
    with _reported(debug):
        output = Output(quiet, as_json)
        with output.progress() as progress:
            made = train_digits(out, seed, progress=lambda done, total: progress("train", done, total))
        output.console.print(f"Trained {made.model} on scikit-learn's handwritten digits. Now as a user would:\n")
        command = f"intact quantize {made.model} --data {made.train} --eval {made.test} --pixels=-1,1 --out {out / 'run'}"
        output.console.print(f"$ {command}\n", soft_wrap=True, markup=False)
        preprocessing = replace(Preprocessing(), pixels=(-1.0, 1.0))
        main_job(made.model, made.train, made.test, Settings(seed=seed), preprocessing, None, out / "run", overwrite, output)


# ---- helpers ------------------------------------------------------------------------------------------------------------


@contextmanager
def _reported(debug: bool) -> Iterator[None]:
    """Errors become one sentence on standard error and exit code 2; Ctrl-C becomes 130."""
    warnings.filterwarnings("ignore", module=r"torch|jax|tensorflow|keras|litert_torch|PIL")
    try:
        yield
    except IntactError as error:
        if debug:
            raise
        _fail(str(error))
    except KeyboardInterrupt:
        if debug:
            raise
        sys.stderr.write("interrupted; the same command goes on from here\n")
        raise typer.Exit(130) from None
    except MemoryError:
        if debug:
            raise
        _fail("out of memory; close other programs, or give fewer samples with --calibration-samples or a smaller --eval")


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    raise typer.Exit(2)


def _check_model(model: Path) -> None:
    """A missing model is said before anything is written."""
    if not model.exists():
        raise OptionError(f"{model}: there is no such file; check the path")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} cannot be read as a plan; give --plan a plan.json from a run folder") from error


_TAIL: Final = 48


def _tail(name: str) -> str:
    return name if len(name) <= _TAIL else "…" + name[-_TAIL + 1 :]


def main() -> None:
    """Entry point of the ``intact`` command."""
    app()

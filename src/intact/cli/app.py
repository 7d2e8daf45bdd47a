"""The ``intact`` command: parse, then call. Exit codes: 0 done, 1 target missed, 2 bad input.

Help and refusals must come at once, so that nothing here loads numpy or torch: ``commands`` does, once options and paths are
found good.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from intact import choices
from intact.data import paths
from intact.errors import IntactError, OptionError, located
from intact.formats import recognize, tflite
from intact.planning.schemes import INTEGER
from intact.planning.schemes import scheme as scheme_named
from intact.planning.targets import target as target_named
from intact.run import options
from intact.run.settings import Settings

app = typer.Typer(
    help="Takes a trained float network and gives back the integer network for an edge device, proven on the real runtime.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from intact.installed import __version__  # noqa: PLC0415

        sys.stdout.write(f"intact {__version__}\n")
        raise typer.Exit


@app.callback()
def intact(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say which version this is.")
    ] = False,
) -> None:
    """Takes a trained float network and gives back the integer network for an edge device, proven on the real runtime."""
    del version


Data = Annotated[
    Path,
    typer.Option(
        "--data",
        help="Class folders of images, a folder of images (masks beside it), an .npz with x and y, an .npy, a .csv, or a "
        "detector's data.yaml.",
    ),
]
Label = Annotated[
    str | None, typer.Option(help="The column of a .csv with the labels, by name or number; else label, class, y or the last.")
]
Pixels = Annotated[str, typer.Option(help="What 0..255 maps to: --pixels=0,1, --pixels=-1,1 or --pixels=0,255. Images only.")]
Mean = Annotated[
    str | None, typer.Option(help="Per channel, in units of 0..1: --mean=0.485,0.456,0.406. With --std, instead of --pixels.")
]
Std = Annotated[str | None, typer.Option(help="Per channel, in units of 0..1: --std=0.229,0.224,0.225.")]
Channels = Annotated[str | None, typer.Option(help="rgb (default for three channels), bgr or gray.")]
Resize = Annotated[
    str,
    typer.Option(
        help="stretch (each side on its own), letterbox (proportions kept, borders of 114, as detectors are trained), crop, "
        "crop:256 (shorter side to 256, then the centre) or none."
    ),
]
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
    ranges: Annotated[str, typer.Option(help="auto, minmax, moving, percentile or mse.")] = "auto",
    weights: Annotated[str, typer.Option(help="per-channel or per-tensor.")] = "per-channel",
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
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 when a limit is met by the estimate only.")] = False,
    remedies: Annotated[
        str,
        typer.Option(
            help="Instead of a limit: auto (equalize, clip and bias where the output clearly gains), none, or some of "
            f"{','.join(choices.REMEDIES)}."
        ),
    ] = "auto",
    device: Annotated[str, typer.Option(help="Where remedies learn: auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Decides the split and the calibration samples.")] = 0,
    input_shape: Annotated[
        list[str] | None, typer.Option(help="Sizes that a Keras model leaves open: 96,96,3, or image=96,96,3 for each input.")
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="Replay the plan.json of an earlier run.")] = None,
    label: Label = None,
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
            metric=None if metric is None else choices.metric(metric),
        )
        preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
        _check(model, data, evaluation, label=label)
        with _loading():
            from intact.cli import commands  # noqa: PLC0415

        output, folder = commands.output_for(quiet, as_json), out or Path(f"{model.stem}_{scheme}")
        result = commands.quantize(model, data, evaluation, settings, preprocessing, plan, folder, overwrite, output, label)
        if result.verdict is not None:
            verdict = result.verdict
            output.console.print(f"verdict: {verdict.in_full}", soft_wrap=True)
            if verdict.status == "fail" or (strict and verdict.status != "pass"):
                raise typer.Exit(1)


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Any .tflite file that LiteRT runs, quantized or not.")],
    data: Data,
    against: Annotated[Path | None, typer.Option(help="Another .tflite file to compare with on the same samples.")] = None,
    metric: Annotated[str | None, typer.Option(help="mse, mae, auc or iou of outputs and targets.")] = None,
    target: TargetName = "cpu",
    label: Label = None,
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
        device, preprocessing = target_named(target), options.preprocessing(pixels, mean, std, channels, resize)
        metric = None if metric is None else choices.metric(metric)
        _check_files(model, against)
        paths.check(data)
        with _loading():
            from intact.cli import commands  # noqa: PLC0415

        commands.evaluate(model, data, against, device, preprocessing, commands.output_for(quiet, as_json), label, metric)


@app.command()
def diagnose(
    model: Annotated[Path, typer.Argument(help="A .keras, .h5, .pt2 or float .tflite file, or a SavedModel folder.")],
    data: Data,
    against: Annotated[
        Path | None, typer.Option(help="The model is an integer .tflite that anyone made; this is its float model.")
    ] = None,
    scheme: Annotated[str, typer.Option(help="int8, w4a8 or int16x8.")] = "int8",
    target: TargetName = "cpu",
    ranges: Annotated[str, typer.Option(help="auto, minmax, moving, percentile or mse.")] = "auto",
    weights: Annotated[str, typer.Option(help="per-channel or per-tensor.")] = "per-channel",
    label: Label = None,
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
    with _reported(debug):
        settings = Settings(scheme=scheme, target=target, ranges=ranges, weights=choices.granularity(weights))
        if not scheme_named(scheme).is_integer:
            raise OptionError(f"--scheme {scheme} computes in float; type --scheme with one of: {', '.join(INTEGER)}")
        preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
        _check(model, data, label=label)
        if against is not None:
            _check(against, data)
        with _loading():
            from intact.cli import commands  # noqa: PLC0415

        commands.diagnose(model, data, against, settings, preprocessing, commands.output_for(quiet, as_json), label)


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
        device = target_named(target)
        _check_files(model, against)
        with _loading():
            from intact.cli import commands  # noqa: PLC0415

        commands.benchmark(model, against, device, threads, commands.output_for(quiet, as_json))


@app.command()
def inspect(
    model: Annotated[Path, typer.Argument(help="A model file of any kind that Intact reads.")],
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a model is made of: inputs, outputs, ops with their cost, memory."""
    with _reported(debug):
        _check(model)
        with _loading():
            from intact.cli import commands  # noqa: PLC0415

        commands.inspect(model, commands.output_for(quiet, as_json))


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
        with _loading():
            from intact.cli import commands  # noqa: PLC0415

        commands.demo(out, seed, overwrite, commands.output_for(quiet, as_json))


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


@contextmanager
def _loading() -> Iterator[None]:
    """Around imports: modules leave no garbage, and looking for it takes a fifth of the time that torch needs, and again as
    long at the end, where they are not set aside.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"error: {message}\n")
    raise typer.Exit(2)


def _check(model: Path, *data: Path | None, label: str | None = None) -> None:
    """What is missing or foreign is said at once, and before anything is written."""
    if label is not None and not any(path is not None and path.suffix.lower() in paths.TABLES for path in data):
        raise OptionError("--label names a column of a .csv; leave it out, or give --data a .csv")
    with located(str(model)):
        recognize.check(model)
    for path in data:
        if path is not None:
            paths.check(path)
    if model.suffix.lower() == ".tflite":
        _read(model)


def _check_files(*models: Path | None) -> None:
    """The same for .tflite files by any name."""
    for model in models:
        if model is not None:
            with located(str(model)):
                recognize.check_tflite(model)
            _read(model)


def _read(model: Path) -> None:
    """What is corrupt inside is found by reading it, which takes torch, but not all the rest. Scales that contradict the
    kernels are for a diagnosis to name.
    """
    with _loading():
        pass

    tflite.read(model, kernels=False)


def main() -> None:
    """Entry point of the ``intact`` command."""
    app()

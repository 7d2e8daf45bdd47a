"""What the commands share: options, checks of what was typed, and how errors are told.

Help and refusals must come at once, so that nothing that a command's module imports at its top loads numpy or torch: a command
imports what it works with once options and paths are found good.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from intact import scratch
from intact.cli.signals import Terminated
from intact.data import paths
from intact.errors import IntactError, OptionError, located
from intact.formats import recognize, tflite

Data = Annotated[
    Path,
    typer.Option(
        "--data",
        help="Class folders of images, a folder of images (masks beside it), an .npz with x and y, an .npy, a .csv, a "
        "detector's data.yaml, or shards: .tar (WebDataset), .parquet, .tfrecord, a folder of them, a saved Hugging Face data "
        "set.",
    ),
]
RuntimeName = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="What .onnx files run in: onnxruntime (default), openvino, tensorrt, or litert; .pt2 files: pytorch or "
        "pytorch-eager; and .tflite files: litert or tflm.",
    ),
]
ImageField = Annotated[
    str | None,
    typer.Option("--image", help="The field or column of shards with the images; else image, jpg, png and the like."),
]
Label = Annotated[
    str | None,
    typer.Option(
        help="The column of a .csv with the labels, by name or number; else label, class, y or the last. Of shards, the field."
    ),
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
    str,
    typer.Option(
        "--target",
        help="cpu (LiteRT with XNNPACK), mcu (microcontrollers: TensorFlow Lite Micro), or tensorrt, openvino or pytorch, by "
        "way of intact export.",
    ),
]
Model = Annotated[Path, typer.Argument(help="A .keras, .h5, .pt2, .onnx or float .tflite file, or a SavedModel folder.")]
Ranges = Annotated[str, typer.Option(help="auto, minmax, moving, percentile or mse.")]
Weights = Annotated[str, typer.Option(help="per-channel or per-tensor.")]
AnyModel = Annotated[
    Path,
    typer.Argument(help="Any .tflite file, quantized or not, or a .keras, .h5, .pt2 or .onnx file, or a SavedModel folder."),
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        help="Sizes that a model leaves open: 96,96,3, or image=96,96,3 for each input; for ONNX as it has them: 3,96,96."
    ),
]
MetricName = Annotated[str | None, typer.Option("--metric", help="mse, mae, auc or iou of outputs and targets.")]
Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        help='A criterion: "drop <= 2", "size >= 4x", "latency <= 5 ms", "integer only"; or an accept.toml. Repeatable.',
    ),
]
On = Annotated[
    str | None,
    typer.Option("--on", help="Measure on a device (intact devices) or a Ray cluster (ray, ray://head:10001) instead of here."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Run samples in this many processes of one thread each, on this machine.", min=1)
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print all figures, not only those that matter most.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record as JSON, and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote in the output folder.")]


@contextmanager
def reported(debug: bool, is_told: Callable[[IntactError], bool] = lambda _: True) -> Iterator[None]:
    """Errors become one sentence on standard error, unless it is another process that tells them, and exit code 2; Ctrl-C
    becomes 130, SIGTERM 143, SIGHUP 129.
    """
    warnings.filterwarnings("ignore", module=r"torch|jax|tensorflow|keras|litert_torch|PIL")
    try:
        yield
    except IntactError as error:
        if debug:
            raise
        if not is_told(error):
            raise typer.Exit(2) from None
        _fail(str(error))
    except (KeyboardInterrupt, Terminated) as stopped:
        if debug:
            raise
        sys.stderr.write("interrupted; the same command goes on from here\n")
        raise typer.Exit(stopped.code if isinstance(stopped, Terminated) else 130) from None
    except OSError as error:
        if debug or not scratch.is_full(error):
            raise
        _fail(str(scratch.no_room(error.strerror or str(error))))
    except MemoryError:
        if debug:
            raise
        _fail("out of memory; close other programs, or give fewer samples with --calibration-samples or a smaller --eval")


@contextmanager
def loading() -> Iterator[None]:
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


def check(model: Path, *data: Path | None, image: str | None = None, label: str | None = None) -> None:
    """What is missing or foreign is said at once, and before anything is written."""
    with located(str(model)):
        recognize.check(model)
    check_data(*data, image=image, label=label)
    if model.suffix.lower() == ".tflite":
        _read(model)


def check_data(*data: Path | None, image: str | None = None, label: str | None = None) -> None:
    """The same for samples alone."""
    given = [path for path in data if path is not None]
    sharded = (image is not None or label is not None) and any(paths.is_sharded(path) for path in given)
    if label is not None and not sharded and not any(path.suffix.lower() in paths.TABLES for path in given):
        raise OptionError("--label names a column of a .csv or a field of shards; leave it out, or give --data such")
    if image is not None and not sharded:
        raise OptionError("--image names a field of shards (.tar, .parquet, .tfrecord); leave it out, or give --data such")
    for path in given:
        paths.check(path)


def check_any(*models: Path | None) -> None:
    """The same for models of any kind, and for .tflite files by any name."""
    for model in models:
        if model is not None and recognize.is_tflite(model):
            with located(str(model)):
                recognize.check_tflite(model)
            _read(model)
        elif model is not None:
            check(model)


def _read(model: Path) -> None:
    """What is corrupt inside is found by reading it, which takes torch, but not all the rest. Scales that contradict the
    kernels are for a diagnosis to name.
    """
    with loading():
        read = tflite.read
    read(model, kernels=False)

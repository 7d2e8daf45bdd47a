"""The command ``explore``: a page with a network's weights in it, and what they become with fewer bits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact import data as samples_of
from intact.cli import shared
from intact.data import paths
from intact.errors import OptionError
from intact.planning.targets import target as target_named
from intact.run import options


def explore(
    model: shared.AnyModel,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Samples, as other commands take them: then ops have their noise, and activations are shown."
        ),
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="The model is an integer .tflite; this is its float model, whose weights are shown.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("explore.html"),
    model_explorer: Annotated[
        Path | None,
        typer.Option(
            "--model-explorer", help="Also write node data for Google's Model Explorer: this file, and one a figure beside it."
        ),
    ] = None,
    target: shared.TargetName = "cpu",
    input_shape: shared.InputShape = None,
    image: shared.ImageField = None,
    label: shared.Label = None,
    pixels: shared.Pixels = "0,1",
    mean: shared.Mean = None,
    std: shared.Std = None,
    channels: shared.Channels = None,
    resize: shared.Resize = "stretch",
    overwrite: shared.Overwrite = False,
    quiet: shared.Quiet = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Write one page that shows each tensor with fewer bits, and the network as a graph; it opens without a network."""
    with shared.reported(debug):
        target_named(target)
        preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
        shape = options.input_shape(input_shape or [])
        _check(out, model_explorer, overwrite)
        shared.check_any(model, against)
        if data is not None:
            paths.check(data)
        with shared.loading():
            from intact.report.terminal import Output
            from intact.run.explore import explore as looked_into

        output = Output(quiet, as_json)
        samples = None if data is None else samples_of.load(data, preprocessing, image=image, label=label)
        with output.progress() as progress:
            found = looked_into(model, samples, against=against, target=target, input_shape=shape, progress=progress)
            page = found.save(out)
            beside = () if model_explorer is None else found.save_node_data(model_explorer)
        output.notes(found.document["notes"])
        output.say(f"{page}: open it in a browser ({page.stat().st_size / 1e6:.1f} MB)")
        for path in beside:
            output.say(f"{path}: model-explorer FILE.tflite --node_data_paths={path}")
        output.document(dict(found.document))


def _check(out: Path, model_explorer: Path | None, overwrite: bool) -> None:
    """What cannot be written is refused before the work."""
    for option, path in (("--out", out), ("--model-explorer", model_explorer)):
        if path is None:
            continue
        if path.is_dir():
            raise OptionError(f"{option} {path} is a folder; give the name of a file in it")
        if path.exists() and not overwrite:
            raise OptionError(f"{option} {path} is there already; add --overwrite, or give another name")
    if model_explorer is not None and model_explorer.suffix != ".json":
        raise OptionError(f"--model-explorer {model_explorer} must end in .json")
    if model_explorer is not None and model_explorer.resolve() == out.resolve():
        raise OptionError("--out and --model-explorer name the same file")

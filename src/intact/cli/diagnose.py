"""The command ``diagnose``: which ops the loss comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact import choices
from intact import data as samples_of
from intact.cli import shared
from intact.run import options
from intact.run.settings import Settings


def diagnose(
    model: shared.Model,
    data: shared.Data,
    against: Annotated[
        Path | None, typer.Option(help="The model is an integer .tflite that anyone made; this is its float model.")
    ] = None,
    scheme: Annotated[str, typer.Option(help="int8, w4a8 or int16x8.")] = "int8",
    target: shared.TargetName = "cpu",
    ranges: shared.Ranges = "auto",
    weights: shared.Weights = "per-channel",
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
    """Say which ops the loss comes from and what looks wrong, in simulation and in the real runtime; writes nothing."""
    with shared.reported(debug):
        shape = options.input_shape(input_shape or [])
        Settings(scheme=scheme, target=target, ranges=ranges, weights=choices.granularity(weights)).integers_only()
        preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
        if against is None:
            shared.check(model, data, image=image, label=label)
        else:
            shared.check_any(model)
            shared.check(against, data, image=image, label=label)
        with shared.loading():
            from intact.report.diagnosis import to_table
            from intact.report.terminal import Output
            from intact.run.diagnose import diagnose as what_is_wrong

        output, samples = Output(quiet, as_json), samples_of.load(data, preprocessing, image=image, label=label)
        with output.progress() as progress:
            found = what_is_wrong(
                model,
                samples,
                against=against,
                scheme=scheme,
                target=target,
                ranges=ranges,
                weights=choices.granularity(weights),
                input_shape=shape,
                progress=progress,
            )
        output.wide(to_table(found))
        output.notes(map(str, found.symptoms or ("nothing looks wrong; what is lost is rounding noise",)))
        output.document({"schema": "intact-diagnosis/1", **found.to_json()})

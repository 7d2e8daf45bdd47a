"""The command ``diagnose``: which ops the loss comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact import choices, scratch
from intact import data as samples_of
from intact.cli import shared
from intact.errors import OptionError
from intact.planning.schemes import INTEGER
from intact.planning.schemes import scheme as scheme_named
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
        settings = Settings(scheme=scheme, target=target, ranges=ranges, weights=choices.granularity(weights))
        if not scheme_named(scheme).is_integer:
            raise OptionError(f"--scheme {scheme} computes in float; type --scheme with one of: {', '.join(INTEGER)}")
        preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
        shared.check(model, data, label=label)
        if against is not None:
            shared.check(against, data)
        with shared.loading():
            from intact.diagnosis.diagnose import diagnose as what_is_wrong
            from intact.diagnosis.diagnose import diagnose_file
            from intact.report.diagnosis import to_table
            from intact.report.terminal import Output
            from intact.run.folder import RunFolder, Work
            from intact.run.quantize import Job

        output, samples = Output(quiet, as_json), samples_of.load(data, preprocessing, label=label)
        with scratch.folder() as folder, output.progress() as progress:
            if against is not None:
                found = diagnose_file(model, samples, against=against, target=settings.target, progress=progress)
            else:
                work = Work(RunFolder(folder), progress)
                _, start, parts = Job(model, samples, None, settings, None, None, work).start()
                found = what_is_wrong(start.network, parts.calibration, progress)
        output.wide(to_table(found))
        output.notes(map(str, found.symptoms or ("nothing looks wrong; what is lost is rounding noise",)))
        output.document({"schema": "intact-diagnosis/1", **found.to_json()})

"""The command that says what a network takes on a microcontroller: ``fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact import data as samples_of
from intact import files
from intact.cli import shared
from intact.data import paths
from intact.deploy import boards, npus
from intact.errors import OptionError, located
from intact.formats import recognize
from intact.run import options


def fit(
    model: Annotated[Path, typer.Argument(help="An integer .tflite, such as the model.tflite of a run with --target mcu.")],
    board: Annotated[
        str | None, typer.Option(help="nano33ble, pico2, …: exit code 1 where it does not fit. Without, all are listed.")
    ] = None,
    instructions: Annotated[
        bool, typer.Option("--instructions", help="Count those of one sample, on an emulated Cortex-M4.")
    ] = False,
    against_float: Annotated[
        bool, typer.Option("--float/--no-float", help="With --instructions, those of the same network in float32 too.")
    ] = True,
    data: Annotated[
        Path | None, typer.Option("--data", help="Samples for --instructions: see intact quantize --help. Default: random.")
    ] = None,
    npu: Annotated[
        list[str] | None,
        typer.Option(
            help="ethos-u55-128, u85, all, …: Vela's estimate for Ethos-U, with pip install 'intact[npu]'. Repeatable."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write it as a page, fit.html, which opens offline.")] = None,
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
    """Say what an integer network takes of RAM and flash, which tensors make the peak, and which boards hold it."""
    with shared.reported(debug):
        if board is not None:
            boards.board(board)
        npus.npus(npu or ())
        with located(str(model)):
            recognize.check_tflite(model)
        if data is not None and not instructions:
            raise OptionError("samples serve to count instructions; add --instructions, or leave --data out")
        preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
        if data is not None:
            paths.check(data)
        with shared.loading():
            from intact.report.terminal import Output
            from intact.run.fit import fit as fitted
            from intact.run.report import documents_of, page_of

        output = Output(quiet, as_json)
        given = None if data is None else samples_of.load(data, preprocessing, image=image, label=label)
        with output.progress() as progress:
            found = fitted(
                model,
                board=board,
                instructions=instructions,
                against_float=against_float,
                data=given,
                npu=npu or (),
                progress=progress,
            )
        if out is not None:
            files.write_text(out, page_of(documents_of(found)))
        output.notes(found.notes)
        for line in found.lines:
            output.say(line)
        output.document(found.to_json())
        if found.fits is False or not found.is_estimated:
            raise typer.Exit(1)

"""The command that writes a network as firmware: ``deploy``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact import choices
from intact import data as samples_of
from intact.cli import shared
from intact.data import paths
from intact.deploy import boards
from intact.deploy import bytes as sizes
from intact.errors import located
from intact.formats import recognize
from intact.run import options


def deploy(
    model: Annotated[Path, typer.Argument(help="An integer .tflite, such as the model.tflite of a run with --target mcu.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("firmware"),
    data: Annotated[
        Path | None, typer.Option("--data", help="Samples to prove it on: see intact quantize --help. Default: random ones.")
    ] = None,
    board: Annotated[
        str | None, typer.Option(help="nano33ble, pico2, …: what it has of core, RAM and flash. intact fit lists all.")
    ] = None,
    cpu: Annotated[str | None, typer.Option(help="cortex-m0plus, -m3, -m4 (default), -m7, -m33 or -m55.")] = None,
    ram: Annotated[
        str | None, typer.Option(help="What the firmware may take: 256K; least: as little as can be. Default: QEMU's machine.")
    ] = None,
    flash: Annotated[str | None, typer.Option(help="The same of flash: 1M.")] = None,
    name: Annotated[str, typer.Option(help="What every name in the C begins with.")] = "network",
    runtime: Annotated[
        str, typer.Option(help="c (needs no library), tflm (TensorFlow Lite Micro) or both (the latter in tflm/).")
    ] = "c",
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Run it on samples and compare bit for bit: the C under QEMU, the other in the real TensorFlow Lite Micro.",
        ),
    ] = False,
    samples: Annotated[int, typer.Option(help="How many samples --verify runs.")] = 50,
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
    """Write an integer network as firmware, in plain C or for TensorFlow Lite Micro, and prove that it computes the same."""
    with shared.reported(debug):
        choices.firmware(runtime)
        ram_bytes, flash_bytes = sizes.parsed(ram, "--ram"), sizes.parsed(flash, "--flash")
        boards.chosen(board, cpu, ram_bytes, flash_bytes)
        preprocessing = options.preprocessing(pixels, mean, std, channels, resize)
        with located(str(model)):
            recognize.check_tflite(model)
        if data is not None:
            paths.check(data)
        with shared.loading():
            from intact.report.terminal import Output
            from intact.run.deploy import deploy as deployed

        output = Output(quiet, as_json)
        given = None if data is None else samples_of.load(data, preprocessing, image=image, label=label)
        with output.progress() as progress:
            made = deployed(
                model,
                out,
                data=given,
                board=board,
                cpu=cpu,
                name=name,
                runtime=runtime,
                verify=verify,
                samples=samples,
                overwrite=overwrite,
                progress=progress,
                ram=ram_bytes,
                flash=flash_bytes,
            )
        output.notes(made.notes)
        for line in made.lines:
            output.say(line)
        output.document(dict(made.document))
        if not made.is_exact:
            raise typer.Exit(1)

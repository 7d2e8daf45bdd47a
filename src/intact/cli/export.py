"""The command that writes a run's network in another format: ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from intact.cli import shared


def export(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    to: Annotated[str, typer.Option("--to", help="onnx: for ONNX Runtime, OpenVINO and TensorRT. pytorch: a .pt2.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="File to write. Default: model.onnx or model.pt2 in the folder.")] = None,
    activations: Annotated[
        str | None,
        typer.Option(help="int8, or uint8: the same numbers with zero points 128 higher. Default: what the target likes."),
    ] = None,
    quiet: shared.Quiet = False,
    debug: shared.Debug = False,
) -> None:
    """Write the network of a run, integer for integer, as a file for another runtime."""
    with shared.reported(debug):
        with shared.loading():
            from intact.report.terminal import Output
            from intact.run.export import export as written
            from intact.run.export import page_of

        made = written(run, to, out, activations=activations)  # type: ignore[arg-type]  # checked there
        Output(quiet, False).say(f"{made} is written; {page_of(made)} says how to run it.")

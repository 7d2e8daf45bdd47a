"""The ``intact`` command: parse, then call. Exit codes: 0 done, 1 target missed, 2 bad input, above 128 a signal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from intact.cli import deploy, devices, diagnose, explore, export, finetune, fit, look, quantize, signals, streams
from intact.cli import report as reporting
from intact.cli import study as studying

app = typer.Typer(
    help="Takes a trained float network and gives back the integer network for an edge device, proven on the real runtime.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        from intact.installed import __version__

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


for command in (
    quantize.quantize,
    finetune.finetune,
    studying.study,
    reporting.report,
    reporting.compare,
    look.evaluate,
    diagnose.diagnose,
    explore.explore,
    export.export,
    deploy.deploy,
    fit.fit,
    look.benchmark,
    look.inspect,
    quantize.demo,
):
    app.command()(command)
app.add_typer(devices.app, name="devices")


def main() -> None:
    """Entry point of the ``intact`` command."""
    with signals.outside(), streams.guarded():
        signals.unwind()
        app()

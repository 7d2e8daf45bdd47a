"""The commands for machines elsewhere: ``devices``, ``devices add``, ``check``, ``remove``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from intact.cli import shared
from intact.errors import OptionError
from intact.runtime import devices
from intact.runtime.devices import Android, Device, Row

app = typer.Typer(
    help="Machines elsewhere that models are measured on: list, add, check or remove them.", no_args_is_help=False
)


@app.callback(invoke_without_command=True)
def listed(context: typer.Context, as_json: shared.AsJson = False, debug: shared.Debug = False) -> None:
    """List the devices that are known."""
    if context.invoked_subcommand is not None:
        return
    with shared.reported(debug):
        rows = devices.read()
        if as_json:
            sys.stdout.write(json.dumps({name: row.to_toml() for name, row in sorted(rows.items())}, indent=1) + "\n")
            return
        if not rows:
            sys.stdout.write("no devices yet; type: intact devices add pi --ssh user@host\n")
        for _, row in sorted(rows.items()):
            _say(row)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What the device is called from now on: pi.")],
    ssh: Annotated[str, typer.Option(help="The machine as ssh takes it: user@host, an alias, or ssh://user@host:port.")] = "",
    adb: Annotated[
        bool, typer.Option("--adb", help="An Android device over adb, which times files and does nothing else.")
    ] = False,
    serial: Annotated[str, typer.Option(help="Which, where several are connected: its serial number in adb devices.")] = "",
    benchmark_model: Annotated[Path | None, typer.Option(help="LiteRT's benchmark_model, built for Android.")] = None,
    config: Annotated[Path | None, typer.Option(help="An ssh configuration to use instead of your own.")] = None,
    python: Annotated[str, typer.Option(help="The Python there that has LiteRT.")] = "python3",
    folder: Annotated[
        str, typer.Option(help="Where files go there.", show_default=f"{devices.FOLDER}, or {devices.ANDROID_FOLDER}")
    ] = "",
    install: Annotated[
        bool, typer.Option("--install", help="Install LiteRT there, in an environment of its own below --folder.")
    ] = False,
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Look at a machine over ssh or an Android device over adb, see that LiteRT runs there, and remember it."""
    with shared.reported(debug):
        if adb or serial or benchmark_model:
            _check_adb(ssh, config, install)
            if benchmark_model is None:
                raise OptionError("LiteRT has no Python on Android; type --benchmark-model with the path of its program")
            with shared.loading():
                from intact.run.devices import add_phone

            _done(add_phone(name, serial, benchmark_model, folder or devices.ANDROID_FOLDER), as_json)
            return
        if not ssh:
            raise OptionError(f"type --ssh user@host, or for an Android device: intact devices add {name} --adb")
        device = Device(name, ssh, str(config.resolve()) if config else "", python, folder or devices.FOLDER)
        with shared.loading():
            from intact.run.devices import add as added

        _done(added(device, install=install), as_json)


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A device that is known.")],
    as_json: shared.AsJson = False,
    debug: shared.Debug = False,
) -> None:
    """Look at a device again: what it is, and how warm and how fast it is now."""
    with shared.reported(debug):
        devices.named(name)
        with shared.loading():
            from intact.run.devices import check as checked

        device, state = checked(name)
        _done(device, as_json, state)


@app.command()
def pack(
    study: Annotated[Path, typer.Argument(help="The folder of a finished study.")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("measure.pyz"),
    debug: shared.Debug = False,
) -> None:
    """Write one file that measures the variants of a study on a machine without ssh."""
    with shared.reported(debug):
        with shared.loading():
            from intact.run.carry import pack as packed

        made = packed(study, out)
        sys.stdout.write(
            f"{made} is the file ({made.stat().st_size / 1e6:.1f} MB). Carry it there and type: python3 {made.name}\n"
            "It writes measured.json; bring that back and type: intact report measured.json\n"
        )


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="A device that is known.")],
    debug: shared.Debug = False,
) -> None:
    """Forget a device."""
    with shared.reported(debug):
        sys.stdout.write(f"{name} is gone from {devices.remove(name)}\n")


def _check_adb(ssh: str, config: Path | None, install: bool) -> None:
    """OptionError for what is for machines over ssh, where adb is asked for."""
    given = {"--ssh": ssh, "--config": config, "--install": install}
    if other := next((option for option, value in given.items() if value), None):
        raise OptionError(f"{other} is for a machine over ssh, and --adb for an Android device; leave one of the two out")


def _done(device: Row, as_json: bool, state: dict[str, Any] | None = None) -> None:
    if as_json:
        told = {"name": device.name, **device.to_toml()} | ({} if state is None else {"state": state})
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return
    _say(device)
    for sensor, celsius in ({} if state is None else state["celsius"]).items():
        sys.stdout.write(f"  {sensor} {celsius:.1f} degrees Celsius\n")
    sys.stdout.write(f"{devices.path()} has it; measure there with: intact benchmark model.tflite --on {device.name}\n")


def _say(device: Row) -> None:
    found = device.found
    if isinstance(device, Android):
        sys.stdout.write(f"{device.name}: {device.adb} over adb\n{_phone(found) if found else ''}")
        return
    sys.stdout.write(f"{device.name}: {device.ssh}\n")
    if found:
        heat = f"{found['celsius']} degrees Celsius, " if "celsius" in found else ""
        sys.stdout.write(
            f"  {found.get('cpu')}, {found.get('cores')} cores, {found.get('memory', 0) / 1e9:.1f} GB\n"
            f"  {found.get('system')}, Python {found.get('python')}, LiteRT {found.get('litert')}\n"
            f"  governor {found.get('governor', 'not told')}, {heat}seen {found.get('seen')}\n"
        )


def _phone(found: Mapping[str, Any]) -> str:
    """What was found of an Android device, in lines."""
    battery = f"battery {found['battery']} %{', charging' * bool(found.get('charging'))}, " if "battery" in found else ""
    heat = f"{found['celsius']} degrees Celsius, " if "celsius" in found else ""
    return (
        f"  {found.get('cpu')}, {found.get('cores')} cores, {found.get('memory', 0) / 1e9:.1f} GB, {found.get('abi')}\n"
        f"  {found.get('system')}, benchmark_model {str(found.get('benchmark_model'))[:8]}\n"
        f"  governor {found.get('governor', 'not told')}, throttling {found.get('thermal', 'not told')}, {heat}{battery}"
        f"seen {found.get('seen')}\n"
    )

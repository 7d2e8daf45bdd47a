"""Places by the names that users give them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from intact import choices
from intact.errors import OptionError, PlaceError
from intact.runtime import devices
from intact.runtime.devices import Android
from intact.runtime.elsewhere import Elsewhere
from intact.runtime.phone import Phone
from intact.runtime.places import HERE, Place, Pool, Timer
from intact.runtime.ssh import Ssh

#: What a Ray cluster is called: this, or an address of this scheme.
_RAY: Final = "ray"
_RAY_SCHEME: Final = "ray://"


@contextmanager
def opened(name: str | None, workers: int | None = None) -> Iterator[Place]:
    """The place called ``name``: a row of the user's devices, "ray" or "ray://head:10001"; this machine for None, with
    ``workers`` child processes side by side where they are asked for. OptionError where there is none, PlaceError where it
    cannot be reached or lacks what is needed.
    """
    if workers is not None and name is not None:
        raise OptionError(f"--workers are processes of this machine, and --on {name} is another; type one of the two")
    if workers is not None:
        yield Pool(choices.whole("--workers", workers, 1))
    elif name is None:
        yield HERE
    elif name == _RAY or name.startswith(_RAY_SCHEME):
        from intact.runtime.on_ray import Cluster  # noqa: PLC0415  # loads numpy, which whoever measures here has no need of yet

        with Cluster(name) as cluster:
            yield cluster
    else:
        device = devices.named(name)
        if isinstance(device, Android):
            raise PlaceError(
                f"{name} times files and runs no samples, for LiteRT has no Python on Android: leave --on {name} out, and type "
                f"intact benchmark model.tflite --on {name} for the time there"
            )
        with Elsewhere(device, Ssh(device.ssh, Path(device.config) if device.config else None)) as place:
            yield place


@contextmanager
def timing(name: str | None, workers: int | None = None) -> Iterator[Timer]:
    """Where files are timed: a place as :func:`opened` has it, or an Android device of the user's, which is none."""
    row = None if name is None or workers is not None else devices.read().get(name)
    if isinstance(row, Android):
        with Phone(row) as phone:
            yield phone
    else:
        with opened(name, workers) as place:
            yield place

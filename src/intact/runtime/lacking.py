"""What a machine elsewhere may lack, in sentences that say what to type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from intact.errors import PlaceError
from intact.runtime.devices import Device

#: The oldest Python that the worker scripts run in.
OLDEST: Final = (3, 10)
#: What a shell says of a command that there is not.
_NO_COMMAND: Final = frozenset({126, 127})


def check(name: str, found: Mapping[str, Any]) -> None:
    """PlaceError for a device without the runtime."""
    missing = [package for package in ("ai-edge-litert", "numpy") if found["versions"][package] is None]
    if not missing:
        return
    what = f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed for {found['executable']} on {name}"
    if found["bits"] == 32:
        raise PlaceError(
            f"{what}, and LiteRT has no wheel for {found['processor']} with 32 bits; install a 64-bit system there"
        )
    raise PlaceError(f"{what} ({found['processor']}); type: intact devices add {name} … --install")


def not_installed(name: str, said: str, found: Mapping[str, Any]) -> PlaceError:
    """The error for what venv or pip said."""
    if "ensurepip" in said or "No module named venv" in said:
        return PlaceError(f"{name} cannot make an environment for Python; type there: sudo apt install python3-venv")
    if "No matching distribution" in said or "no matching distribution" in said:
        machine = f"{found['processor']} with {found['bits']} bits, Python {found['python']}, {found['libc']}"
        return PlaceError(
            f"there is no wheel of ai-edge-litert for {name} ({machine}); it needs a 64-bit Linux on x86-64 or ARM, "
            "and a Python that it is built for: name another one with --python"
        )
    if "No space left" in said or "quota" in said:
        return PlaceError(f"no room is left on {name}; make some there, or give --folder a folder that has some")
    return PlaceError(f"LiteRT could not be installed on {name} ({' '.join(said.split())[-200:]})")


def no_python(device: Device, status: int, said: str) -> PlaceError:
    """The error for a start of Python that ended without a word of ours."""
    python, lines = device.python, said.strip().splitlines()
    last = lines[-1][:200] if lines else ""
    wanted = ".".join(map(str, OLDEST))
    if status in _NO_COMMAND:
        return PlaceError(
            f"there is no {python} on {device.name} ({last}); type: sudo apt install python3 there, or name another one with "
            f"--python"
        )
    if last.startswith("Python ") or "SyntaxError" in said:
        return PlaceError(
            f"{python} on {device.name} is {last or 'too old'}; {wanted} or newer is needed; name one with --python"
        )
    return PlaceError(f"{python} on {device.name} ended with {status} ({last or 'it said nothing'})")

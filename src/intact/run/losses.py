"""A loss that the user wrote: a function, or the name of one in a file."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Final

from intact.errors import OptionError, located
from intact.reading import content
from intact.remedies.loss import Loss, LossFunction

#: Bytes of a file of Python.
_LONGEST: Final = 1 << 24
#: Digits that tell versions of one function apart.
_DIGITS: Final = 12


def loss_of(loss: LossFunction | str | None) -> Loss | None:
    """``loss`` under its name: a function, or ``"file.py:function"``, which is imported. OptionError where there is none."""
    if loss is None:
        return None
    if isinstance(loss, str):
        return _imported(loss)
    if not callable(loss):
        raise OptionError(f"the loss takes a function of outputs, those of the float network and targets, not {loss!r}")
    try:
        source = inspect.getsource(loss)
    except (OSError, TypeError):
        source = ""
    return Loss(f"{_called(loss)} ({_digest(source.encode())})", loss)


def _called(loss: LossFunction) -> str:
    return str(getattr(loss, "__name__", type(loss).__name__))


def _imported(text: str) -> Loss:
    name, colon, function = text.rpartition(":")
    path = Path(name)
    if not colon or not function or path.suffix != ".py":
        raise OptionError(f"--loss {text} must name a file and a function in it, such as --loss loss.py:my_loss")
    with located(f"--loss {path}"):
        source = content(path, OptionError, _LONGEST)
    spec = importlib.util.spec_from_file_location(f"intact_loss_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise OptionError(f"--loss {path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a dataclass looks for what its annotations mean
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise OptionError(f"--loss {path} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise OptionError(f"--loss {path} has no function {function!r}")
    return Loss(f"{path.name}:{function} ({_digest(source)})", found)


def _digest(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()[:_DIGITS]

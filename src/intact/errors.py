"""The few kinds of error that a user can meet. Each says what, where, why, and what to type."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from intact.wording import shown


class IntactError(Exception):
    """Base of every foreseeable error. ``str(error)`` is one sentence fit for a user; the command line exits with 2.

    Location is added on the way up with :func:`located`: inner code knows the op, outer code knows the file. Names in it may be
    anything; what is told is :func:`~intact.wording.shown`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.where: tuple[str, ...] = ()

    def __str__(self) -> str:
        return shown(": ".join((*self.where, self.message)))

    def add_note(self, note: str) -> None:
        """What stands under the traceback, line by line as :func:`~intact.wording.shown`: much of it is what others printed."""
        super().add_note("\n".join(map(shown, note.splitlines())))


class ModelError(IntactError):
    """The model file or graph is missing, corrupt, or says something impossible."""


class UnsupportedError(IntactError):
    """The model is sound, but holds something that Intact or the target cannot do; the message says what still works."""


class DataError(IntactError):
    """Samples, labels or preprocessing are missing, unreadable, or do not fit the model."""


class OptionError(IntactError):
    """An option or argument has a value that cannot be used, alone or together with another."""


class ChildError(IntactError):
    """A third-party runtime or converter failed, crashed or ran out of time in its child process."""


class PlaceError(IntactError):
    """A machine elsewhere cannot be reached, or lacks what a measurement needs there."""


class LineLostError(PlaceError):
    """The line to a machine elsewhere broke, and it did not come back in time."""


class OutputError(IntactError):
    """A result, or what is worked on meanwhile, cannot be written where it has to be."""


class ResourceError(IntactError):
    """Memory ran out, and nothing smaller is left to try."""


class RankError(IntactError):
    """Processes that compute together disagree, or one of them ended; ``is_lost``: without saying why."""

    def __init__(self, message: str, *, is_lost: bool = False) -> None:
        super().__init__(message)
        self.is_lost = is_lost


class MissingExtraError(IntactError):
    """A part of Intact needs a package that is not installed; the message holds the line that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs packages that are not installed; type: pip install 'intact[{extra}]'")
        self.what, self.extra = what, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str], dict[str, object]]:
        return MissingExtraError, (self.what, self.extra), self.__dict__


class MissingToolError(IntactError):
    """A program that Intact calls is not installed; the message holds the line that installs it."""


@contextmanager
def located(where: str) -> Iterator[None]:
    """Prefix any :class:`IntactError` raised inside with ``where``, such as ``"model.tflite"`` or ``"op CONV_2D 'x'"``."""
    try:
        yield
    except IntactError as error:
        error.where = (where, *error.where)
        raise

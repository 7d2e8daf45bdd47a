"""Run a script in a child process, so that its crash, hang or garbage is an error message and not ours.

Every child is confined (``confinement.py``): the files and frameworks that it opens are not trusted.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

from intact import scratch
from intact.errors import ChildError
from intact.progress import StepProgress
from intact.runtime import ending
from intact.runtime.confinement import Confinement, changed, environment, listing
from intact.runtime.process import Local
from intact.runtime.talk import Talk

_SCRIPTS: Final = Path(__file__).resolve().parent / "scripts"


def call(  # noqa: PLR0913  # two of them have defaults
    script: Path | str,
    request: Mapping[str, Any],
    *,
    what: str,
    timeout: float,
    on_progress: StepProgress | None = None,
    confinement: Confinement | None = None,
) -> dict[str, Any]:
    """Run ``main(request, progress)`` of a Python file in a fresh process and return the dict that it returns.

    ``script`` is the name of a file in ``scripts/``, or an absolute path. It never imports ``intact``; the files beside it are
    there by plain name. ``request`` and result are JSON; large arrays travel as files that they name. ``progress(done, total)``
    in the script becomes ``on_progress(done, total)`` here. Whatever the script or native code prints is captured.

    ``what`` names the work in messages (``"LiteRT"``). ``timeout`` is in seconds since the start or the last progress:
    how long silence is taken for work. ``confinement``: what the script may write and use; by default nothing but a scratch
    folder, which is its working folder too and goes with it.

    Raises :class:`ChildError` with one sentence when the script raises, dies of a signal or a limit, exits early, falls silent
    or answers garbage; everything the child printed is in the error's notes, which a traceback shows. Any exception here,
    Ctrl-C included, ends the child and its own children first; the child also ends when this process is killed.
    """
    confinement = confinement or Confinement()
    with scratch.folder() as folder:
        before = listing(confinement.watched)
        talk = _start(script, what, folder, confinement, on_progress)
        try:
            answer = talk.finish(request, timeout)
        finally:
            talk.close()
        if "writes" not in talk.confined and (found := changed(before, listing(confinement.watched))):
            warnings.warn(
                f"while {what} ran, {found[0]} changed, and this system cannot keep a child process from writing; if nothing "
                "else of yours did it, trust neither",
                stacklevel=2,
            )
        return answer


@final
class Conversation:
    """A child that answers one request after another, so that what it loaded is loaded once; safe to ask from several threads.

    ``script``, ``what`` and ``confinement`` as in :func:`call`. The child starts at the first request and ends with
    :meth:`close`, with this object, with this process, or with a request that fails; the next request starts another.
    """

    def __init__(self, script: Path | str, *, what: str, confinement: Confinement | None = None) -> None:
        self._script, self._what = script, what
        self._confinement = confinement or Confinement()
        self._lock = threading.Lock()
        self._talk: Talk | None = None
        self._folder: Path | None = None

    @property
    def scratch(self) -> Path:
        """The folder that the child may write to, for files that requests name; it goes with this object."""
        with self._lock:
            return self._made_scratch()

    def _made_scratch(self) -> Path:
        if self._folder is None:
            self._folder = scratch.lasting()
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder

    def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """The answer; ChildError as :func:`call` raises it."""
        with self._lock:
            if self._talk is not None and self._talk.process.poll() is not None:
                self._end()  # Linux ends a child with the thread that started it
            if self._talk is None:
                self._talk = _start(self._script, self._what, self._made_scratch(), self._confinement)
                weakref.finalize(self, self._talk.close)
            try:
                return self._talk.finish(request, timeout)
            except BaseException:
                self._end()
                raise

    def close(self) -> None:
        """End the child, if there is one."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._talk is not None:
            self._talk.close()
            self._talk = None


def _start(
    script: Path | str, what: str, folder: Path, confinement: Confinement, on_progress: StepProgress | None = None
) -> Talk:
    """A fresh process that waits for a request, with ``folder`` for its temporary files."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", str(_SCRIPTS / "serve.py"), str(_SCRIPTS / script), confinement.rules(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=folder,
            env=environment(folder),
            **ending.APART,
        )
    except OSError as error:
        raise ChildError(f"{what} could not be started ({error}); is {sys.executable} still there?") from error
    return Talk(what, Local(process), confinement, on_progress)

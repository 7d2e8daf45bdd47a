"""Runs the ``intact`` command with one thing going wrong at a chosen moment, and writes down what it changes.

Moments are counted by Python's audit events, which tell of each change of a name, each file opened for writing and each process
started before it happens; ``os.fsync``, at which a file is written but not yet under its name, is counted with them. The
product knows nothing of this.

As a script: ``python faults.py FAULT LOG -- intact's arguments``, FAULT as JSON.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

#: What changes names. ``open`` counts when it is for writing.
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "subprocess.Popen")


@dataclass(frozen=True)
class Fault:
    """What goes wrong. ``at`` counts from 1: changes of files for kills and full disks, children for their kills.

    kill: this process ends before that change; half: so does it, and of the file that it writes half is there; full: from
    there on the disk answers ``number``; child: that child is killed ``seconds`` after its start; clock: the time of day
    runs backwards.
    """

    kind: Literal["none", "kill", "half", "full", "child", "clock"] = "none"
    at: int = 0
    number: int = 0
    seconds: float = 0.0


class _Watch:
    """Counts and writes down what happens, and lets ``fault`` happen."""

    def __init__(self, fault, log):
        self.fault, self.count, self.children, self.inside = fault, 0, 0, False
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def hear(self, event, args):
        if self.inside:
            return
        if event == "open":
            path, _, flags = args
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not writes or not isinstance(path, str) or path.startswith(("/dev/", "/proc/")):
                return
            self.step("open", path)
        elif event in CHANGES:
            self.step(event, args[1] if event == "os.rename" else args[0])

    def step(self, what, path):
        self.inside = True
        try:
            self.count += 1
            os.write(self.log, f"{what}\t{path}\n".encode(errors="replace"))
            fault = self.fault
            if fault.kind == "kill" and self.count == fault.at:
                os.kill(os.getpid(), signal.SIGKILL)
            if fault.kind == "half" and self.count == fault.at:
                self.halve()
                os.kill(os.getpid(), signal.SIGKILL)
            if fault.kind == "full" and self.count >= fault.at and what in {"open", "os.mkdir", "fsync"}:
                raise OSError(fault.number, os.strerror(fault.number), path if what != "fsync" else None)
        finally:
            self.inside = False

    def halve(self):
        """Of each file that is being written, keep half."""
        for descriptor in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                path = descriptor.readlink()
                if path.suffix == ".draft":
                    os.truncate(path, path.stat().st_size // 2)


def install(fault, log):
    """From now on ``fault`` waits for its moment. What happens is appended to the file ``log``."""
    watch = _Watch(fault, log)
    sys.addaudithook(watch.hear)
    sync, start, clock = os.fsync, subprocess.Popen.__init__, time.time

    def fsync(descriptor):
        watch.step("fsync", str(descriptor))
        sync(descriptor)

    def popen(self, *args, **options):
        start(self, *args, **options)
        watch.children += 1
        if fault.kind == "child" and watch.children == fault.at:
            timer = threading.Timer(fault.seconds, _kill, (self.pid,))
            timer.daemon = True
            timer.start()

    os.fsync, subprocess.Popen.__init__ = fsync, popen
    if fault.kind == "clock":
        began = clock()
        time.time = lambda: began - 10 * (clock() - began) - 3600


def _kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def hasten():
    """Less time for what is measured by the clock, which is not the subject."""
    from intact.measure import bootstrap, figures  # noqa: PLC0415  # a process of its own begins without them
    from intact.run import advice, trial  # noqa: PLC0415

    bootstrap._RESAMPLES, bootstrap._ENOUGH = 20, 10
    figures._LATENCY_SECONDS, figures._ROUNDS, advice._SECONDS, trial._TIMED_SECONDS = 0.02, 2, 0.2, 0.02


def command(fault, log, args):
    """The command from its start to its end, in this process; its exit code."""
    told = {signal.SIGTERM, signal.SIGHUP, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)  # what this module does before is no part of the command
    from intact.cli import signals  # noqa: PLC0415
    from intact.cli.app import main  # noqa: PLC0415

    install(fault, log)
    hasten()
    sys.argv = ["intact", *args]
    unwind = signals.unwind

    def heard():
        unwind()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, told)

    signals.unwind = heard
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def forked(fault, log, args, environment, said):
    """:func:`command` in a fork of this process, which has loaded all that is slow to load; the fork's number.

    What it prints and what it says go to the two files ``said``.
    """
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.environ.update(environment)
        for descriptor, path in enumerate(said, 1):
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, descriptor)
            os.close(opened)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w", buffering=1) for n in (1, 2))
        code = command(fault, log, args)
    except BaseException:  # as the interpreter would
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
            sys.stdout.flush()
        os._exit(code)


def typed(fault, log, args):
    """What to run for :func:`command` in a process of its own, from its very start."""
    return [sys.executable, __file__, json.dumps(asdict(fault)), str(log), "--", *args]


if __name__ == "__main__":
    sys.exit(command(Fault(**json.loads(sys.argv[1])), sys.argv[2], sys.argv[4:]))

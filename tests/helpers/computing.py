"""What processes compute in tests: they find it here by its name."""

import os
import signal
import time
from pathlib import Path

from intact.errors import MissingExtraError, OutputError, located


def backwards(request, files, progress):
    progress("read", len(files), 2)
    return b"".join(path.read_bytes() for path in files.values()) + request[::-1]


def pid(request, files, progress):
    del request, files, progress
    return str(os.getpid()).encode()


def waits(request, files, progress):
    """Says that it began and works for a while; when it began and ended."""
    del files
    began = time.monotonic()
    progress(str(os.getpid()), 0, 0)
    time.sleep(float(request))
    return f"{began} {time.monotonic()}".encode()


def meets(request, files, progress):
    """Whether another process is there at the same time, in the folder of the request."""
    del files, progress
    folder = Path(request.decode())
    (folder / str(os.getpid())).touch()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    return str(len(list(folder.iterdir()))).encode()


def fails(request, files, progress):
    del files, progress
    if request == b"disk":
        with located("net.tflite"):
            raise OutputError("cannot be written") from OSError(28, "No space left on device")
    if request == b"extra":
        raise MissingExtraError("Ray", "ray")
    print("about to fail")
    raise ZeroDivisionError("of nothing")


def dies(request, files, progress):
    del files, progress
    os.kill(os.getpid(), int(request))


def dies_of_int8(request, files, progress):
    """A run of a study, whose process is killed if it is of int8."""
    from intact.run import cells  # noqa: PLC0415  # the others need no PyTorch
    from intact.run.computed import unpacked  # noqa: PLC0415

    if unpacked(request, cells.Task).settings.scheme == "int8":
        os.kill(os.getpid(), signal.SIGKILL)
    return cells.compute(request, files, progress)

"""What waiting there is before any work: for help and refusals, for the package, for planning and writing MobileNetV2.

python bench/import_time.py         exit code 1 above a bound; CPU seconds of fresh processes, the best of five
python bench/import_time.py --only starts      without MobileNetV2, which needs the shared models
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import say_machine
from intact.errors import IntactError
from intact.formats import tflite
from intact.formats.tflite import flatbuffer

BOUND = 3.0
RUNS = 5
WORK = """
import sys, time
start = time.perf_counter()
from pathlib import Path
from intact.planning.integer_graph import emit
from intact.formats import tflite
from intact.planning.planner import make_plan
from intact.run.prepared import prepare
from intact.run.settings import Settings
loaded = time.perf_counter()
settings = Settings()
graph = prepare(tflite.read(Path(sys.argv[1])), settings)
ranges = {i: (-3.0, 3.0) for i in graph.tensors}  # calibration is timed elsewhere
data = tflite.write(emit(graph, make_plan(graph, ranges, settings.request())))
print(loaded - start, time.perf_counter() - loaded)
"""
COMMAND = (sys.executable, "-m", "intact")
#: What is typed, the exit code that it must have, and the CPU seconds that it may take.
STARTS: dict[str, tuple[tuple[str, ...], int, float]] = {
    "import intact": ((sys.executable, "-c", "import intact"), 0, 0.3),
    "intact --help": ((*COMMAND, "--help"), 0, 0.3),
    "intact quantize --help": ((*COMMAND, "quantize", "--help"), 0, 0.3),
    "intact --version": ((*COMMAND, "--version"), 0, 0.3),
    "a bad option": ((*COMMAND, "quantize", "net.tflite", "--data", "val.npz", "--scheme", "int7"), 2, 0.3),
    "a missing path": ((*COMMAND, "quantize", "gone.tflite", "--data", "val.npz"), 2, 0.3),
    "missing data": ((*COMMAND, "quantize", "net.tflite", "--data", "gone"), 2, 0.3),
    "a foreign model (.onnx)": ((*COMMAND, "inspect", "net.onnx"), 2, 1.5),
    "a truncated .tflite": ((*COMMAND, "quantize", "cut.tflite", "--data", "val.npz"), 2, 1.5),
    "a truncated .keras": ((*COMMAND, "quantize", "cut.keras", "--data", "val.npz"), 2, 1.5),
    "a .tflite that is corrupt inside": ((*COMMAND, "quantize", "inside.tflite", "--data", "val.npz"), 2, 1.5),
}


def starts() -> bool:
    """Print the CPU seconds of each of STARTS; whether all are within their bounds."""
    good = True
    with tempfile.TemporaryDirectory(prefix="intact-bench-") as scratch:
        models(Path(scratch))
        for name, (command, code, bound) in STARTS.items():
            seconds = min(cpu_seconds(command, code, scratch) for _ in range(RUNS))
            good &= seconds <= bound
            print(f"{name}: {seconds:.2f} s of CPU (bound {bound:g})")
    return good


def cpu_seconds(command: tuple[str, ...], code: int, folder: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode != code or "Traceback" in ran.stderr:
        sys.exit(f"{' '.join(command)}: exit code {ran.returncode}\n{ran.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def models(folder: Path) -> None:
    """A network, the same cut in half, the same with a byte turned over; samples; files of other kinds."""
    import numpy as np  # noqa: PLC0415

    from intact.network.graph import Graph, Op, Tensor  # noqa: PLC0415
    from intact.numbers.affine import Float  # noqa: PLC0415
    from intact.ops import KINDS  # noqa: PLC0415

    tensors = {0: Tensor(0, "x", (1, 77), Float()), 1: Tensor(1, "y", (1, 77), Float())}
    graph = Graph(tensors, (Op(KINDS["RELU"](), (0,), (1,)),), (0,), (1,))
    good = tflite.write(graph)
    (folder / "net.tflite").write_bytes(good)
    (folder / "cut.tflite").write_bytes(good[: len(good) // 2])
    (folder / "inside.tflite").write_bytes(next(filter(is_corrupt_inside, flipped(good))))
    (folder / "cut.keras").write_bytes(b"PK\x03\x04" + bytes(1000))
    (folder / "net.onnx").write_bytes(b"\x08\x07")
    np.savez(folder / "val.npz", x=np.zeros((4, 77), np.float32))


def flipped(data: bytes) -> Iterator[bytes]:
    """``data`` with one byte turned over, each in turn."""
    return (data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] for at in range(len(data)))


def is_corrupt_inside(data: bytes) -> bool:
    """Whether only whoever reads all of it finds the fault."""
    try:
        flatbuffer.check(data)
    except IntactError:
        return False
    try:
        tflite.read(data)
    except IntactError:
        return True
    return False


def plan_and_write() -> bool:
    from cifar import MOBILENET_V2  # noqa: PLC0415  # looks for the shared models

    command = [sys.executable, "-c", WORK, str(MOBILENET_V2.path)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(RUNS)]
    seconds = [float(work) for _, work in runs]
    middle = statistics.median(seconds)
    print(f"plan and write {MOBILENET_V2.title}: {middle:.2f} s (best {min(seconds):.2f}, bound {BOUND:.0f})")
    print(f"before that, Python loads what it takes, torch too, in {statistics.median(float(load) for load, _ in runs):.2f} s")
    return middle <= BOUND


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=["starts"], help="leave out what needs the shared models")
    only = parser.parse_args().only
    say_machine()
    good = starts()
    good &= only == "starts" or plan_and_write()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

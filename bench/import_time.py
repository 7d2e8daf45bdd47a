"""Seconds to read, clean, plan and write MobileNetV2, without framework conversion or samples, and to load the package.

python bench/import_time.py         exit code 1 above 3 s; the best of five fresh processes is printed beside the median
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from cifar import MOBILENET_V2

BOUND = 3.0
WORK = """
import sys, time
start = time.perf_counter()
from pathlib import Path
from intact.emit import emit
from intact.formats import tflite
from intact.planner import make_plan
from intact.quantize import prepare
from intact.settings import Settings
loaded = time.perf_counter()
settings = Settings()
graph = prepare(tflite.read(Path(sys.argv[1])), settings)
ranges = {i: (-3.0, 3.0) for i in graph.tensors}  # calibration is timed elsewhere
data = tflite.write(emit(graph, make_plan(graph, ranges, settings.request())))
print(loaded - start, time.perf_counter() - loaded)
"""


def main() -> None:
    command = [sys.executable, "-c", WORK, str(MOBILENET_V2.path)]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(5)]
    seconds = [float(work) for _, work in runs]
    middle = statistics.median(seconds)
    print(f"import, plan and write {MOBILENET_V2.title}: {middle:.2f} s (best {min(seconds):.2f}, bound {BOUND:.0f})")
    print(f"before that, Python loads the package and torch in {statistics.median(float(load) for load, _ in runs):.2f} s")
    sys.exit(1 if middle > BOUND else 0)


if __name__ == "__main__":
    main()

"""What a study costs against the runs it is made of: CPU time of all processes, MobileNetV3-Small on CIFAR-10.

Each scheme is run alone by ``intact quantize``, then all of them by ``intact study``, and a second time by a study of all but
int16x8. What single runs repeat is measured apart, in each: starting and loading, converting, reading samples, calibrating a
graph on samples that an earlier run calibrated, and running the float network on the samples that report.

    python bench/study.py [--images 10000] [--schemes float32,float16,...]

Aims: the study takes at most 1.05 times the single runs less what they repeat; without int16x8 at most 0.6 times the runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cifar import MOBILENET_V3
from common import cifar10, say_machine
from intact.run.study_cells import runs_on

#: In a process that runs one quantization and says what each of its steps took, itself and its children.
ALONE = """
import json, resource, sys
from pathlib import Path

def spent():
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(r.ru_utime + r.ru_stime for r in both)

from intact import data as samples_of
from intact.run.folder import Work, open_run
from intact.run.job import Job
from intact.run.settings import Settings

model, data, evaluation, scheme, out = sys.argv[1:]
steps, now = {}, ["start", 0.0]

def progress(step, done, total):
    if step != now[0]:
        at = spent()
        steps[now[0]] = steps.get(now[0], 0.0) + at - now[1]
        now[:] = [step, at]

pixels = samples_of.Preprocessing(pixels=samples_of.parse_pixels("-1,1"))
load = [samples_of.load(path, pixels) for path in (data, evaluation)]
with open_run(Path(out), {"bench": scheme}) as folder:
    folder.finish(Job(Path(model), *load, Settings(scheme=scheme), None, None, Work(folder, progress)).run().files())
progress("end", 0, 0)
print(json.dumps(steps))
"""
#: Steps that a study does once.
ONCE = ("start", "convert", "read samples", "calibrate", "run float model")


def some(part: str, count: int, folder: Path) -> Path:
    """A folder with ``count`` images of a part of CIFAR-10, as many of each class; all of them where that is as many."""
    classes = sorted(cifar10(part).iterdir())
    for each in classes:
        (folder / part / each.name).mkdir(parents=True)
        for file in sorted(each.iterdir())[: count // len(classes)]:
            shutil.copy(file, folder / part / each.name)
    return folder / part


def cpu_seconds(command: list[str]) -> tuple[float, str]:
    """CPU seconds of a command and all its children, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended.stdout


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--schemes", default=",".join(runs_on("cpu")))
    asked = parser.parse_args()
    schemes = asked.schemes.split(",")
    say_machine()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, evaluation = some("train", min(asked.images, 10_000), folder), some("test", asked.images, folder)
        alone: dict[str, float] = {}
        repeated: dict[str, float] = {}
        for scheme in schemes:
            where = [str(MOBILENET_V3.path), str(data), str(evaluation), scheme, str(folder / scheme)]
            alone[scheme], said = cpu_seconds([sys.executable, "-c", ALONE, *where])
            steps = json.loads(said.splitlines()[-1])
            repeated[scheme] = sum(steps.get(step, 0.0) for step in ONCE)
            print(f"{scheme:8} alone {alone[scheme]:6.1f} s, of it done once in a study {repeated[scheme]:5.1f} s", flush=True)
            print(f"         {', '.join(f'{step} {took:.1f}' for step, took in steps.items())}", flush=True)
        missed = []
        for several in dict.fromkeys([tuple(schemes), tuple(scheme for scheme in schemes if scheme != "int16x8")]):
            out = folder / f"study{len(several)}"
            typed = [sys.executable, "-m", "intact", "study", str(MOBILENET_V3.path), "--data", str(data)]
            typed += ["--eval", str(evaluation), "--pixels=-1,1", "--schemes", ",".join(several), "--out", str(out), "--quiet"]
            took, _ = cpu_seconds(typed)
            runs, again = (sum(each[scheme] for scheme in several) for each in (alone, repeated))
            once = max(repeated[scheme] for scheme in several)
            less = runs - (again - once)
            print(
                f"{len(several)} schemes, {asked.images:,} images: study {took:.1f} s; runs {runs:.1f} s "
                f"({took / runs:.2f} x), less what they repeat {less:.1f} s ({took / less:.2f} x)",
                flush=True,
            )
            if "int16x8" in several and took > 1.05 * less:
                missed.append("at most 1.05 times the runs less what they repeat")
            if "int16x8" not in several and took > 0.6 * runs:
                missed.append("without int16x8 at most 0.6 times the runs")
    sys.exit("missed: " + "; ".join(missed) if missed else 0)


if __name__ == "__main__":
    main()

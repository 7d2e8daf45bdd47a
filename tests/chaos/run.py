"""Disturbs runs of ``intact quantize`` in every way that cases.py knows, and says what of its promises did not hold.

``python tests/chaos/run.py [--share 1.0] [--seed 0] [--kind KIND] [--each N] [--keep FOLDER]``. A share of 1 takes every change
of a file and every child, ``--each`` so many cases of each kind; the same seed takes the same moments. ``make chaos`` runs it.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "helpers"))
os.environ["OMP_NUM_THREADS"] = "1"

# What takes long to load is loaded before runs are forked off.
import numpy as np
import torch
from cases import HELD, Case, Fault, Job, Place, can_mount, cases, disturbed, results, small_disk
from nets import images, mobile

import intact.cli.app
import intact.report.terminal
import intact.run.quantize  # noqa: F401
from intact.formats import tflite
from intact.simulate.engine import Program

#: A small classifier and few samples: a run takes seconds, and goes through all steps.
SAMPLES, CLASSIFIER = 64, 10


def prepared(folder):
    """A float file and labelled samples."""
    torch.set_num_threads(1)
    net, x = mobile(), images(SAMPLES)
    last = net[CLASSIFIER]  # its scores vary enough that nothing looks wrong, which would be looked into
    net = replace(net, tensors={**net.tensors, last.id: replace(last, data=4 * np.asarray(last.data))})
    scores = next(iter(Program(net)({"image": x}).values())).detach().numpy()
    (folder / "net.tflite").write_bytes(tflite.write(net))
    np.savez(folder / "val.npz", x=x, y=scores.argmax(1))
    return str(folder / "net.tflite"), "--data", str(folder / "val.npz")


def undisturbed(job, root, **options):
    place = Place(root)
    ended = place.run(job, **options)
    if ended.code not in {0, 1} or not {p.name for p in place.out.iterdir()} >= HELD:
        sys.exit(f"undisturbed, {job.name} ends with {ended.code}: {ended.said}")
    return place, ended


def all_cases(args, root):
    """Each case with what must come of it."""
    job = Job("by itself", ("quantize", *prepared(root)))
    draw = random.Random(args.seed)
    place, quiet = undisturbed(job, root / "reference")
    reference = results(place.out)
    other, _ = undisturbed(Job("other", (*job.args, "--seed", "1", "--remedies", "none")), root / "other")
    steps = len(quiet.steps)
    print(f"undisturbed: {steps} changes of files, {quiet.seconds:.1f} s", flush=True)
    for case in cases(job, quiet, steps, draw, args.share):
        yield case, lambda case, folder: disturbed(case, folder, reference, other.out)
    real = [replace(case, name=f"typed: {case.name}", real=True) for case in cases(job, quiet, steps, draw, 0)]
    for case in draw.sample(real, min(len(real), max(1, round(12 * args.share)))):
        yield case, lambda case, folder: disturbed(case, folder, reference, other.out)
    if not can_mount(root):
        print("disks that are really full are left out: nothing can be mounted here", flush=True)
        return
    total = sum(p.stat().st_size for p in place.out.iterdir())
    for where in (0, 1):
        for n in range(max(2, round(12 * args.share))):
            size = 4096 * (1 + round(draw.uniform(0, 4 * total / 4096)))
            name = f"a disk of {size} bytes for {'temporary files' if where else 'the run'}"
            yield (
                Case(f"{name} ({n})", job, Fault("none", where), kind="disk"),
                lambda case, folder, size=size: small_disk(case, folder, reference, size),
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="")
    parser.add_argument("--each", type=int)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    began, done, wrong, kept = time.monotonic(), Counter(), [], Counter()
    if args.keep is not None:
        args.keep.mkdir(parents=True, exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="chaos-", dir=args.keep))  # by hand: forks must not take it away at their end
    chosen = [(case, happen) for case, happen in all_cases(args, root) if args.kind in case.kind]
    random.Random(args.seed).shuffle(chosen)  # so that the first are of every kind
    if args.each is not None:
        kinds = sorted({case.kind for case, _ in chosen})
        chosen = [one for kind in kinds for one in [x for x in chosen if x[0].kind == kind][: args.each]]
    for number, (case, happen) in enumerate(chosen):
        if number % 25 == 0:
            print(f"{number} of {len(chosen)} after {time.monotonic() - began:.0f} s", flush=True)
        report = happen(case, root / str(number))
        done[case.kind] += 1
        kept[case.kind] += report.stages
        if report.wrong:
            wrong.append(report)
            said = f"WRONG {number} {case.name} (ended with {report.code}: {report.told[-300:]})"
            print(said, *report.wrong, sep="\n  ", flush=True)
    for kind, count in done.items():
        print(f"{kind:8} {count:4} disturbed, {kept[kind]} finished steps found by the next run", flush=True)
    print(f"{sum(done.values())} runs disturbed in {time.monotonic() - began:.0f} s: {len(wrong)} wrong")
    if args.keep is None:
        shutil.rmtree(root)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

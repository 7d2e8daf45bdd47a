"""Fuzzes what Intact reads: python tests/fuzz/run.py [KIND …] [--count N] [--seed S] [--jobs J] [--keep FOLDER]

Without a kind, all of them. ``--only NUMBER`` takes that one mutant in this process, with its traceback.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]

import harness  # noqa: E402

#: Mutants of a kind where that is left open.
COUNTS = {"tflite": 100_000}
_COUNT = 2_000


def main() -> int:
    given = _arguments()
    found = harness.kinds()
    if unknown := set(given.kind) - found.keys():
        sys.exit(f"there is no kind {', '.join(unknown)}; there are {', '.join(found)}")
    faults = 0
    for name in given.kind or found:
        if given.only is not None:
            _once(found[name], given.seed, given.only)
            continue
        count = given.count or COUNTS.get(name, _COUNT)
        report = harness.fuzz(found[name], count, given.seed, jobs=given.jobs, keep=given.keep, tell=_tell)
        _tell(report)
        for site, times in report.translated.most_common(given.translated):
            print(f"  {times:5} refused because of: {site}", flush=True)
        faults += len(report.faults)
    return 1 if faults else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz what Intact reads.")
    parser.add_argument("kind", nargs="*")
    parser.add_argument("--count", type=int, help="mutants of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="a folder for the mutants at fault")
    parser.add_argument("--only", type=int, help="take this mutant alone, here, and show its traceback")
    parser.add_argument("--translated", type=int, default=0, help="show so many sites whose exceptions became refusals")
    return parser.parse_args()


def _tell(report: harness.Report) -> None:
    print(*report.lines(), sep="\n", flush=True)


def _once(kind: harness.Kind, seed: int, number: int) -> None:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = harness.mutant(kind, seed, number, Path(folder))
        print(f"{path} ({path.stat().st_size:,} bytes)", flush=True)
        kind.take(path)
        print("accepted")


if __name__ == "__main__":
    sys.exit(main())

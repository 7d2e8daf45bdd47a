"""Takes mutants the whole way, through the real converters: python tests/fuzz/conversion.py [KIND …] [--count N] [--seed S]

Only mutants that pass every check before a framework loads them are counted; the rest are what run.py is for. A conversion
takes seconds, most of which a sound file takes too; what counts is that each ends in a graph or in a sentence.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]

import harness  # noqa: E402

from intact.errors import IntactError  # noqa: E402
from intact.formats.load import load  # noqa: E402

KINDS = ("keras", "h5", "saved_model", "pt2")
#: Seconds that a conversion may take, where a sound file takes five.
_LONGEST = 120.0


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz the converters.")
    parser.add_argument("kind", nargs="*", default=KINDS)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    faults = sum(_converted(harness.kinds()[name], given.count, given.seed) for name in given.kind)
    return 1 if faults else 0


def _converted(kind: harness.Kind, count: int, seed: int) -> int:
    """Faults among ``count`` mutants of ``kind``, which are told of as they come."""
    ends: Counter[str] = Counter()
    slowest = faults = 0.0
    for number in itertools.count():
        if ends.total() == count:
            break
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            path = harness.mutant(kind, seed, number, Path(folder))
            if not _passes(kind, path):
                continue
            before, began = _listing(folder), time.monotonic()
            try:
                load(path)
                end = "a graph"
            except IntactError as error:
                end = type(error).__name__
                if end == "ChildError":
                    print(f"  {kind.name} {number}: {error}"[:300].replace(folder, ""), flush=True)
            except Exception as error:
                end = f"FOREIGN {type(error).__name__}: {error}"[:200]
            took = time.monotonic() - began
            slowest = max(slowest, took)
            if end.startswith("FOREIGN") or took > _LONGEST or _listing(folder) != before:
                faults += 1
                print(f"  fault: {kind.name} {number}: {end}, {took:.0f} s", flush=True)
            ends[end] += 1
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{kind.name}: {dict(ends)}, slowest {slowest:.0f} s, largest child {most:.1f} GiB, faults {int(faults)}", flush=True)
    return int(faults)


def _passes(kind: harness.Kind, path: Path) -> bool:
    with suppress(IntactError):
        kind.take(path)
        return True
    return False


def _listing(folder: str) -> set[tuple[str, int]]:
    """What lies around the mutant and in the working folder."""
    places = [*Path(folder).rglob("*"), *Path.cwd().iterdir()]
    return {(str(place), place.lstat().st_size) for place in places if not place.is_dir()}


if __name__ == "__main__":
    sys.exit(main())

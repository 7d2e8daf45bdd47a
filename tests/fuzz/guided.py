"""Fuzzes the reader of .tflite files by what code each mutant reaches: python tests/fuzz/guided.py [SECONDS]

Needs the extra ``fuzz``, and a Python that atheris has a wheel for. Half of the mutants are libFuzzer's own, of bytes; half are
those of :mod:`kinds.tflite`, of what the bytes say. It stops at the first fault, and says where the mutant is.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "helpers")]

import atheris  # noqa: E402

#: What is looked into for code that is reached.
_READER = ["intact.formats.tflite", "intact.network", "intact.ops"]

with atheris.instrument_imports(include=_READER):
    from intact.formats.tflite import loops, read

from kinds import tflite  # noqa: E402

from intact.errors import IntactError  # noqa: E402

#: Bytes of the largest mutant, mebibytes of memory in all, seconds on the clock that one may take, looked into.
_BYTES, _MEMORY, _SECONDS = 1 << 16, 3072, 60
#: Loops are cut short: code that is looked into is ten times slower, and every step of a loop is like the one before.
loops.LIMIT, loops._RUNS = 500, 5_000


def take(data: bytes) -> None:
    try:
        read(data, kernels=False)
    except IntactError as error:
        if isinstance(error.__cause__, MemoryError):
            raise


def mutate(data: bytes, most: int, seed: int) -> bytes:
    draw = random.Random(seed)
    made = tflite.another_structure(data, draw) if draw.random() < 0.5 else None
    return atheris.Mutate(data, most) if made is None or len(made) > most else made


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    folder = Path(tempfile.mkdtemp(prefix="guided-"))  # it stays: atheris ends the process, and the fault is in it
    corpus = folder / "corpus"
    corpus.mkdir()
    for n, seed in enumerate(tflite.seeds()):
        if seed.stat().st_size <= _BYTES:
            (corpus / f"{n}").write_bytes(seed.read_bytes())
    limits = [f"-max_total_time={seconds}", f"-max_len={_BYTES}", f"-rss_limit_mb={_MEMORY}", f"-timeout={_SECONDS}"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={folder}/", str(corpus)], take, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

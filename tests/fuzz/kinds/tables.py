"""Mutants of .csv, .tsv and data.yaml files: of their bytes, lines and cells."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from harness import Kind
from mutations import few, other_bytes, seeds_folder
from PIL import Image

from intact import data
from intact.data.spec import InputSpec

_TABLE: Final = (InputSpec("x", (None, 3)),)
_PICTURES: Final = (InputSpec("x", (None, 8, 8, 3)),)
#: Characters of a mutant, so that what is measured is not its making.
_LONGEST: Final = 1 << 23
_CELLS: Final = (
    *('"', '"a\nb', "''", "\0", "\x1b[2J", "nan", "inf", "-1e999", "1_0", "0x10", "\u0663", "\ufeff", "\u202e", "a" * 200_000),
    *("9" * 5000, ",", ";" * 50, "," * 140_000, "1," * 40_000, "\r", "\r\r\n", "\u2028", "label", "x", ""),
)
_TEXTS: Final = (
    *("&a [*a]", "*a", "!!python/object/apply:os.system ['echo']", "!!binary aGVsbG8=", "<<: *a", "[" * 3000, "{" * 3000),
    *("1:" * 20_000 + "1", "0b" + "1" * 20_000, "2001-99-99", "~", "- a", "? a", "|\n  text", "%YAML 9.9", "---", "...", "\t"),
    *("/dev/zero", "/dev/stdin", "..", "../" * 50, "images/../" * 20, "images", "a" * 5000, "\0", "images/\udce9", "[a, [b]]"),
)


@cache
def seeds() -> Sequence[Path]:
    """Tables with each delimiter, and descriptions of detectors beside their images."""
    folder, rng = seeds_folder("tables"), np.random.default_rng(0)
    rows = [[*(f"{value:.3f}" for value in rng.random(3)), ("cat", "dog", "cow")[n % 3]] for n in range(12)]
    for name, mark in (("comma.csv", ","), ("semicolon.csv", ";"), ("tab.tsv", "\t"), ("bar.csv", "|")):
        lines = [mark.join(row) for row in [["a", "b", "c", "label"], *rows]]
        (folder / name).write_text("\n".join(lines[name == "bar.csv" :]) + "\n")
    (folder / "numbers.csv").write_text("\n".join(",".join(row[:3]) for row in rows))
    (folder / "quoted.csv").write_text('"a","b, or","c"\r\n' + "\r\n".join(f'"{a}",{b},"{c}"' for a, b, c, _ in rows))
    texts = {
        "plain": "train: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n",
        "rooted": "path: .\ntrain: images/train\nval:\n  - images/val\nnames:\n  0: cat\n  1: dog\n",
        "listed": "# a detector\ntrain: list.txt\nval: ../images/val\ntest: null\n",
    }
    for name, text in texts.items():
        for part in ("train", "val"):
            (folder / name / "images" / part).mkdir(parents=True)
            Image.new("RGB", (8, 8)).save(folder / name / "images" / part / "0.png")
        (folder / name / "list.txt").write_text("images/train/0.png\n./images/val/0.png\n")
        (folder / name / "data.yaml").write_text(text)
    return [*sorted(folder.glob("*.?sv")), *sorted(folder.glob("*/data.yaml")) * 2]


def mutate(seed: Path, draw: random.Random, folder: Path) -> Path:
    """A mutant of the bytes, or of lines and cells; a data.yaml with all that lies beside it."""
    out = folder / seed.name
    if seed.suffix == ".yaml":
        shutil.copytree(seed.parent, folder, dirs_exist_ok=True)
        if draw.random() < 0.2:
            beside = folder / "list.txt"
            beside.write_bytes(_other_text(beside.read_bytes(), "\n", _TEXTS, draw))
    content = seed.read_bytes()
    if draw.random() < 0.3:
        out.write_bytes(other_bytes(content, draw))
    else:
        mark, hostile = (":", _TEXTS) if seed.suffix == ".yaml" else (draw.choice(",;\t|"), _CELLS)
        out.write_bytes(_other_text(content, mark, hostile, draw))
    return out


def _other_text(content: bytes, mark: str, hostile: Sequence[str], draw: random.Random) -> bytes:
    lines = content.decode().split("\n")
    for _ in range(few(draw)):
        n = draw.randrange(len(lines))
        match draw.randrange(8):
            case 0:
                del lines[n:]
                lines.append("")
            case 1:
                lines[n:n] = [lines[n]] * min(draw.choice((1, 2, 3000)), _LONGEST // (len(lines[n]) + 1))
            case 2:
                lines[n] = draw.choice(hostile)
            case 3:
                lines[n] = lines[n] * min(draw.choice((2, 1000)), _LONGEST // (len(lines[n]) + 1))
            case _:
                cells = lines[n].split(mark)
                cells[draw.randrange(len(cells))] = draw.choice((" ", "")) + draw.choice(hostile)
                lines[n] = mark.join(cells)
    text = "\n".join(lines)[:_LONGEST]
    encoding = draw.choice(("utf-8",) * 30 + ("utf-16", "utf-8-sig", "utf-32"))
    return text.encode(encoding, "surrogatepass")


def take(path: Path) -> None:
    """Load, look at, bind and read what is there."""
    pictures = path.suffix == ".yaml"
    found = data.load(path, use="data")
    if not pictures:
        data.load(path, label="label").examples()
    samples = found.bind(_PICTURES if pictures else _TABLE, 3)
    samples.batch(range(min(len(samples), 4)))
    samples.take(range(min(len(samples), 4))).fingerprint()
    repr(samples)


KIND = Kind("tables", seeds, mutate, take)

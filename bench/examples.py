"""The tables of examples/: runs each recipe and writes what it measured into the example's README.

python bench/examples.py [NAME ...] [--budget small] [--out FOLDER]     all of them without a name

A float network that an earlier run left in the folder of an example that takes ``--network`` or ``--weights`` is taken again;
delete it to train anew. Photos that a recipe needs come from bench/common.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from common import cifar10, model

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/recipe.py"))
BEGIN, END = "<!-- table -->", "<!-- /table -->"


#: Of recipes that train for long: the option that takes a trained network, and the file of it that they leave.
KEPT = {"mobilenet_v2_cifar10": ("--network", "float.keras"), "rock_paper_scissors": ("--weights", "float.pt")}


def besides(name: str, folder: Path) -> list[str | Path]:
    """Options of the recipe ``name``, which writes into ``folder``: photos that are here, and what was trained there."""
    if name == "mobilenet_v3_small_x86":
        return ["--data", cifar10("train").parent, "--weights", model("mobilenet_v3_small_cifar10.pt2")]
    given: list[str | Path] = []
    if name in ("mobilenet_v2_cifar10", "transfer_efficientnet_lite0"):
        given += ["--train", cifar10("train"), "--test", cifar10("test")]
    if name in KEPT and (folder / KEPT[name][1]).is_file():
        given += [KEPT[name][0], folder / KEPT[name][1]]
    return given


def with_table(readme: str, table: str) -> str:
    """``readme`` with ``table`` between its two marks."""
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"no {BEGIN} and {END} in the README; add both where the table belongs")
    return f"{before}{BEGIN}\n{table.strip()}\n{END}{after}"


def rebuild(name: str, budget: str, out: Path) -> None:
    began, folder = time.monotonic(), EXAMPLES / name
    command = [sys.executable, folder / "recipe.py", "--budget", budget, "--out", out / name]
    command += besides(name, out / name)
    subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
    table = (out / name / "table.md").read_text()
    (folder / "README.md").write_text(with_table((folder / "README.md").read_text(), table))
    print(f"{name}: {time.monotonic() - began:.0f} s\n\n{table}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
    parser.add_argument("--budget", choices=("test", "small", "full"), default="small")
    parser.add_argument("--out", type=Path, default=Path("examples-out"))
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no example {sorted(unknown)[0]}; there are {', '.join(NAMES)}")
    for name in options.names:
        rebuild(name, options.budget, options.out)


if __name__ == "__main__":
    main()

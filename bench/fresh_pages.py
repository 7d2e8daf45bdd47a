"""Does every exported file run by the lines of its page where nothing else is installed?

    python bench/fresh_pages.py            # runs of a small network, exported
    python bench/fresh_pages.py RUN …      # the pages in the folders of runs

Each block of Python in result.md and README.md runs in a fresh virtual environment that has what the page says to install, by
pip with constraints.txt (which keeps torch to its build for processors). Takes minutes and the packages' size on disk.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import fresh  # noqa: E402
from nets import images, mobile  # noqa: E402

import intact  # noqa: E402


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        runs = [Path(word) for word in sys.argv[1:]] or made(Path(scratch))
        failed = 0
        for run in runs:
            for page in sorted({run / "result.md", *run.glob("*README.md")}):
                for number, (packages, code) in enumerate(fresh.blocks(page.read_text()), start=1):
                    python = environment(Path(scratch), packages)
                    started = time.monotonic()
                    ran = subprocess.run([python, "-I", "-c", code], cwd=run, capture_output=True, text=True, check=False)
                    said = "ran" if ran.returncode == 0 else f"FAILED: {ran.stderr.strip().splitlines()[-1]}"
                    failed += ran.returncode != 0
                    took = f"{time.monotonic() - started:.1f} s"
                    print(f"{run.name}/{page.name}, block {number} ({', '.join(packages)}): {said}, {took}", flush=True)
    return 1 if failed else 0


def made(folder: Path) -> list[Path]:
    """Runs for every target, exported to what the target's runtime reads."""
    runs = []
    for target, formats in {
        "cpu": ("onnx", "pytorch"), "openvino": ("onnx",), "tensorrt": ("onnx",), "pytorch": ("pytorch",), "mcu": (),
    }.items():  # fmt: skip
        run = folder / target
        intact.quantize(mobile(), images(64), target=target).save_run(run)
        for to in formats:
            intact.export(run, to)
        runs.append(run)
    return runs


def environment(folder: Path, packages: list[str]) -> Path:
    """The interpreter of a fresh virtual environment that has the packages."""
    path = folder / "-".join(["env", *packages])
    python = path / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", path], check=True)
        pins = [f"{name}=={version}" for name, version in pinned() if name in packages and name == "torch"]
        wanted = [each for each in packages if each != "torch"] + pins
        command = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *wanted]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return python


def pinned() -> list[tuple[str, str]]:
    lines = (line.strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return [(name, version) for name, _, version in (line.partition("==") for line in lines if "==" in line)]


if __name__ == "__main__":
    sys.exit(main())

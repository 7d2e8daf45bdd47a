"""Makes the notebooks of the lab from their sources, runs them, and keeps what they print and draw.

python docs/lab/build.py [NAME ...]         all of them without a name, such as 01_affine
"""

import argparse
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

LAB = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in LAB.glob("[0-9][0-9]_*.py"))


def notebook(name: str) -> nbformat.NotebookNode:
    """The source ``name`` as a notebook without outputs; its cells are numbered, so that each making gives the same file."""
    made = jupytext.read(LAB / f"{name}.py", fmt="py:percent")
    for number, cell in enumerate(made.cells):
        cell["id"] = f"{name[:2]}-{number}"
    return made


def executed(name: str) -> nbformat.NotebookNode:
    """The same with what its cells print and draw; raises CellExecutionError where one fails."""
    made = notebook(name)
    NotebookClient(made, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(LAB)}}).execute()
    for cell in made.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if "outputs" in cell:
            cell.outputs = [one for one in cell.outputs if not _is_log(one)]
    return made


def _is_log(output: nbformat.NotebookNode) -> bool:
    return output.get("name") == "stderr" or "Assets written" in output.get("text", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    for name in parser.parse_args().names:
        nbformat.write(executed(name), LAB / f"{name}.ipynb")
        print(f"{name}.ipynb")


if __name__ == "__main__":
    main()

"""Python lines of a page, run by an interpreter that has what the page says to install and nothing else of this environment."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

_INSTALLS = re.compile(r"`pip install ([\w. -]+)`")
_LINES = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: Refuses every package of this environment but those that are named, as if it were not installed.
_BLOCKING = """
import sys
from importlib.machinery import PathFinder
class Some:
    def __init__(self, finders):
        self.finders = finders
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            brought = [folder for folder in path or sys.path if "_vendor" in folder]  # by setuptools, for itself
            return PathFinder.find_spec(name, brought, target)
        return next((s for f in self.finders if (s := f.find_spec(name, path, target)) is not None), None)
    def find_distributions(self, *context):
        every = (one for f in self.finders if hasattr(f, "find_distributions") for one in f.find_distributions(*context))
        return [one for one in every if one.metadata["Name"].lower().replace("_", "-") in {there!r}]
sys.meta_path[:] = [Some(sys.meta_path[:])]
"""


def blocks(page: str) -> list[tuple[list[str], str]]:
    """What a page says to install for each of its blocks of Python, and the block; where it says nothing, as for the one
    before, from which the block goes on.
    """
    found: list[tuple[list[str], str]] = []
    at = 0
    for block in _LINES.finditer(page):
        named = [name for names in _INSTALLS.findall(page[at : block.start()]) for name in names.split()]
        before = found[-1] if found and not named else ([], "")
        found.append((named or before[0], before[1] + block[1]))
        at = block.end()
    return found


def with_needs(package: str) -> set[str]:
    """A package and all that it needs, by canonical name."""
    found: set[str] = set()
    pending = [package]
    while pending:
        name = _canonical(pending.pop())
        if name in found:
            continue
        found.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of another system
        pending += [re.match(r"[\w.-]+", need)[0] for need in needs if "extra ==" not in need]
    return found


def run(packages: list[str], code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in ``folder`` with ``packages`` and what they need alone."""
    there = set().union(*map(with_needs, packages))
    owners = metadata.packages_distributions().items()
    blocked = {module for module, of in owners if not {_canonical(each) for each in of} & there} | {"intact"}
    program = _BLOCKING.format(blocked=blocked, there=there) + code
    return subprocess.run([sys.executable, "-I", "-c", program], cwd=folder, capture_output=True, text=True, check=False)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

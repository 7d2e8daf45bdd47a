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
class Some:
    def __init__(self, finders):
        self.finders = finders
    def find_spec(self, name, path=None, target=None):
        found = (f.find_spec(name, path, target) for f in self.finders if name.partition(".")[0] not in {blocked!r})
        return next((spec for spec in found if spec is not None), None)
    def find_distributions(self, *context):
        every = (one for f in self.finders if hasattr(f, "find_distributions") for one in f.find_distributions(*context))
        return [one for one in every if one.metadata["Name"].lower().replace("_", "-") in {there!r}]
sys.meta_path[:] = [Some(sys.meta_path[:])]
"""


def packages(page: str) -> list[str]:
    """What a page says to install."""
    return [name for names in _INSTALLS.findall(page) for name in names.split()]


def lines(page: str) -> list[str]:
    """Its blocks of Python, in order."""
    return _LINES.findall(page)


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


def run(page: str, code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in ``folder`` with what ``page`` says to install."""
    there = set().union(*(with_needs(package) for package in packages(page)))
    owners = metadata.packages_distributions().items()
    blocked = {module for module, of in owners if not {_canonical(each) for each in of} & there} | {"intact"}
    program = _BLOCKING.format(blocked=blocked, there=there) + code
    return subprocess.run([sys.executable, "-I", "-c", program], cwd=folder, capture_output=True, text=True, check=False)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

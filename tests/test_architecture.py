"""The house stays livable: imports point one way, modules stay short, and importing costs nothing that was not asked for."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "intact"

#: A module imports only from those before it. A package is one entry; a module of a package may have an earlier entry of
#: its own if it is a leaf. A new module gets a place here.
ORDER = (
    "lazy",
    "installed",
    "errors",
    "wording",
    "choices",
    "files",
    "spool",
    "run_folder",
    "affine",
    "fixed_point",
    "requantize",
    "xnnpack",
    "ops",
    "graph",
    "verify",
    "view",
    "folds",
    "rewrites",
    "freeing",
    "clean",
    "moves",
    "fuse",
    "lower",
    "channels",
    "mending",
    "runtime.child",  # a leaf, as the next: how to start a process, and what one is told
    "runtime.keras_export",
    "formats",
    "data",
    "schemes",
    "targets",
    "request",
    "ranges",
    "masks",
    "plan",
    "exactness",
    "islands",
    "sharing",
    "planner",
    "mixing",
    "emit",
    "lanes",
    "simulate",
    "integers",
    "calibrate",
    "unlike",
    "quantized",
    "student",
    "sensitivity",
    "remedies",
    "runtime",
    "micro",
    "measure",
    "chance",
    "matching",
    "fidelity",
    "symptom",
    "constants",
    "faults",
    "diagnose",
    "search",
    "options",
    "settings",
    "held_out",
    "begin",
    "defaults",
    "recover",
    "findings",
    "helps",
    "quantize",
    "report",
    "demo",
    "",  # the public list, intact/__init__.py
    "commands",
    "cli",
    "__main__",
)
LONGEST = 430  # lines in a module: a few screens
BUDGET = 28_000  # lines in all of src; raise it on purpose, or delete something

MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in sorted(SRC.rglob("*.py"))
}


def rank(module):
    """The place of a module in ORDER by its longest listed prefix."""
    if module in ORDER:
        return ORDER.index(module)
    parent = module.rpartition(".")[0]
    assert parent, f"{module} has no place in ORDER of {Path(__file__).name}; give it one"
    return rank(parent)


def imported(path):
    """Modules of the package that a file imports anywhere in it, ``""`` for the package itself."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, module = name.partition(".")
            if package == "intact":
                yield module if module in MODULES else module.rpartition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_upward(module):
    for other in imported(MODULES[module]):
        same_package = module.partition(".")[0] == other.partition(".")[0] != ""
        assert same_package or rank(other) < rank(module), f"{module or 'intact'} imports {other}, which comes after it"


def test_the_order_check_can_fail():
    assert rank("quantize") > rank("runtime.anything") > rank("formats.tflite") > rank("runtime.child")
    with pytest.raises(AssertionError, match="nowhere has no place in ORDER"):
        rank("nowhere")


SCRIPTS = [
    module
    for module, path in MODULES.items()
    if module.startswith("runtime.")
    and any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in ast.parse(path.read_text()).body)
]


@pytest.mark.parametrize("module", SCRIPTS)
def test_child_scripts_start_without_the_package(module):
    assert not list(imported(MODULES[module])), f"{module} runs by file path in a child process and must not import intact"


@pytest.mark.parametrize("module", MODULES)
def test_no_hasattr_probing(module):
    names = [node.id for node in ast.walk(ast.parse(MODULES[module].read_text())) if isinstance(node, ast.Name)]
    assert "hasattr" not in names


def test_modules_are_short_and_the_whole_stays_within_budget():
    lines = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: n for module, n in lines.items() if n > LONGEST} == {}
    assert sum(lines.values()) <= BUDGET


def test_import_brings_no_optional_package_and_opens_no_connection():
    script = """
import sys
def watch(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        raise SystemExit(f"import intact: {event} {args}")
sys.addaudithook(watch)
import intact
heavy = {"tensorflow", "keras", "tf_keras", "jax", "litert_torch", "transformers", "sklearn"} & set(sys.modules)
sys.exit(f"import intact brings {heavy}" if heavy else 0)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def tracked():
    """Files of the repository, or of the folder where there is no repository (a source archive)."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    return [path for top in ("src", "tests", "bench", "docs") for path in (ROOT / top).rglob("*") if path.is_file()]


def test_text_names_no_place_on_a_developers_machine_and_no_registry():
    private = re.compile(r"(?<![\w.])/(?:work|root|home)/\w|[p]ypi\.|[p]ythonhosted|[s]ubagent")
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # pictures and model files
        found += [f"{os.path.relpath(path, ROOT)}: {match[0]}" for match in private.finditer(text)]
    assert not found

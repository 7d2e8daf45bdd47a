"""What users install: the wheel, made from the source archive, holds the package and works where there is no clone."""

import ast
import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from intact.installed import __version__

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = [path for path in (ROOT / "src" / "intact").rglob("*") if path.is_file() and path.suffix != ".pyc"]


def run(*command, cwd, timeout=240, **environment):
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel that `make dist` makes, of a copy: building writes beside the sources."""
    folder = tmp_path_factory.mktemp("dist")
    clone = folder / "clone"
    shutil.copytree(ROOT / "src", clone / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(ROOT / "docs", clone / "docs")
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, clone)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, clone, cwd=folder, **os.environ)
    (made,) = folder.glob("*.whl")
    assert list(folder.glob("*.tar.gz"))
    return made


def test_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {path.relative_to(ROOT / "src").as_posix() for path in SOURCES}


def test_metadata_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        said = email.message_from_bytes(archive.read(name))
        assert any(name.endswith("/LICENSE") for name in archive.namelist())
    assert said["Name"] == "intact"
    assert said["Version"] == __version__ == PROJECT["version"]
    for field in ("Summary", "Keywords", "Author", "License-Expression", "Requires-Python", "Description-Content-Type"):
        assert said[field], field
    assert said.get_payload().startswith("# Intact")
    assert {"keras", "torch", "mcu", "demo", "yaml"} <= set(said.get_all("Provides-Extra"))


def test_citation_names_this_version():
    assert re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)[1] == PROJECT["version"]


def test_what_the_package_imports_is_what_it_requires():
    """A fresh environment holds only what pyproject.toml names, and what that brings along by chance is not relied on."""
    imported = set()
    for path in SOURCES:
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                imported.add(node.module.split(".")[0])
    beside = {path.stem for path in (ROOT / "src/intact/runtime/scripts").glob("*.py")}
    foreign = imported - sys.stdlib_module_names - beside - {"intact"}
    extras = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name not in ("dev", "fuzz", "bench")}
    lines = [*PROJECT["dependencies"], *(line for found in extras.values() for line in found)]
    required = {canonical(re.match(r"[\w.-]+", line)[0]) for line in lines}
    names = {module: {canonical(name) for name in found} for module, found in metadata.packages_distributions().items()}
    assert {module for module in foreign if not names[module] & required} == set()


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.timeout(600)
def test_demo_runs_from_the_wheel_where_there_is_no_clone(wheel, tmp_path):
    """Its own environment; what Intact requires is taken from here, where an editable Intact is not looked at."""
    home = tmp_path / "env"
    venv.create(home, symlinks=os.name != "nt")
    python = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    (site,) = {Path(line) for line in run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=tmp_path).split()}
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path, **os.environ
    )
    (site / "requirements.pth").write_text(f"{metadata.distribution('numpy').locate_file('')}\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    where = run(python, "-c", "import intact; print(intact.__file__, intact.__version__)", cwd=tmp_path, **clean)
    assert where.split() == [str(site / "intact" / "__init__.py"), PROJECT["version"]]
    command = python.with_name("intact")
    said = run(command, "demo", "--out", "demo", cwd=tmp_path, timeout=500, **clean)
    assert "demo/run/model.tflite is the model" in said.replace(os.sep, "/")
    assert {path.name for path in (tmp_path / "demo" / "run").iterdir()} >= {
        "model.tflite",
        "plan.json",
        "result.json",
        "result.md",
    }

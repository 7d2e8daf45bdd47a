"""The texts promise nothing that is not there: commands, options, links, files and modules exist, and the Python runs."""

import ast
import importlib
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from images import image_folder
from nets import images, mobile

import intact
from intact.cli import app as cli
from intact.report import figures
from intact.report.record import record
from test_docs_code import PAGES as FOLLOWED

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md")))
}


def blocks(language, text):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


# ---- the command line ---------------------------------------------------------------------------------------------------

#: What can be typed as it is, and what the text only mentions, ``…`` for the rest.
TYPED = sorted(
    {line.removeprefix("$ ") for text in PAGES.values() for b in blocks("(?:sh|text)", text) for line in b.splitlines()}
)
COMMANDS = [line for line in TYPED if line.startswith("intact ")]
MENTIONED = sorted({line for text in PAGES.values() for line in re.findall(r"`(intact [a-z]+ [^`\n]*)`", text)})


@pytest.fixture(scope="module")
def commands():
    return typer.main.get_command(cli.app).commands


@pytest.fixture(scope="module")
def options(commands):
    """The options of each command, by its name."""
    return {
        name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for name, command in commands.items()
    }


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_can_be_typed(line, commands):
    _, command, *words = shlex.split(line, comments=True)
    with commands[command].make_context(command, words) as context:  # raises for what is unknown, left out or of another type
        assert context.info_name == command


@pytest.mark.parametrize("line", MENTIONED)
def test_commands_that_are_mentioned_exist_with_their_options(line, options):
    _, command, *words = shlex.split(line)
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options[command]


def test_table_of_options_is_complete_and_true(options):
    rows = [line for line in README.split("## Options")[1].split("\n## ")[0].splitlines() if line.startswith("|")]
    assert set(re.findall(r"--[a-z][a-z-]+", "\n".join(rows))) == options["quantize"] - {"model", "--help"}


def test_make_targets_exist():
    """In the repository, or in the folder of a firmware project."""
    makefiles = (ROOT / "Makefile", ROOT / "src" / "intact" / "deploy" / "templates" / "Makefile.j2")
    made = {name for path in makefiles for name in re.findall(r"^([a-z-]+):", path.read_text(), re.MULTILINE)}
    named = {name for text in PAGES.values() for name in re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", text, re.MULTILINE)}
    assert {a or b for a, b in named} <= made


def test_extras_exist():
    extras = set(
        re.findall(r"^([a-z]+) = \[", (ROOT / "pyproject.toml").read_text().split("optional-dependencies]")[1], re.MULTILINE)
    )
    named = {
        name
        for text in PAGES.values()
        for names in re.findall(r"'(?:intact|\.)\[([a-z,]+)\]'", text)
        for name in names.split(",")
    }
    assert named <= extras


def test_every_block_says_what_it_is():
    """So that none escapes these tests."""
    for page, text in PAGES.items():
        fences = re.findall(r"^```(.*)$", text, re.MULTILINE)
        assert set(fences[::2]) <= {"sh", "python", "text"}, page
        assert set(fences[1::2]) <= {""}, page


# ---- Python -------------------------------------------------------------------------------------------------------------

#: docs/data.md is run by tests/data/test_data_docs.py, block by block, with its names given; what is run with its commands, by
#: tests/test_docs_code.py.
ELSEWHERE = {"docs/data.md"} | {f"docs/{page}" for page in FOLLOWED}
RUN = [page for page, text in PAGES.items() if blocks("python", text) and page not in ELSEWHERE]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Small files under the names that the texts use."""
    image_folder(tmp_path / "photos", ("a", "b", "c", "d"), 8)
    (tmp_path / "model.tflite").write_bytes(intact.write_tflite(mobile()))
    np.savez(tmp_path / "val.npz", x=images(48), y=np.arange(48) % 4)
    shutil.copy(ROOT / "tests" / "networks" / "lstm_streaming.tflite", tmp_path)
    np.save(tmp_path / "calls.npy", np.random.default_rng(0).normal(size=(40, 1, 2)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("page", RUN)
def test_python_runs(page, folder, monkeypatch):
    """The blocks of a page one after the other, as a reader would type them."""
    load = intact.load  # reading a .keras file takes TensorFlow and is tested in tests/formats
    monkeypatch.setattr(intact, "load", lambda path: mobile() if path == "model.keras" else load(path))
    known = {}
    for code in blocks("python", PAGES[page]):
        exec(compile(code, page, "exec"), known)
    if page == "README.md":
        table = blocks("text", README)[0].split("change\n")[1].split("\n\n")[0]
        printed = [re.split(r"  +", row)[0] for row in table.splitlines()]
        assert printed == ["accuracy", "drop", "size", "latency", "peak memory"]
        assert {row.name for row in figures.five(record(known["result"]))} >= set(printed) - {"accuracy", "drop"}
        assert intact.read_tflite(folder / "model.tflite").ops


def test_pages_with_python_are_known():
    assert RUN == [
        "README.md",
        "docs/explorer.md",
        "docs/export.md",
        "docs/finetune.md",
        "docs/recurrent.md",
        "docs/remedies.md",
        "docs/report.md",
        "docs/result.md",
        "docs/study.md",
    ]


def test_python_names_exist():
    named = {name for text in PAGES.values() for name in re.findall(r"\bintact((?:\.\w+)+)\(", text)}
    for name in named:
        found = intact
        for part in name.strip(".").split("."):
            found = getattr(found, part)
        assert callable(found)


# ---- what is where ------------------------------------------------------------------------------------------------------


def anchors(text):
    """The fragments that headings have, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        path, _, fragment = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        assert not fragment or fragment in anchors(file.read_text()), target


def test_every_page_is_listed():
    index = README.split("## Documentation")[1]
    assert set(re.findall(r"\]\((docs/[\w/]+\.md)\)", index)) == set(PAGES) - {"README.md", "CONTRIBUTING.md", "SECURITY.md"}


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    """Paths of the repository, and those of CONTRIBUTING below ``src/intact`` or ``tests/helpers``."""
    places = (ROOT, *((ROOT / "src" / "intact", ROOT / "tests", ROOT / "bench") if page == "CONTRIBUTING.md" else ()))
    named = re.findall(r"`((?:src|tests|bench|docs)/[\w./]*\w/?|[\w/]+\.py|\w+/[\w/]*)`", PAGES[page])
    named += re.findall(r"python (bench/\w+\.py)", PAGES[page])
    named = [name for name in named if page == "CONTRIBUTING.md" or name.startswith(("src/", "tests/", "bench/", "docs/"))]
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


@pytest.mark.parametrize("page", PAGES)
def test_modules_that_are_named_exist(page):
    for name in re.findall(r"`(intact(?:\.\w+)+)`", PAGES[page]):
        found, parts = intact, name.split(".")[1:]
        for n, part in enumerate(parts):
            try:
                found = importlib.import_module(".".join(["intact", *parts[: n + 1]]))
            except ModuleNotFoundError:
                assert hasattr(found, part), name
                found = getattr(found, part)


WINGS = sorted(path.parent for path in (ROOT / "src" / "intact").glob("*/__init__.py"))


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: wing.name)
def test_a_wing_says_what_lives_in_it(wing):
    said = ast.get_docstring(ast.parse((wing / "__init__.py").read_text()))
    assert said
    for name in set(re.findall(r"``([a-z_0-9]+)``", said)) - {"intact"}:
        assert (wing / name).is_dir() or (wing / f"{name}.py").is_file(), name


def test_contributing_lists_the_wings():
    listed = re.findall(r"^\| `(\w+)/` \| .* \| `[\w/.]+` \|$", PAGES["CONTRIBUTING.md"], re.MULTILINE)
    assert sorted(listed) == [wing.name for wing in WINGS]

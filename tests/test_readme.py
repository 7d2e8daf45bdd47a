"""README does not promise what is not there: its commands, their options and its Python names exist."""

import re
import shlex
from pathlib import Path

import pytest
import typer

import intact
from intact.cli import app as cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"(?:^|`)(intact [a-z]+ [^`\n#]*)", README, re.MULTILINE)))


@pytest.fixture(scope="module")
def options():
    """The options of each command, by its name."""
    commands = typer.main.get_command(cli.app).commands
    return {name: {o for p in command.params for o in p.opts} | {"--help"} for name, command in commands.items()}


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_with_their_options(line, options):
    _, command, *words = shlex.split(line)
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options[command]


def test_table_of_options_is_complete_and_true(options):
    rows = [line for line in README.split("## Options")[1].split("\n## ")[0].splitlines() if line.startswith("|")]
    assert set(re.findall(r"--[a-z][a-z-]+", "\n".join(rows))) == options["quantize"] - {"model", "--help"}


def test_python_names_exist():
    for name in re.findall(r"\bintact((?:\.\w+)+)\(", README):
        found = intact
        for part in name.strip(".").split("."):
            found = getattr(found, part)
        assert callable(found)


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_make_targets_exist():
    made = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", README)) <= made

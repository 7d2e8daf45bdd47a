"""What an installer did not compile is compiled once, where that can be kept."""

import sys

import pytest

from intact.runtime.bytecode import compile_once


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "freshly_installed"
    folder.mkdir()
    (folder / "__init__.py").write_text("import freshly_installed.part\nopen(__file__ + '.ran', 'a').write('x')\n")
    (folder / "part.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return folder


def runs(package):
    noted = package / "__init__.py.ran"
    return len(noted.read_text()) if noted.exists() else 0


def test_it_is_compiled_once(package):
    compile_once(["freshly_installed"])
    assert len(list((package / "__pycache__").glob("*.pyc"))) == 2
    compile_once(["freshly_installed"])
    assert runs(package) == 1


def test_not_where_it_cannot_be_kept_or_is_not_there(package, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    compile_once(["freshly_installed", "no_such_package"])
    monkeypatch.undo()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    compile_once(["freshly_installed"])
    assert runs(package) == 0

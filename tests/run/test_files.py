"""Files appear whole or not at all."""

import hashlib
import os
import stat

import pytest

from intact import files
from intact.errors import OutputError


def held(folder):
    return sorted(p.name for p in folder.iterdir())


def test_bytes_and_text_arrive_and_leave_nothing_beside_them(tmp_path):
    files.write_bytes(tmp_path / "a.bin", b"\0\xff")
    files.write_text(tmp_path / "b.txt", "naïve\n")
    assert (tmp_path / "a.bin").read_bytes() == b"\0\xff"
    assert (tmp_path / "b.txt").read_bytes() == b"na\xc3\xafve\n"
    assert held(tmp_path) == ["a.bin", "b.txt"]


def test_missing_folders_are_made(tmp_path):
    files.write_bytes(tmp_path / "runs" / "1" / "a.bin", b"x")
    assert (tmp_path / "runs" / "1" / "a.bin").read_bytes() == b"x"


def test_a_file_is_replaced_as_a_whole_and_others_may_read_it(tmp_path):
    path = tmp_path / "a.bin"
    files.write_bytes(path, b"old and long")
    with path.open("rb") as reader:
        files.write_bytes(path, b"new")
        assert reader.read() == b"old and long"  # whoever reads meanwhile has one version, whole
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_midway_keeps_the_old_file_and_no_draft(tmp_path, monkeypatch, step):
    path = tmp_path / "a.bin"
    files.write_bytes(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (files.Path, "replace")}[step], full)
    with pytest.raises(OutputError, match=r"a\.bin cannot be written \(No space left on device\); type --out"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert held(tmp_path) == ["a.bin"]


def test_an_interruption_midway_leaves_no_draft(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        files.write_bytes(tmp_path / "a.bin", b"new")
    assert held(tmp_path) == []


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OutputError, match=r"run/a\.bin cannot be written \((Not a directory|File exists)\)"):
        files.write_bytes(tmp_path / "run" / "a.bin", b"x")
    assert (tmp_path / "run").read_text() == "mine"


def test_a_folder_in_the_way_of_the_file_is_named_and_stays(tmp_path):
    (tmp_path / "a.bin" / "sub").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"a\.bin cannot be written \(Is a directory\)"):
        files.write_bytes(tmp_path / "a.bin", b"x")
    assert held(tmp_path) == ["a.bin"]


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert files.sha256(tmp_path / "a").startswith("ba7816bf")  # FIPS 180-2, appendix B.1

"""Zip archives that are no honest ones: refused before they unpack to anything."""

import io
import resource
import struct
import warnings
import zipfile

import pytest

from intact.errors import ModelError
from intact.formats.load import load
from intact.runtime.scripts import zips


def archive(path, entries, method=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as out:
        warnings.simplefilter("ignore")  # of names that are there already
        for name, data in entries:
            out.writestr(name, data)
    return path


def patched(path, old, new):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def test_an_honest_archive_reads(tmp_path):
    path = archive(tmp_path / "a.zip", [("a/b", b"x" * 1000), ("c", b"")], zipfile.ZIP_DEFLATED)
    with zips.opened(path) as found:
        assert (found.namelist(), zips.read(found, "a/b")) == (["a/b", "c"], b"x" * 1000)


def test_pruned_weights_are_in_proportion(tmp_path):
    path = archive(tmp_path / "a.zip", [("w", b"\0" * (63 << 20))], zipfile.ZIP_DEFLATED)
    with zips.opened(path) as found:
        assert found.getinfo("w").compress_size < 1 << 20


def test_a_bomb_is_not_unpacked(tmp_path):
    path = archive(tmp_path / "bomb.zip", [(str(n), b"\0" * (1 << 20)) for n in range(200)], zipfile.ZIP_DEFLATED)
    with (
        pytest.raises(zips.UnsoundError, match=r"^it unpacks to 0\.2 GB, out of all proportion to its size$"),
        zips.opened(path),
    ):
        pass


def test_a_header_that_says_too_little_gives_no_more(tmp_path):
    """The size stands in the local header and in the directory; both lie here."""
    path = archive(tmp_path / "lie.zip", [("w", b"\0" * (200 << 20))], zipfile.ZIP_DEFLATED)
    patched(path, struct.pack("<I", 200 << 20), struct.pack("<I", 1000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(zips.UnsoundError, match="CRC"), zips.opened(path) as found:
        zips.read(found, "w")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "..\\x", "C:/x"])
def test_names_that_lead_out(tmp_path, name):
    path = archive(tmp_path / "a.zip", [(name, b"x")])
    with pytest.raises(zips.UnsoundError, match="which leads out of it"), zips.opened(path):
        pass


def test_a_name_twice(tmp_path):
    with (
        pytest.raises(zips.UnsoundError, match="one name twice"),
        zips.opened(archive(tmp_path / "a", [("x", b"1"), ("x", b"2")])),
    ):
        pass


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_methods_that_no_framework_uses(tmp_path, method):
    with (
        pytest.raises(zips.UnsoundError, match="no framework uses"),
        zips.opened(archive(tmp_path / "a", [("x", b"1")], method)),
    ):
        pass


def test_every_cut_and_every_flipped_byte_is_one_kind_of_error(tmp_path):
    path = archive(tmp_path / "a.zip", [("a/b", bytes(range(200))), ("c", b"y" * 50)], zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    mutants = [data[:n] for n in range(len(data))] + [
        data[:n] + bytes([data[n] ^ 0x55]) + data[n + 1 :] for n in range(len(data))
    ]
    for mutant in mutants:
        try:
            with zips.opened(io.BytesIO(mutant)) as found:
                for name in found.namelist():
                    zips.read(found, name)
        except zips.UnsoundError as error:
            assert "\n" not in str(error)  # noqa: PT017  # not every mutant is one


@pytest.mark.parametrize("suffix", ["keras", "pt2"])
def test_a_bomb_with_the_name_of_a_model(tmp_path, suffix):
    path = archive(tmp_path / f"bomb.{suffix}", [("config.json", b" " * (200 << 20))], zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelError, match=r"\(it unpacks to 0\.2 GB, out of all proportion to its size\)"):
        load(path)

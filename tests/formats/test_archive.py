"""The zip archive behind a .tflite, where metadata keeps its files, comes through whatever is done to the network."""

import io
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
from small_graphs import fully_connected

import intact
from intact import data
from intact.errors import IntactError
from intact.formats import tflite
from intact.formats.tflite import archive

#: As Intact writes what it read: with the batch open.
MODEL = tflite.write(tflite.read(tflite.write(fully_connected())))
FILES = {"labels.txt": b"cat\ndog\nbird\n", "more/vocabulary.txt": b"the\n" * 500}


def packed(model, *, relative=False, comment=b"", stored=True):
    """``model`` with FILES appended, as TensorFlow Lite's metadata writer does, or with offsets from the archive's start."""
    buffer = io.BytesIO(b"" if relative else model)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as file:
        file.comment = comment
        for name, text in FILES.items():
            file.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return (model if relative else b"") + buffer.getvalue()


VARIANTS = {"absolute": {}, "relative": {"relative": True}, "comment": {"comment": b"labels"}, "deflated": {"stored": False}}


def unpacked(raw):
    with zipfile.ZipFile(io.BytesIO(raw)) as file:
        assert file.testzip() is None
        assert file.start_dir > len(b"TFL3")
        return {name: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_files_come_through_reading_and_writing(variant):
    written = tflite.write(tflite.read(packed(MODEL, **VARIANTS[variant])))
    assert unpacked(written) == FILES
    assert written[: len(MODEL)] == MODEL
    assert tflite.write(tflite.read(written)) == written


def test_entries_keep_their_place_within_64_bytes():
    model = tflite.write(tflite.read(tflite.write(fully_connected(signature=True))))
    before, after = packed(model), tflite.write(tflite.read(packed(model)))
    places = []
    for raw in (before, after):
        with zipfile.ZipFile(io.BytesIO(raw)) as file:
            places.append([info.header_offset % 64 for info in file.infolist()])
    assert places[0] == places[1]


def test_a_quantized_file_holds_them_and_the_runtime_takes_it(tmp_path):
    (tmp_path / "model.tflite").write_bytes(packed(MODEL))
    x = np.random.default_rng(0).normal(0, 1, (40, 6)).astype(np.float32)
    path = intact.quantize(tmp_path / "model.tflite", data.arrays(x), measure=False).save(tmp_path / "int8.tflite")
    assert unpacked(path.read_bytes()) == FILES
    assert intact.runtime.litert.describe(path).outputs
    if shutil.which("unzip"):
        listed = subprocess.run(["unzip", "-l", path], capture_output=True, text=True, check=True)
        assert "labels.txt" in listed.stdout
        assert "warning" not in listed.stdout + listed.stderr


def test_a_file_without_an_archive_gets_none():
    assert archive.split(MODEL) == b""
    assert tflite.write(tflite.read(MODEL)) == MODEL


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_archive_is_dropped_or_sound(seed):
    raw = bytearray(packed(MODEL))
    draw = np.random.default_rng(seed)
    raw[draw.integers(len(MODEL), len(raw))] = draw.integers(256)
    if seed % 3 == 0:
        raw = raw[: draw.integers(len(MODEL), len(raw))]
    try:
        written = tflite.write(tflite.read(bytes(raw)))
    except IntactError:
        return
    assert written[: len(MODEL)] == MODEL

"""Memory does not grow with the number of samples: images, iterables, archives and outputs live on disk."""

import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from compare import assert_same
from images import pixels, write_image
from nets import mobile

from intact import spool
from intact.formats import tflite

SIDE, COUNT = 96, 1000
#: Bytes by which the peak may grow with COUNT samples, which are COUNT * SIDE * SIDE * 3 * 4 = 111 MB in float32.
GROWTH = 40 << 20

PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
import intact
from intact.measure.run_outputs import outputs_of

kind, count, side, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
graph = intact.load(folder / "net.tflite")
SHAPE = (side, side, 3)

def rows(n):
    return np.random.default_rng(n).normal(size=SHAPE).astype(np.float32)

sources = {
    "folder": lambda: intact.data.folder(folder / "photos"),
    "generator": lambda: intact.data.iterable(rows(n) for n in range(count)),
    "tar": lambda: intact.data.shards(folder / "photos.tar"),
    "npz": lambda: intact.data.npz(folder / "x.npz"),
    "packed": lambda: intact.data.npz(folder / "packed.npz"),
}
def run(n):
    samples = sources[kind]().bind(intact.data.input_specs(graph), None)
    samples = samples.take(np.arange(n))
    outputs = outputs_of(folder / "net.tflite", samples, "default", lambda done, total: None)
    assert next(iter(outputs.values())).shape[0] == n
    samples.fingerprint()

run(64)  # what is loaded and set up once
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run(count)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("memory")
    (path / "net.tflite").write_bytes(tflite.write(mobile(side=SIDE)))
    image = write_image(path / "photos" / "0.jpg", pixels(0, (SIDE + 8, SIDE))).read_bytes()
    for i in range(1, COUNT):
        (path / "photos" / f"{i}.jpg").write_bytes(image)
    with tarfile.open(path / "photos.tar", "w") as archive:
        archive.add(path / "photos", "photos")
    x = np.random.default_rng(0).normal(size=(COUNT, SIDE, SIDE, 3)).astype(np.float32)
    np.savez(path / "x.npz", x=x)
    x[1:] = 0  # what is packed is unpacked to disk, not to memory
    np.savez_compressed(path / "packed.npz", x=x)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="maximal resident sizes are in other units, and pages are not given back")
@pytest.mark.parametrize("kind", ["folder", "generator", "tar", "npz", "packed"])
def test_many_samples_take_no_more_memory_than_few(folder, kind):
    command = [sys.executable, "-c", PEAK, kind, str(COUNT), str(SIDE), str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < GROWTH


def test_records_are_kept_while_there_is_room():
    records = spool.Records(12, 30)
    made = [np.arange(i, i + 12, dtype=np.uint8).reshape(3, 4) for i in range(3)]
    for number, record in enumerate(made):
        records.put(number, record)
    assert [number in records for number in range(3)] == [True, True, False]
    into = np.empty((3, 4), np.uint8)
    records.get(1, into)
    assert_same(into, made[1])


def test_no_disk_is_no_cache(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    records = spool.Records(12, 30)
    records.put(0, np.zeros(12, np.uint8))
    assert 0 not in records


ARRAYS = {
    "large": np.arange(600_000, dtype=np.float32).reshape(200, 3000),
    "columns": np.asfortranarray(np.arange(600_000, dtype=np.int64).reshape(200, 3000)),
    "small": np.arange(3),
    "number": np.float32(2),
    "none": np.zeros((0, 5), np.float16),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_comes_back_as_numpy_reads_it(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    found = spool.npz(tmp_path / "a.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert_same(np.array(found[name]), np.array(array))
    assert list(spool.npz(tmp_path / "a.npz", names={"small"})) == ["small"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive_is_not_read(tmp_path, save):
    save(tmp_path / "a.npz", large=np.random.default_rng(0).normal(size=400_000))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises((zipfile.BadZipFile, ValueError, OSError, zlib.error)):
        spool.npz(tmp_path / "a.npz")


def test_pages_of_a_changed_mapping_are_kept(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(100_000))
    array = np.load(tmp_path / "a.npy", mmap_mode="c").view(np.ndarray)
    array[5] = 7
    spool.forget(array)
    assert array[5] == 7


def test_columns_join_rows():
    column = spool.Column((2,), np.dtype(np.int16))
    column.add(np.array([[1, 2], [3, 4]], np.int16))
    column.add(np.array([[5, 6]], np.int16))
    assert_same(np.array(column.joined()), np.array([[1, 2], [3, 4], [5, 6]], np.int16))
    assert_same(spool.Column((2,), np.dtype(np.int16)).joined(), np.empty((0, 2), np.int16))

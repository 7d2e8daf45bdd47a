"""Hostile folders and files: each costs one sentence, or is read; none of them hangs, fills memory or is run."""

import io
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from images import image_folder, pixels, write_image
from PIL import Image

from intact import data
from intact.data import decoding
from intact.data.spec import InputSpec
from intact.errors import DataError
from intact.wording import shown

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pipes, devices and limits of memory are Linux's here")
HOSTILE = Path(__file__).parents[1] / "hostile" / "data"
SECONDS, BYTES = 10, 1 << 30
PICTURES = (InputSpec("x", (None, 8, 8, 3)),)
TABLE = (InputSpec("x", (None, 3)),)


@contextmanager
def bounded():
    """Ten seconds of computing and a gigabyte more than there is."""

    def over(*_):
        raise TimeoutError(f"more than {SECONDS} s")

    used = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, over)
    hung = signal.signal(signal.SIGALRM, over)
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(20 * SECONDS)  # of waiting, on a machine that does other things too
    try:
        yield
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)
        signal.signal(signal.SIGALRM, hung)


def read(path, inputs):
    """All that a run does with samples."""
    samples = data.load(path).bind(inputs, 2)
    samples.fingerprint()
    for _ in samples.batches():
        pass
    return samples


# ---- what is made -------------------------------------------------------------------------------------------------------


def pipe(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)


def link(to):
    def make(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(to)

    return make


def itself(path):
    link(path.name)(path)


def listens(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)


def holds(content):
    def make(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content() if callable(content) else content)

    return make


def sparse(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(4 << 30)


def png(width, height, *chunks, depth=1, rows=True):
    """A gray PNG of zeros; ``chunks`` before its image."""
    line = bytes(1 + (width * depth + 7) // 8)
    body = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)), *chunks]
    body += [(b"IDAT", zlib.compress(line * height if rows else line, 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(held).to_bytes(4, "big") + kind + held + zlib.crc32(kind + held).to_bytes(4, "big") for kind, held in body
    )


def tiff(entries, after=b""):
    """A TIFF of one directory at offset 8; what follows it begins at 14 + 12 * len(entries)."""
    held = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + held + bytes(4) + after


def gray_tiff(*more, compression=8):
    about = {256: 16, 257: 16, 258: 8, 259: compression, 262: 1, 277: 1}
    return [(tag, 4, 1, value) for tag, value in about.items()] + list(more)


def tile_of_gigabytes():
    entries = gray_tiff((322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 134), (325, 4, 1, 20))
    return tiff(entries, zlib.compress(bytes(1000)))


def strips_without_end():
    count = 3_000_000
    entries = gray_tiff((273, 4, count, 14 + 12 * 8), (279, 4, count, 14 + 12 * 8), compression=1)
    return tiff(entries, bytes(4 * count))


def copies_of_itself():
    entries = gray_tiff((273, 4, 1, 8), (279, 4, 1, 256), compression=1)
    entries += [(10_000 + n, 7, 200_000, 60_000) for n in range(4_000)]
    return tiff(entries, bytes(300_000))


def jpeg(*segments, side=16, scans=0):
    made = io.BytesIO()
    Image.new("RGB", (side, side), (9, 99, 199)).save(made, "JPEG", progressive=bool(scans))
    whole = made.getvalue()
    start, end = whole[:2] + b"".join(segments) + whole[2:-2], whole[-2:]
    return start + whole[whole.rindex(b"\xff\xda") : -2] * scans + end


def exif(size):
    return b"\xff\xe1" + (size + 8).to_bytes(2, "big") + b"Exif\0\0" + bytes(size)


def saved(kind, **options):
    def make():
        made = io.BytesIO()
        Image.fromarray(pixels(1)).convert(options.pop("mode", "RGB")).save(made, kind, **options)
        return made.getvalue()

    return make


def frames():
    made = io.BytesIO()
    first, *rest = [Image.fromarray(pixels(n)).convert("P") for n in range(300)]
    first.save(made, "GIF", save_all=True, append_images=rest)
    return made.getvalue()


def packed(**members):
    """An .npz of these members, compressed: ``name=(header, bytes)``."""

    def make():
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name, (header, body) in members.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    member.write(header)
                    for _ in range(body // (1 << 20)):
                        member.write(bytes(1 << 20))
                    member.write(bytes(body % (1 << 20)))
        return made.getvalue()

    return make


def bomb():
    """Twelve bytes that the archive's directory says are two gigabytes."""
    content = bytearray(packed(x=(npy("<f4", (178_956_970, 3)), 12))())
    struct.pack_into("<I", content, content.index(b"PK\1\2") + 24, (1 << 31) - 8)
    return bytes(content)


def npy(descr, shape, fortran=False):
    header = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header


def two_of_one_name():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("x.npy", npy("<f4", (1, 3)) + bytes(12))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", npy("<f4", (1, 3)) + bytes(12))
    return made.getvalue()


TRAIN = "train: images\n"
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))

#: Below a folder of two classes with four images each: what is put there as ``cat/x.png``, and what is said of it.
IMAGES = {
    "a pipe": (pipe, r"cat: x\.png: is a named pipe, not a file; give a file in its place, or delete it$"),
    "a socket": (listens, r"x\.png: is a socket, not a file"),
    "zeros without end": (link("/dev/zero"), r"x\.png: is a device, not a file"),
    "a full disk": (link("/dev/full"), r"x\.png: is a device"),
    "nothing": (link("/dev/null"), r"x\.png: is a device"),
    "a link to itself": (itself, r"x\.png: is a link that leads back to itself; delete it"),
    "a link to nothing": (link("gone.png"), r"x\.png: no such file"),
    "a link to another": (link("0.png"), 9),
    "an empty file": (holds(b""), r"x\.png: does not decode as an image \(it is empty\); replace or delete the file"),
    "PostScript": (holds(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"), "not an image"),
    "EPS with a preview": (holds(b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, 20, 0, 0, 0, 0, 0) + b"%!PS"), "not an image"),
    "a PDF": (holds(b"%PDF-1.4\n"), "not an image"),
    "a metafile": (holds(b"\xd7\xcd\xc6\x9a" + bytes(60)), "not an image"),
    "a table of HDF5": (holds(b"\x89HDF\r\n\x1a\n" + bytes(60)), "not an image"),
    "a Photoshop file": (holds(b"8BPS\0\1" + bytes(60)), "not an image"),
    "an icon": (holds(saved("ICO")), "not an image"),
    "an SGI image": (holds(saved("SGI")), "not an image"),
    "13,000 by 13,000": (
        holds(lambda: png(13_000, 13_000)),
        r"x\.png: holds more than 64,000,000 pixels; make it smaller$",  # with warnings as they are, its size too
    ),
    "9,000 by 9,000": (
        holds(lambda: png(9_000, 9_000)),
        r"x\.png: is 9,000 x 9,000 pixels, and at most 64,000,000 are decoded of such a file; make it smaller$",
    ),
    "65,535 by 65,535": (holds(lambda: png(65_535, 65_535, rows=False)), "holds more than 64,000,000 pixels; make it smaller"),
    "8,000 by 8,000": (holds(lambda: png(8_000, 8_000)), 9),
    "16 bits": (holds(lambda: png(3_000, 3_000, depth=16)), 9),
    "a screen of 65,535": (holds(b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"), "holds more than 64,000,000"),
    "300 frames": (holds(frames), 9),
    "a tile of gigabytes": (holds(tile_of_gigabytes), "is a TIFF in more or larger pieces than an image has"),
    "three million strips": (holds(strips_without_end), "is a TIFF in more or larger pieces than an image has"),
    "copies of itself": (holds(copies_of_itself), "refers to the same bytes over and over|Tag data larger than file"),
    "a JPEG of 700 scans": (
        holds(lambda: jpeg(side=2000, scans=700)),
        r"is a JPEG in 7\d\d scans, which take minutes to decode",
    ),
    "EXIF of ten segments": (holds(lambda: jpeg(*[exif(60_000)] * 10)), r"holds 600,080 bytes of EXIF"),
    "EXIF of a PNG": (holds(lambda: png(8, 8, (b"eXIf", b"II*\0" + bytes(999_996)))), r"holds 1,000,\d+ bytes of EXIF"),
    "text of a PNG": (holds(lambda: png(8, 8, (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26))))), "does not decode"),
    "a profile of a PNG": (holds(lambda: png(8, 8, (b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 26))))), "does not decode|9"),
    "50,000 chunks": (holds(lambda: png(8, 8, *[(b"tEXt", b"a\0b")] * 50_000)), 9),
    "a slow decoder": (holds(lambda: b"P3 2000 2000 255\n" + b"1 " * 12_000_000), "takes more than 0.5 seconds to decode"),
    "a plain PPM": (holds(lambda: b"P3 8 8 255\n" + b"1 " * 192), 9),
    "a box of gigabytes": (
        holds((HOSTILE / "box_of_four_gigabytes.jp2").read_bytes()),
        r"x\.png: does not decode as an image \(Expected to read",
    ),
    "cut short": (holds(lambda: saved("JPEG")()[:-20]), r"x\.png: does not decode as an image \(image file is truncated"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_an_image_costs_a_sentence_or_is_read(tmp_path, monkeypatch, case):
    make, verdict = IMAGES[case]
    folder = image_folder(tmp_path / "photos")
    make(folder / "cat" / "x.png")

    def no_program(*args, **_):
        raise AssertionError(f"starts {args}")

    monkeypatch.setattr(subprocess, "Popen", no_program)
    if case == "a slow decoder":
        monkeypatch.setattr("intact.data.decoding._MOST_SECONDS", 0.5)
    check(folder, PICTURES, verdict)


def check(path, inputs, verdict):
    if isinstance(verdict, int):
        with bounded():
            assert len(read(path, inputs)) == verdict
        return
    with pytest.raises(DataError, match=verdict) as caught, bounded():
        read(path, inputs)
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) <= 2000
    assert any(part in said for part in (shown(Path(path).name[:8]), "/dev/zero", "y.npy", "a\\x00b.png"))


def a_file_and(name, make):
    def both(root):
        image_folder(root, ("images",), 3)
        make(root / name)
        return root

    return both


def classes_and(name, make):
    def both(root):
        image_folder(root)
        make(root / name)
        return root

    return both


def described(text, **beside):
    """A data.yaml beside a folder of three images."""

    def make(root):
        image_folder(root, ("images",), 3)
        for name, put in beside.items():
            put(root / name.replace("_", "."))
        (root / "data.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return root / "data.yaml"

    return make


def alone(name, make):
    def one(root):
        make(root / name)
        return root / name

    return one


def deep(root):
    place = write_image(root / "images" / "0.png", pixels(0)).parent
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(place)
        for _ in range(600):
            Path("d").mkdir()
            os.chdir("d")
        write_image(Path("1.png"), pixels(1))
    finally:
        os.fchdir(here)
        os.close(here)
    return root


def linked_class(root):
    image_folder(root / "elsewhere", ("dog",))
    image_folder(root / "photos", ("cat",))
    (root / "photos" / "dog").symlink_to(root / "elsewhere" / "dog")
    return root / "photos"


def labels_of_a_pipe(root):
    np.save(root / "x.npy", np.zeros((4, 3), np.float32))
    pipe(root / "y.npy")
    return root / "x.npy"


def masks_of_a_pipe(root):
    image_folder(root, ("images",), 1)
    pipe(root / "masks" / "0.png")
    return root


def large_names(root):
    for n in range(3):
        write_image(root / "photos" / f"{n}{'é' * 125}.png", pixels(n))
    return root / "photos"


ROWS = b"1,2,3\n4,5,6\n7,8,9\n"
#: What is made in an empty folder, what samples it is bound to, and what is said or how many samples there are.
DATA = {
    "a folder in itself": (a_file_and("images/again", link("..")), PICTURES, r"again/images: is the same folder as .*images"),
    "one folder twice": (a_file_and("images/b", link(".")), PICTURES, r"images/b: is the same folder as .*images; delete the"),
    "a folder that links to itself": (classes_and("loop", itself), PICTURES, "loop: is a link that leads back to itself"),
    "devices as a class": (classes_and("dev", link("/dev")), PICTURES, r"dev: holds no|dev holds folders|dev: .* is a device"),
    "a linked class": (linked_class, PICTURES, 8),
    "600 folders deep": (deep, PICTURES, 2),
    "names of 255 bytes": (large_names, PICTURES, 3),
    "classes from a pipe": (classes_and("classes.txt", pipe), PICTURES, r"classes\.txt: is a named pipe"),
    "classes without end": (classes_and("labels.txt", link("/dev/zero")), PICTURES, r"labels\.txt: is a device"),
    "classes of gigabytes": (classes_and("classes.txt", sparse), PICTURES, r"classes\.txt: is 4,294,967,296 bytes"),
    "classes from nowhere": (classes_and("classes.txt", link("gone")), PICTURES, r"classes\.txt: no such file"),
    "classes in UTF-16": (classes_and("classes.txt", holds("cat\ndog".encode("utf-16"))), PICTURES, "save it as UTF-8"),
    "200,000 classes": (
        classes_and("classes.txt", holds(b"\n".join(b"%d" % n for n in range(200_000)))),
        PICTURES,
        r"classes\.txt does not list the class folder 'cat'",
    ),
    "a mask that is a pipe": (masks_of_a_pipe, PICTURES, r"masks: 0\.png: is a named pipe"),
    "another file that is a pipe": (classes_and("cat/notes", pipe), PICTURES, 8),
    "YAML from a pipe": (alone("data.yaml", pipe), PICTURES, r"data\.yaml: is a named pipe"),
    "YAML without end": (alone("data.yaml", link("/dev/zero")), PICTURES, r"data\.yaml: is a device"),
    "YAML of gigabytes": (alone("data.yaml", sparse), PICTURES, r"data\.yaml: is 4,294,967,296 bytes, and such a file has at"),
    "a billion laughs": (described(LAUGHS + TRAIN), PICTURES, 3),
    "laughs as folders": (described(LAUGHS + "train: *a39\n"), PICTURES, "holds something else than names of folders"),
    "merged and merged again": (described(MERGES + TRAIN), PICTURES, 3),
    "a number in base 60": (described(TRAIN + "a: " + "1:" * 100_000 + "1\n"), PICTURES, 3),
    "brackets in brackets": (described("a: " + "[" * 100_000), PICTURES, r"data\.yaml: cannot be read as YAML"),
    "an entry that is a device": (described("train: /dev/zero\n"), PICTURES, "give a folder of images, or a .txt that lists"),
    "a folder of devices": (described("path: /\ntrain: dev\n"), PICTURES, "the images of 'train' are missing|is a device"),
    "an entry of 5,000 letters": (described(f"train: {'a' * 5000}\n"), PICTURES, "the images of 'train' are missing"),
    "an entry with a zero": (described('train: "a\\0b"\n'), PICTURES, "the images of 'train' are missing"),
    "a list from a pipe": (described("train: list.txt\n", list_txt=pipe), PICTURES, r"list\.txt: is a named pipe"),
    "a list without end": (described("train: list.txt\n", list_txt=link("/dev/zero")), PICTURES, r"list\.txt: is a device"),
    "a list of a device": (described("train: list.txt\n", list_txt=holds(b"/dev/zero\n")), PICTURES, "/dev/zero: is a device"),
    "a list with a zero": (described("train: list.txt\n", list_txt=holds(b"a\0b.png\n")), PICTURES, r"a\\x00b\.png: "),
    "a list of zeros": (described("train: list.txt\n", list_txt=holds(b"a\0b.png\n" * 40)), PICTURES, r"a\\x00b\.png: "),
    "one folder 10,000 times": (described("train:\n" + "- images\n" * 10_000), PICTURES, 3),
    "a table from a pipe": (alone("a.csv", pipe), TABLE, r"a\.csv: is a named pipe"),
    "a table without end": (alone("a.csv", link("/dev/zero")), TABLE, r"a\.csv: is a device"),
    "a line of gigabytes": (alone("a.csv", sparse), TABLE, r"a\.csv: line 1 has more than 4,194,304 characters"),
    "a quote never closed": (alone("a.csv", holds(ROWS + b'"' + b"1,2,3\n" * 100_000)), TABLE, "with every quote closed"),
    "zeros in cells": (alone("a.csv", holds(ROWS + b"1,\0,3\n")), TABLE, r"column 'column 2' holds '\\x00' in line 4"),
    "labels alone": (alone("a.csv", holds(b"label\n1\n0\n")), TABLE, r"a\.csv: has no column besides the labels; give one"),
    "200,000 columns": (alone("a.csv", holds(b"1," * 200_000 + b"1\n")), TABLE, r"has 200,001 columns, and at most 131,072"),
    "4,000 columns of texts": (
        alone("a.csv", holds((b"a," * 3_999 + b"1\n") * 100)),
        TABLE,
        r"column 'column 1' holds 'a' in line 1|do not fit",
    ),
    "a table in UTF-16": (alone("a.csv", holds("1,2,3\n".encode("utf-16"))), TABLE, "is not a table as UTF-8 text"),
    "an archive from a pipe": (alone("a.npz", pipe), TABLE, r"a\.npz: is a named pipe"),
    "an archive without end": (alone("a.npz", link("/dev/zero")), TABLE, r"a\.npz: is a device"),
    "two gigabytes in a few bytes": (alone("a.npz", holds(bomb)), TABLE, r"bytes that unpack to 2,147,483,\d+; save it with"),
    "two arrays of one name": (alone("a.npz", holds(two_of_one_name)), TABLE, "holds two arrays of one name"),
    "10¹² numbers in an archive": (
        alone("a.npz", holds(packed(x=(npy("<f8", (10**12,)), 800)))),
        TABLE,
        "does not hold as many numbers as it says",
    ),
    "a negative shape": (alone("a.npz", holds(packed(x=(npy("<f4", (-2, -6)), 48)))), TABLE, "cannot be read as numpy arrays"),
    "a record": (alone("a.npz", holds(packed(x=(npy([("a", "<f4")], (3,)), 12)))), TABLE, "is not an array of numbers"),
    "an array from a pipe": (alone("a.npy", pipe), TABLE, r"a\.npy: is a named pipe"),
    "10¹² numbers": (alone("a.npy", holds(npy("<f8", (10**12,)) + bytes(800))), TABLE, "cannot be read as numpy arrays"),
    "a header of two gigabytes": (
        alone("a.npy", holds(b"\x93NUMPY\2\0" + struct.pack("<I", 2_063_627_776) + b"{" * 99)),
        TABLE,
        r"cannot be read as numpy arrays \(its header has 2,063,627,776 bytes\); save it again",
    ),
    "texts of no letters": (alone("a.npy", holds(npy("|S0", (-1,)) + bytes(48))), TABLE, r"is no array of numbers\); save it"),
    "numbers in Fortran's order": (alone("a.npy", holds(npy("<f4", (4, 3), True) + bytes(48))), TABLE, 4),
    "labels from a pipe": (labels_of_a_pipe, TABLE, r"y\.npy: is a named pipe"),
    "a link to itself": (alone("a.csv", itself), TABLE, r"a\.csv: is a link that leads back to itself"),
    "a name of 5,000 letters": (lambda root: root / ("a" * 5_000), TABLE, r"cannot be read \(File name too long\)"),
    "a name with a zero": (lambda root: root / "a\0b.csv", TABLE, r"a\\x00b\.csv: cannot be read \(embedded null byte\)"),
    "a device": (lambda _: Path("/dev/zero"), TABLE, "/dev/zero: not data that can be read"),
}


@pytest.mark.parametrize("case", DATA)
def test_data_cost_a_sentence_or_are_read(tmp_path, case):
    make, inputs, verdict = DATA[case]
    check(make(tmp_path), inputs, verdict)


NAMES = {
    "\x1b[2J\x1b[31mred": r"\x1b[2J\x1b[31mred",
    "one\ntwo\r": r"one\ntwo\r",
    "a\u202egnp": r"a\u202egnp",
    "caf\udce9": r"caf\udce9",  # no UTF-8
    "[red]<script>|`": "[red]<script>|`",
    "-rf": "-rf",
    "é漢字🎉": "é漢字🎉",
}


@pytest.mark.parametrize("name", NAMES)
def test_files_and_classes_are_called_what_they_like(tmp_path, name):
    folder = image_folder(tmp_path / name, (name, "z"))
    with bounded():
        samples = read(folder, PICTURES)
    assert sorted(samples.class_names) == sorted((name, "z"))
    assert len(repr(samples)) < 3000
    (folder / name / f"{name}.png").write_bytes(b"none")
    said = f"{NAMES[name]}.png: does not decode as an image"
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        read(folder, PICTURES)
    assert str(caught.value).isprintable()
    assert str(caught.value).count(NAMES[name]) == 3


def test_what_was_a_file_when_it_was_listed_may_be_a_pipe_now(tmp_path):
    folder = image_folder(tmp_path)
    samples = data.folder(folder).bind(PICTURES, 2)
    (folder / "dog" / "2.png").unlink()
    pipe(folder / "dog" / "2.png")
    with pytest.raises(DataError, match=r"dog.2\.png: is a named pipe"), bounded():
        samples.batch(range(8))


def test_what_is_a_file_until_it_is_opened_is_looked_at_again(tmp_path, monkeypatch):
    folder = image_folder(tmp_path)
    pipe(tmp_path / "pipe")
    samples = data.folder(folder).bind(PICTURES, 2)

    def changed_after(path, _):
        path.unlink()
        (tmp_path / "pipe").rename(path)

    monkeypatch.setattr("intact.reading.check", changed_after)
    with pytest.raises(DataError, match=r"cat.0\.png: is a named pipe"), bounded():
        samples.batch([0])


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_may_not_be_read_is_named(tmp_path, monkeypatch, what):
    """Root may read everything, so the system's own answer is put in its place."""
    folder = image_folder(tmp_path)
    refused = str(folder / "cat" / "1.png" if what == "file" else folder / "dog")

    def barred(call):
        def called(path, *args, **kwargs):
            if str(path) == refused:
                raise PermissionError(13, "Permission denied", refused)
            return call(path, *args, **kwargs)

        return called

    monkeypatch.setattr(os, "open", barred(os.open))
    monkeypatch.setattr(os, "scandir", barred(os.scandir))
    named = "cat.1\\.png" if what == "file" else "dog"
    with pytest.raises(DataError, match=rf"{named}: cannot be read \(Permission denied\); type chmod"):
        read(folder, PICTURES)


def test_large_images_wait_for_each_other():
    """Eight threads, of images of a third each: never four at a time, and all of them in the end."""
    room, now, most, third = decoding._Room(), [], [], decoding._MOST_PIXELS // 3

    def decode(n):
        with room.held(third):
            now.append(n)
            most.append(len(now))
            time.sleep(0.01)
            now.remove(n)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, range(24)))
    assert max(most) in (2, 3)
    with room.held(100 * third):  # what is larger than all the room has it alone
        pass


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda: png(9_000, 9_000), "image 1 of the images: is 9,000 x 9,000 pixels, and at most 64,000,000 are decoded"),
        (lambda: saved("PNG")()[:-60], r"image 1 of the images: does not decode as an image \((image file is )?truncated"),
    ],
    ids=["large", "cut short"],
)
def test_images_that_were_opened_elsewhere_have_the_same_bounds(content, says):
    images = [Image.open(io.BytesIO(held)) for held in (saved("PNG")(), content())]
    samples = data.samples_from(images).bind(PICTURES, None)
    for read_one in (lambda: samples.batch([0, 1]), samples.fingerprint):
        with pytest.raises(DataError, match=says), bounded():
            read_one()


NO_PLACES = {"a" * 5_000: "File name too long", "a\0b": "embedded null byte"}
CALLS = {
    "folder": data.folder,
    "npz": data.npz,
    "npy": data.npy,
    "csv": data.csv,
    "yolo": data.yolo,
    "load": data.load,
    "files": lambda path: data.samples_from([path]),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", NO_PLACES, ids=["long", "zero"])
def test_a_name_that_no_file_can_have_is_refused_by_every_function(tmp_path, call, name):
    with pytest.raises(DataError, match=rf"cannot be read \({NO_PLACES[name]}\)") as caught:
        CALLS[call](tmp_path / name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("call", CALLS)
def test_a_pipe_is_refused_by_every_function(tmp_path, call):
    pipe(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match=r"pipe\.csv: (is a named pipe|cannot be read \(Not a directory\))"), bounded():
        CALLS[call](tmp_path / "pipe.csv")

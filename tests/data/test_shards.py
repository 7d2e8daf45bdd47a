"""Data sets in shards give what the same images in class folders give, and cost a sentence where they are broken."""

from __future__ import annotations

import functools
import gc
import gzip
import io
import json
import os
import sys
import tarfile

import numpy as np
import pytest
from compare import assert_same
from images import pixels
from nets import mobile
from PIL import Image

import intact
from intact.data import InputSpec, load, samples_from, shards
from intact.errors import DataError, MissingExtraError, OptionError
from intact.formats import tflite

NAMES = ("ant", "bee", "cow", "dog")
COUNT = 24
SPECS = (InputSpec("image", (1, 8, 8, 3)),)


def encoded(seed):
    file = io.BytesIO()
    Image.fromarray(pixels(seed)).save(file, "PNG")
    return file.getvalue()


BLOBS = tuple(encoded(seed) for seed in range(COUNT))
LABELS = tuple(i * len(NAMES) // COUNT for i in range(COUNT))
TEXTS = tuple(NAMES[label] for label in LABELS)


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return path


def sample(i, label=None, suffix="cls"):
    content = [(f"{i:05}.png", BLOBS[i])]
    return content if label is None else [*content, (f"{i:05}.{suffix}", label)]


def tars(root, label=lambda i: TEXTS[i].encode(), suffix="cls"):
    for number in range(4):
        each = [sample(i, label(i), suffix) for i in range(number * 6, number * 6 + 6)]
        write_tar(root / f"part-{number:03}.tar", [member for members in each for member in members])
    return root


def parquet(root, image="image", **columns):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files  # noqa: PLC0415

    root.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate((slice(0, 10), slice(10, COUNT))):
        held = {image: BLOBS[rows], "label": TEXTS[rows]} | {name: values[rows] for name, values in columns.items()}
        files.write_table(pa.table(held), root / f"{number}.parquet", row_group_size=7)
    return root


def dataset():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"photo": datasets.Image(), "label": datasets.ClassLabel(names=list(NAMES))})
    images = [{"bytes": blob, "path": None} for blob in BLOBS]
    return datasets.Dataset.from_dict({"photo": images, "label": list(LABELS)}, features=features)


def saved(root):
    dataset().save_to_disk(str(root))
    return root


def saved_parquet(root):
    root.mkdir()
    dataset().to_parquet(str(root / "train-00000-of-00001.parquet"))
    return root


def record(features):
    """A tf.train.Example by the wire format of protocol buffers: no TensorFlow is loaded here."""

    def field(number, content):
        return bytes([number << 3 | 2]) + varint(len(content)) + content

    def varint(value):
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    def feature(value):
        return field(1, field(1, value)) if isinstance(value, bytes) else field(3, field(1, varint(value)))

    entries = [field(1, field(1, name.encode()) + field(2, feature(value))) for name, value in features.items()]
    return field(1, b"".join(entries))


@functools.cache
def crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # noqa: PLW2901  # CRC-32C
        table.append(value)
    return table


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ crc_table()[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "little")


def write_records(path, features):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for each in features:
            content = record(each)
            length = len(content).to_bytes(8, "little")
            file.write(length + masked_crc(length) + content + masked_crc(content))
    return path


def tfrecord(root):
    pytest.importorskip("tensorflow")
    each = [{"image/encoded": blob, "image/class/text": text.encode()} for blob, text in zip(BLOBS, TEXTS, strict=True)]
    write_records(root / "val.tfrecord-00000-of-00002", each[:10])
    write_records(root / "val.tfrecord-00001-of-00002", each[10:])
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("folder")
    for i, blob in enumerate(BLOBS):
        path = root / TEXTS[i] / f"{i:05}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(blob)
    return root


FORMS = {"tar": tars, "parquet": parquet, "saved": saved, "saved-parquet": saved_parquet, "tfrecord": tfrecord}


# ---- the same as class folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_shards_are_what_the_same_class_folders_are(tmp_path, folder, form):
    expected = load(folder).bind(SPECS, 4)
    found = load(FORMS[form](tmp_path / "set")).bind(SPECS, 4)
    assert found.fingerprint() == expected.fingerprint()  # images, order, labels, names of classes, preprocessing
    order = np.random.default_rng(0).permutation(COUNT)
    for part in (order[:5], order, range(COUNT)):
        (x, y), (x_expected, y_expected) = found.batch(part), expected.batch(part)
        assert_same(x["image"], x_expected["image"])
        assert_same(y, y_expected)


@pytest.mark.parametrize("form", ["tar", "parquet"])
def test_a_run_on_shards_gives_the_same_figures(tmp_path, folder, form):
    (tmp_path / "net.tflite").write_bytes(tflite.write(mobile()))
    made = FORMS[form](tmp_path / "set")
    expected, found = (intact.quantize(tmp_path / "net.tflite", place, measure=False) for place in (folder, made))
    assert found.model == expected.model
    int8 = tmp_path / "int8.tflite"
    int8.write_bytes(found.model)
    told = [
        [reading.to_json() for reading in intact.evaluate(int8, place, against=tmp_path / "net.tflite").readings]
        for place in (folder, made)
    ]
    assert told[1] == told[0]


def test_draws_are_seeded_and_from_all_shards(tmp_path):
    samples = load(tars(tmp_path)).bind(SPECS, 4)
    drawn = [samples.drawn(8, seed) for seed in (0, 0, 1)]
    assert drawn[0].index.tolist() == drawn[1].index.tolist() != drawn[2].index.tolist()
    met = {int(i) // 6 for seed in range(5) for i in samples.drawn(8, seed).index}
    assert met == {0, 1, 2, 3}


def test_only_the_rows_that_are_wanted_are_copied(tmp_path):
    samples = load(parquet(tmp_path)).bind(SPECS, 4)
    stored = samples.source._stored
    next(iter(samples.take([3, 20, 11]).batches()))
    assert np.flatnonzero(stored._copy >= 0).tolist() == [3, 11, 20]
    assert len(stored._copies) == 1


# ---- how shards are told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["part-{000..003}.tar", "part-*.tar", "part-00{0,1,2,3}.tar", "{part,other}-00[0-3].tar"])
def test_patterns_stand_for_files_in_order(tmp_path, pattern):
    tars(tmp_path)
    assert len(load(tmp_path / pattern).bind(SPECS, 4)) == COUNT


def test_parts_of_a_data_set_are_told_apart(tmp_path):
    for name, rows in (("train", range(6)), ("validation", range(6, 10))):
        write_tar(tmp_path / f"{name}-000.tar", [m for i in rows for m in sample(i, b"1")])
    for use, count, said in (("data", 6, "took train; left validation"), ("eval", 4, "took validation; left train")):
        samples = load(tmp_path, use=use).bind(SPECS, 4)
        assert len(samples) == count
        assert any(said in finding.message for finding in samples.findings)


def test_a_saved_data_set_of_several_splits(tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = dataset()
    both = {"train": whole.select(range(6)), "test": whole.select(range(6, COUNT))}
    datasets.DatasetDict(both).save_to_disk(str(tmp_path / "set"))
    assert len(load(tmp_path / "set").bind(SPECS, 4)) == 6
    assert len(load(tmp_path / "set", use="eval").bind(SPECS, 4)) == COUNT - 6


def test_a_list_of_classes_beside_shards_says_their_order(tmp_path):
    tars(tmp_path)
    (tmp_path / "classes.txt").write_text("dog\ncow\nbee\nant\nelk\n")
    samples = load(tmp_path).bind(SPECS, 5)
    assert samples.labels.tolist() == [3 - label for label in LABELS]
    assert samples.class_names == ("dog", "cow", "bee", "ant", "elk")


def test_fewer_texts_than_classes_are_no_labels(tmp_path):
    samples = load(tars(tmp_path)).bind(SPECS, 7)
    assert samples.labels is None
    assert any("list the model's 7 classes in" in finding.message for finding in samples.findings)


@pytest.mark.parametrize(
    ("label", "suffix", "said"),
    [
        (lambda i: str(LABELS[i]).encode(), "cls", None),
        (lambda i: json.dumps({"label": LABELS[i], "id": i}).encode(), "json", None),
        (lambda i: json.dumps({"kind": LABELS[i]}).encode(), "json", "kind"),
        (lambda i: str(LABELS[i]).encode(), "kind", "kind"),
    ],
)
def test_labels_of_a_tar(tmp_path, label, suffix, said):
    samples = load(tars(tmp_path, label, suffix), label=said).bind(SPECS, 4)
    assert samples.labels.tolist() == list(LABELS)


def test_no_labels_where_none_are_wanted(tmp_path):
    assert load(tars(tmp_path), label="").bind(SPECS, 4).targets is None


def test_columns_by_name(tmp_path):
    made = parquet(tmp_path, left=BLOBS, right=BLOBS[::-1], image="thumb", kind=LABELS)
    with pytest.raises(DataError, match=r"several columns of images \(thumb, left, right\); type --image with one of them"):
        load(made)
    samples = load(made, image="right", label="kind").bind(SPECS, 4)
    assert samples.labels.tolist() == list(LABELS)
    assert_same(samples.batch([0])[0]["image"], load(made, image="left").bind(SPECS, 4).batch([COUNT - 1])[0]["image"])


def test_columns_of_numbers_are_a_table(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files  # noqa: PLC0415

    x = np.random.default_rng(0).normal(size=(9, 3))
    columns = {"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "species": ["u", "v", "u"] * 3}
    files.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=4)
    specs = (InputSpec("x", (1, 3)),)
    samples = load(tmp_path / "t.parquet", label="species").bind(specs, 2)
    assert_same(samples.batch(range(9))[0]["x"], x.astype(np.float32))
    assert samples.labels.tolist() == [0, 1, 0] * 3
    files.write_table(pa.table({"x": x.tolist(), "y": [0, 1, 2] * 3}), tmp_path / "l.parquet")
    samples = load(tmp_path / "l.parquet").bind(specs, 3)
    assert_same(samples.batch(range(9))[0]["x"], x.astype(np.float32))
    assert samples.labels.tolist() == [0, 1, 2] * 3


def test_images_that_a_data_set_names_by_path(tmp_path):
    datasets = pytest.importorskip("datasets")
    (tmp_path / "1.png").write_bytes(BLOBS[1])
    features = datasets.Features({"image": datasets.Image()})
    rows = [{"bytes": BLOBS[0], "path": None}, {"bytes": None, "path": str(tmp_path / "1.png")}]
    datasets.Dataset.from_dict({"image": rows}, features=features).save_to_disk(str(tmp_path / "set"))
    x, _ = load(tmp_path / "set").bind(SPECS, None).batch([0, 1])
    assert_same((x["image"] * 255).round().astype(np.uint8), np.stack([pixels(0), pixels(1)]))


# ---- in Python ------------------------------------------------------------------------------------------------------


def streams():
    datasets = pytest.importorskip("datasets")
    return {
        "dataset": dataset(),
        "stream": dataset().to_iterable_dataset(),
        "untyped": datasets.IterableDataset.from_generator(
            lambda: ({"photo": Image.open(io.BytesIO(blob)), "label": label} for blob, label in zip(BLOBS, LABELS, strict=True))
        ),
    }


@pytest.mark.parametrize("kind", ["dataset", "stream", "untyped"])
def test_data_sets_of_hugging_face(folder, kind):
    expected = load(folder).bind(SPECS, 4)
    found = samples_from(streams()[kind]).bind(SPECS, 4)
    assert_same(found.batch(range(COUNT))[0]["image"], expected.batch(range(COUNT))[0]["image"])
    assert found.labels.tolist() == list(LABELS)
    if kind != "untyped":  # whose images are decoded already
        assert found.fingerprint() == expected.fingerprint()


def test_pairs_of_images_come_one_after_the_other(folder):
    pairs = ((Image.open(io.BytesIO(blob)), text) for blob, text in zip(BLOBS, TEXTS, strict=True))
    found = samples_from(pairs).bind(SPECS, 4)
    assert_same(found.batch(range(COUNT))[0]["image"], load(folder).bind(SPECS, 4).batch(range(COUNT))[0]["image"])
    assert found.class_names == NAMES


def test_a_stream_without_end_is_limited():
    stream = dataset().to_iterable_dataset().repeat(None)
    assert len(intact.data.huggingface(stream, limit=30).bind(SPECS, 4)) == 30


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_same_samples(tmp_path):
    wds = pytest.importorskip("webdataset")
    place = str(tars(tmp_path) / "part-{000..003}.tar")
    theirs = list(wds.WebDataset(place, shardshuffle=False))
    ours = load(tmp_path).bind(SPECS, 4)
    assert [ours.name(i).split(": ")[1] for i in range(COUNT)] == [f"{each['__key__']}.png" for each in theirs]
    assert [NAMES[label].encode() for label in ours.labels] == [each["cls"] for each in theirs]
    streamed = samples_from(wds.WebDataset(place, shardshuffle=False)).bind(SPECS, 4)
    assert streamed.fingerprint() == ours.fingerprint()
    gc.collect()  # it leaves files open, which is told when they go


# ---- bad input ------------------------------------------------------------------------------------------------------


def cut(path, at):
    content = path.read_bytes()
    path.write_bytes(content[:at])
    return path


def joined(root):
    tars(root)
    first, second = root / "part-000.tar", root / "part-001.tar"
    first.write_bytes(first.read_bytes() + second.read_bytes())
    return first


def gzipped(root):
    path = root / "a.tar"
    path.write_bytes(gzip.compress((tars(root) / "part-000.tar").read_bytes()))
    return path


def second_column(root):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files  # noqa: PLC0415

    parquet(root)
    files.write_table(pa.table({"other": [1, 2]}), root / "2.parquet")
    return root


def empty_cell(root):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files  # noqa: PLC0415

    files.write_table(pa.table({"image": list(BLOBS[:2]), "label": ["a", None]}), root / "a.parquet")
    return root / "a.parquet"


def torn(root):
    pytest.importorskip("tensorflow")
    path = write_records(root / "a.tfrecord", [{"image": blob, "label": 0} for blob in BLOBS[:3]])
    return cut(path, path.stat().st_size - 5)


def corrupt(root):
    pytest.importorskip("tensorflow")
    path = write_records(root / "a.tfrecord", [{"image": blob, "label": 0} for blob in BLOBS[:3]])
    content = bytearray(path.read_bytes())
    content[-40] ^= 255
    path.write_bytes(content)
    return path


def long_name(root):
    """A header that says that a name of 8 GiB follows."""
    path = write_tar(root / "a.tar", sample(0))
    about = tarfile.TarInfo("././@LongLink")
    about.type, about.size = tarfile.GNUTYPE_LONGNAME, (8 << 30) - 1
    path.write_bytes(about.tobuf(tarfile.GNU_FORMAT) + path.read_bytes())
    return path


BAD = {
    "a name of gigabytes": (long_name, r"a\.tar: cannot be read as a \.tar \(a header of 8,589,934,592 bytes\)"),
    "in the middle of an image": (lambda p: cut(tars(p) / "part-002.tar", 700), r"part-002\.tar: ends in the middle of 00012"),
    "in the middle of a header": (lambda p: cut(tars(p) / "part-002.tar", 1300), "holds something that is no .tar from byte"),
    "no tar": (lambda p: write_tar(p / "a.tar", []).write_bytes(b"text" * 400) and p / "a.tar", r"a\.tar: cannot be read as a"),
    "two joined": (joined, r"part-000\.tar: holds something that is no \.tar from byte"),
    "packed": (gzipped, r"a\.tar: is a compressed \.tar.*gunzip"),
    "no images": (lambda p: write_tar(p / "a.tar", [("1.txt", b"x")]), r"holds samples with txt, and no images"),
    "nothing": (lambda p: write_tar(p / "a.tar", []), "holds no samples, and no images"),
    "two images": (
        lambda p: write_tar(p / "a.tar", [("1.jpg", BLOBS[0]), ("1.png", BLOBS[0])]),
        r"sample '1' has several images \(jpg, png\); type --image",
    ),
    "twice": (lambda p: write_tar(p / "a.tar", [*sample(0), *sample(0)]), "holds 00000.png twice"),
    "no label": (
        lambda p: write_tar(p / "a.tar", [*sample(0, b"1"), *sample(1)]),
        "sample '00001' has no label, and those before it have one",
    ),
    "two kinds of labels": (
        lambda p: write_tar(p / "a.tar", [*sample(0, b"1"), *sample(1, b"cat")]),
        "sample '00001' has the label 'cat', and those before it have other kinds",
    ),
    "no json": (lambda p: write_tar(p / "a.tar", sample(0, b"{", "json")), r"00000\.json: is not JSON"),
    "no text": (lambda p: write_tar(p / "a.tar", sample(0, b"\xff\xfe")), r"00000\.cls is no text"),
    "a label of lists": (lambda p: write_tar(p / "a.tar", sample(0, b'{"label": [1]}', "json")), "neither a number nor a text"),
    "missing": (lambda p: tars(p) / "part-{000..004}.tar", r"part-004\.tar: no such file"),
    "several kinds": (lambda p: (parquet(p), tars(p))[0], "holds shards of several kinds"),
    "other columns": (second_column, r"2\.parquet has other columns than 0\.parquet"),
    "a torn parquet": (lambda p: cut(parquet(p) / "1.parquet", 300), r"1\.parquet cannot be read"),
    "an empty label": (empty_cell, r"row 1 of a\.parquet has no label in column 'label'"),
    "a torn record": (torn, r"a\.tfrecord ends in the middle of a record"),
    "a corrupt record": (corrupt, r"a\.tfrecord cannot be read"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_broken_is_named(tmp_path, kind):
    make, said = BAD[kind]
    with pytest.raises(DataError, match=said):
        load(make(tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="there are no named pipes")
@pytest.mark.parametrize("form", ["tar", "parquet", "saved"])
def test_a_pipe_among_shards_is_not_waited_for(tmp_path, form):
    place = FORMS[form](tmp_path / "set")
    first = sorted(path for path in place.iterdir() if path.suffix in {".tar", ".parquet", ".arrow"})[0]
    first.unlink()
    os.mkfifo(first)
    with pytest.raises(DataError, match="is a named pipe, not a file"):
        load(place)


def test_a_column_that_is_not_there(tmp_path):
    made = parquet(tmp_path)
    for options, said in (
        ({"image": "photo"}, "--image with one of: image"),
        ({"label": "kind"}, "--label with one of: label"),
    ):
        with pytest.raises(DataError, match=f"has no column .*; type {said}"):
            load(made, **options)


def test_a_field_of_what_is_no_shard(folder):
    with pytest.raises(OptionError, match="--image names the images of shards"):
        load(folder, image="jpg")
    with pytest.raises(DataError, match="no shards; give"):
        shards(folder)


def test_an_image_that_is_broken_is_named(tmp_path):
    write_tar(tmp_path / "a.tar", [*sample(0), ("bad.png", b"\x89PNG no image"), *sample(1)])
    with pytest.raises(DataError, match=r"a\.tar: bad\.png: does not decode as an image"):
        load(tmp_path / "a.tar").bind(SPECS, None).batch([0, 1, 2])


def test_an_image_that_is_too_large_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("intact.data.tars.LARGEST_FILE", 10)
    with pytest.raises(DataError, match=r"00000\.png: is [\d,]+ bytes, and an image has at most 10"):
        load(write_tar(tmp_path / "a.tar", sample(0))).bind(SPECS, None).batch([0])
    monkeypatch.setattr("intact.data.packed.LARGEST_FILE", 10)
    with pytest.raises(DataError, match=r"row 0 of 0\.parquet holds an image of [\d,]+ bytes"):
        load(parquet(tmp_path / "p")).bind(SPECS, None).batch([0])


def test_names_that_lead_elsewhere_are_names_alone(tmp_path):
    write_tar(tmp_path / "in" / "a.tar", [("../../out.png", BLOBS[0]), ("/etc/out.png", BLOBS[1])])
    x, _ = load(tmp_path / "in" / "a.tar").bind(SPECS, None).batch([0, 1])
    assert_same((x["image"] * 255).round().astype(np.uint8), np.stack([pixels(0), pixels(1)]))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "in"]


def test_a_tar_without_its_end_mark_is_told(tmp_path):
    path = write_tar(tmp_path / "a.tar", sample(0))
    cut(path, 1024)
    samples = load(path).bind(SPECS, None)
    assert len(samples) == 1
    assert any("ends without the mark" in finding.message for finding in samples.findings)


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    made = parquet(tmp_path)
    (tmp_path / "empty" / "pyarrow").mkdir(parents=True)
    (tmp_path / "empty" / "pyarrow" / "__init__.py").write_text("raise ModuleNotFoundError(name='pyarrow')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'empty'}")
    with pytest.raises(MissingExtraError, match=r"Reading .parquet files needs .* pip install 'intact\[data\]'"):
        load(made)


def test_reading_shards_loads_no_library_of_theirs_here(tmp_path):
    loaded = {"tensorflow", "pyarrow", "datasets"} & set(sys.modules)
    load(tars(tmp_path)).bind(SPECS, 4).batch([0])
    assert {"tensorflow", "pyarrow", "datasets"} & set(sys.modules) == loaded

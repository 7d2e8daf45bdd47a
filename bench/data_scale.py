"""Many samples: memory, and whether loading ever keeps the runtime waiting, for each form that a data set can have on disk.

Rates are samples for a second of processor time, of all threads and child processes, listing and starting included, so that
they can be compared on a busy machine: one core that loads must keep up with all that evaluate.

CIFAR-10's training images as class folders, WebDataset's .tar files, Parquet, a TFRecord and a data set that Hugging Face's
library saved, through MobileNetV2 in LiteRT. Then a folder of a million files. Exits with 1 where an aim is missed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from common import CACHE, cifar10, model, say_machine

#: MB of resident memory that the process may have at most, whatever it evaluates.
MOST_MB = 600
#: Seconds in which a million files must be listed.
MOST_SECONDS = 30
#: As the network was trained: 0..255 to -1..1.
PREPROCESSING = {"pixels": (-1, 1)}
SHARD = 1_000
RATE_ON = 5_000

EVALUATE = """
import json, sys, time
import intact
from intact import data
began = time.perf_counter()
found = intact.evaluate(sys.argv[1], data.load(sys.argv[2], data.Preprocessing(**json.loads(sys.argv[3]))))
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"count": found.count, "accuracy": found.readings[0].measurement.value, "mb": peak / 1024,
                  "seconds": time.perf_counter() - began}))
"""

LOAD = """
import gc, json, resource, sys, time
import intact
from intact import data
def spent():
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)
specs = data.input_specs(intact.load(sys.argv[1]))
before = spent()
samples = data.load(sys.argv[2], data.Preprocessing(**json.loads(sys.argv[3]))).bind(specs, 10)
for x, y in samples.batches():
    pass
count = len(samples)
del samples
gc.collect()  # its child process ends, and its time is known
print(json.dumps({"count": count, "seconds": spent() - before}))
"""

RUNTIME = """
import json, sys
from pathlib import Path
import numpy as np
import intact
from intact import data
from intact.runtime import litert
specs = data.input_specs(intact.load(sys.argv[1]))
samples = data.load(sys.argv[2], data.Preprocessing(**json.loads(sys.argv[3]))).bind(specs, 10)
x, _ = samples.spread(int(sys.argv[4])).batch(range(int(sys.argv[4])))
ran = litert.execute(Path(sys.argv[1]), x)
print(json.dumps({"rate": 1 / ran.cpu_seconds_per_sample, "threads": ran.threads}))
"""

LIST = """
import json, sys, time
import numpy as np
from intact import data
began = time.perf_counter()
samples = data.load(sys.argv[1]).bind((data.InputSpec("x", (1, 8, 8, 3)),), 100)
seconds = time.perf_counter() - began
samples.drawn(500, 0).batch(range(500))
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"count": len(samples), "seconds": seconds, "mb": peak / 1024}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000, help="images, the first of each class")
    parser.add_argument("--files", type=int, default=1_000_000, help="files in the folder that is listed; 0 for none")
    parser.add_argument("--formats", nargs="*", default=list(FORMATS), choices=list(FORMATS))
    parser.add_argument("--evaluate", nargs="*", default=["folder", "tar"], choices=list(FORMATS))
    asked = parser.parse_args()
    say_machine()
    network, pixels = str(model("mobilenet_v2_cifar10.tflite")), json.dumps(PREPROCESSING)
    missed: list[str] = []
    places = {name: made(name, asked.count) for name in dict.fromkeys((*asked.formats, *asked.evaluate))}
    if asked.formats:
        print(
            f"{'format':9} {'images':>7} {'loader':>10} {'runtime':>10} {'ratio':>6}   samples for a second of processor time"
        )
    for name in asked.formats:
        runtime = ran(RUNTIME, network, str(places[name]), pixels, str(min(RATE_ON, asked.count)))
        loaded = ran(LOAD, network, str(places[name]), pixels)
        rate, most = loaded["count"] / loaded["seconds"], runtime["rate"]
        print(f"{name:9} {loaded['count']:7,} {rate:8,.0f}/s {most:8,.0f}/s {rate / most:6.2f}", flush=True)
        if rate < most * runtime["threads"]:
            missed.append(
                f"{name}: one core loads {rate:,.0f} images a second, and {runtime['threads']} cores evaluate "
                f"{most * runtime['threads']:,.0f}"
            )
    accuracies = set[float]()
    for name in asked.evaluate:
        found = ran(EVALUATE, network, str(places[name]), pixels)
        accuracies.add(found["accuracy"])
        print(
            f"\n{name}: {found['count']:,} evaluations in {found['seconds']:.0f} s, accuracy {found['accuracy']:.4g} %, "
            f"resident memory at most {found['mb']:.0f} MB",
            flush=True,
        )
        if found["mb"] > MOST_MB:
            missed.append(f"{name}: {found['mb']:.0f} MB of resident memory, and {MOST_MB} are allowed")
    if len(accuracies) > 1:
        missed.append(f"the same images have several accuracies: {accuracies}")
    if asked.files:
        missed += million(asked.files)
    for line in missed:
        print(f"missed: {line}")
    sys.exit(1 if missed else 0)


def million(count: int) -> list[str]:
    """List so many files in 100 class folders, links to 300 bytes of a JPEG each."""
    with tempfile.TemporaryDirectory(prefix="data-scale-") as folder:
        root = Path(folder)
        image = io.BytesIO()
        from PIL import Image  # noqa: PLC0415

        Image.new("RGB", (8, 8)).save(image, "JPEG")
        for number in range(100):
            inside = root / f"class_{number:03}"
            inside.mkdir()
            for i in range(count // 100):
                name = inside / f"image_{number:03}_{i:08}.jpg"
                if i % 10_000 == 0:
                    first = name
                    first.write_bytes(image.getvalue())
                else:
                    os.link(first, name)
        found = ran(LIST, folder)
    print(
        f"\n{found['count']:,} files in class folders: listed in {found['seconds']:.1f} s, 500 drawn and decoded, resident "
        f"memory at most {found['mb']:.0f} MB",
        flush=True,
    )
    missed = []
    if found["seconds"] > MOST_SECONDS:
        missed.append(f"{found['count']:,} files are listed in {found['seconds']:.0f} s, and {MOST_SECONDS} are allowed")
    if found["mb"] > MOST_MB:
        missed.append(f"{found['count']:,} files take {found['mb']:.0f} MB, and {MOST_MB} are allowed")
    return missed


def ran(script: str, *arguments: str) -> dict[str, float]:
    """What a fresh process prints last, as JSON."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def samples(count: int) -> Iterator[tuple[int, str, Path]]:
    """Class number, class and file of the first images of each class, in the order of class folders."""
    folders = sorted(cifar10("train").iterdir())
    for number, folder in enumerate(folders):
        for file in sorted(folder.iterdir())[: count // len(folders)]:
            yield number, folder.name, file


def made(name: str, count: int) -> Path:
    """The data set in the form ``name``, made once by its own library in a process of its own."""
    place = CACHE / "data_scale" / str(count) / name
    if not place.exists():
        beside = place.with_name(f".{name}-{os.getpid()}")
        beside.mkdir(parents=True)
        try:
            code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import data_scale as d, pathlib; "
            code += f"d.FORMATS[{name!r}](pathlib.Path({str(beside)!r}), {count})"
            subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            beside.rename(place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return place


def _folder(root: Path, count: int) -> None:
    for _, name, file in samples(count):
        (root / name).mkdir(exist_ok=True)
        shutil.copy(file, root / name / file.name)


def _tar(root: Path, count: int) -> None:
    each = list(samples(count))
    for start in range(0, len(each), SHARD):
        with tarfile.open(root / f"train-{start // SHARD:03}.tar", "w") as archive:
            for number, (_, name, file) in enumerate(each[start : start + SHARD], start):
                for suffix, content in ((".jpg", file.read_bytes()), (".cls", name.encode())):
                    about = tarfile.TarInfo(f"{number:08}{suffix}")
                    about.size = len(content)
                    archive.addfile(about, io.BytesIO(content))


def _parquet(root: Path, count: int) -> None:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    each = list(samples(count))
    for start in range(0, len(each), 10 * SHARD):
        part = each[start : start + 10 * SHARD]
        table = pa.table({"image": [file.read_bytes() for _, _, file in part], "label": [name for _, name, _ in part]})
        parquet.write_table(table, root / f"train-{start // (10 * SHARD):03}.parquet", row_group_size=SHARD)


def _tfrecord(root: Path, count: int) -> None:
    import tensorflow as tf  # noqa: PLC0415

    with tf.io.TFRecordWriter(str(root / "train.tfrecord")) as file:
        for number, _, path in samples(count):
            image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[path.read_bytes()]))
            label = tf.train.Feature(int64_list=tf.train.Int64List(value=[number]))
            features = tf.train.Features(feature={"image/encoded": image, "image/class/label": label})
            file.write(tf.train.Example(features=features).SerializeToString())


def _saved(root: Path, count: int) -> None:
    import datasets  # noqa: PLC0415

    each = list(samples(count))
    names = list(dict.fromkeys(name for _, name, _ in each))
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    columns = {
        "img": [{"bytes": file.read_bytes(), "path": None} for _, _, file in each],
        "label": [number for number, _, _ in each],
    }
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(root))


#: What makes a data set of so many images in a folder.
FORMATS: dict[str, Callable[[Path, int], None]] = {
    "folder": _folder,
    "tar": _tar,
    "parquet": _parquet,
    "tfrecord": _tfrecord,
    "saved": _saved,
}

if __name__ == "__main__":
    main()

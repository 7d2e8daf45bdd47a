"""docs/data.md does not promise what is not there: its examples run."""

import functools
import io
import re
import shlex
import tarfile
from pathlib import Path

import numpy as np
import pytest
import small_graphs
import torch
import typer
from frames import DataFrame, HuggingFace
from images import image_folder, pixels, write_image
from nets import images, mobile
from PIL import Image

import intact
from intact.cli import app as cli
from intact.data import Data, input_specs
from intact.run import options

TEXT = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^intact .*", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("docs")
    image_folder(path / "photos", ("a", "b", "c", "d"), 6)
    x, y = images(24), np.arange(24) % 4
    np.savez(path / "val.npz", x=x, y=y)
    np.save(path / "x.npy", x)
    np.save(path / "y.npy", y)
    rows = [f"{i},1,2,3,4,5,{'ab'[i % 2]}" for i in range(24)]
    (path / "val.csv").write_text("\n".join(["p,q,r,s,t,u,species", *rows]))
    for split in ("train", "val"):
        for i in range(8):
            write_image(path / "images" / split / f"{i}.png", pixels(i, (8, 12)))
    (path / "data.yaml").write_text("train: images/train\nval: images/val\n")
    for i in range(8):
        write_image(path / "set" / "images" / f"{i}.png", pixels(i))
        write_image(path / "set" / "masks" / f"{i}.png", pixels(i, planes=1) % 3)
    (path / "shards").mkdir()
    for number in range(4):
        with tarfile.open(path / "shards" / f"train-{number:03}.tar", "w") as archive:
            for i in range(number * 6, number * 6 + 6):
                picture = write_image(path / "one.png", pixels(i)).read_bytes()
                for name, content in ((f"{i}.png", picture), (f"{i}.cls", b"%d" % (i % 4))):
                    about = tarfile.TarInfo(name)
                    about.size = len(content)
                    archive.addfile(about, io.BytesIO(content))
    (path / "model.tflite").write_bytes(intact.write_tflite(mobile()))
    (path / "table.tflite").write_bytes(intact.write_tflite(small_graphs.fully_connected()))
    return path


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_examples_run(folder, monkeypatch, code):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(intact, "quantize", functools.partial(intact.quantize, measure=False))
    x, y = images(24), np.arange(24) % 4
    photos = [Image.fromarray(pixels(i)) for i in range(24)]
    known = {
        "intact": intact,
        "torch": torch,
        "model": mobile(),
        "x": x,
        "y": y,
        "x_test": images(24, seed=1),
        "y_test": y,
        "dataset": torch.utils.data.TensorDataset(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(y)),
        "frame": DataFrame({"a": np.arange(4.0), "species": list("abab")}),
        "images": photos,
        "labels": y,
        "rows": HuggingFace({"photo": photos, "kind": y.tolist()}),
    }
    exec(code, known)
    for line in code.splitlines():  # what only makes data is data
        if line.startswith("intact.data."):
            assert isinstance(eval(line, known), Data)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist_and_their_data_fits(folder, monkeypatch, line):
    monkeypatch.chdir(folder)
    command = typer.main.get_command(cli.app).commands["quantize"]
    with command.make_context("quantize", shlex.split(line)[2:], resilient_parsing=False) as context:
        given = context.params
    preprocessing = options.preprocessing(given["pixels"], given["mean"], given["std"], given["channels"], given["resize"])
    specs = input_specs(intact.load(folder / given["model"]))
    for use, path in (("data", given["data"]), ("eval", given["evaluation"])):
        if path is not None:
            samples = intact.data.load(Path(path), preprocessing, label=given["label"], use=use).bind(specs, None)
            assert len(samples) >= 8
            samples.batch([0, len(samples) - 1])


def test_there_are_examples():
    assert len(PYTHON) == 4
    assert len(COMMANDS) == 7

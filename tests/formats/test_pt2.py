"""A .pt2 is a stranger's file: loading one runs code unless it is checked first. Each hostile file has its verdict."""

import io
import json
import os
import pickle
import warnings
import zipfile

import pytest
import torch

from intact.errors import ModelError
from intact.formats.load import load
from intact.formats.pt2 import checked_copy


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)

    def forward(self, image):
        return self.conv(image).mean((2, 3)).flatten(1)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    free, side = torch.export.Dim("batch"), torch.export.Dim("side", min=8)
    program = torch.export.export(Net().eval(), (torch.zeros(2, 3, 9, 9),), dynamic_shapes=({0: free, 2: side, 3: side},))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)
    return path


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def rewritten(source, target, change):
    """``source`` with its entries, by name below the archive's root, as ``change`` leaves them."""
    with zipfile.ZipFile(source) as archive:
        root = archive.namelist()[0].split("/")[0]
        entries = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in entries.items():
            archive.writestr(f"{root}/{name}", data)
    return target


def edit(name, path, value):
    """A change of one place in a JSON entry."""

    def change(entries):
        document = node = json.loads(entries[name])
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        entries[name] = json.dumps(document).encode()

    return change


def rename(name, old, new):
    def change(entries):
        assert old.encode() in entries[name]
        entries[name] = entries[name].replace(old.encode(), new.encode())

    return change


def put(name, data):
    return lambda entries: entries.update({name: data})


WEIGHTS, GRAPH = "data/weights/model_weights_config.json", "models/model.json"
NODE = ("graph_module", "graph", "nodes", 0)
BOMB = pickle.dumps(Bomb("never"))

HOSTILE = {
    "pickled weight": (edit(WEIGHTS, ("config", "conv.weight", "use_pickle"), True), "'conv.weight' is pickled"),
    "weight elsewhere": (edit(WEIGHTS, ("config", "conv.weight", "path_name"), "../../x"), "outside its folder"),
    "weights of old": (put("data/weights/model.pt", BOMB), "holds pickled weights"),
    "custom object": (put("data/constants/custom_obj_0", BOMB), "holds a pickled object"),
    "opaque object": (put("data/constants/opaque_obj_0", BOMB), "holds a pickled object"),
    "pickled sample": (put("data/sample_inputs/model.pt", BOMB), "sample inputs are not plain tensors"),
    "compiled code": (put("data/aotinductor/model/x.so", b"\x7fELF"), "holds compiled code"),
    "second program": (put("models/other.json", b"{}"), "holds 2 programs"),
    "system call": (edit(GRAPH, (*NODE, "target"), "torch.os.system"), "calls 'torch.os.system'"),
    "loading op": (edit(GRAPH, (*NODE, "target"), "torch.hub.load"), "calls 'torch.hub.load'"),
    "file op": (edit(GRAPH, (*NODE, "target"), "torch.ops.aten.from_file.default"), "calls 'torch.ops.aten.from_file"),
    "python in a size": (rename(GRAPH, "Symbol('s", "__import__('os').mkdir('s"), "which is not arithmetic on sizes"),
    "python in a name": (rename(GRAPH, '"name": "image"', '"name": "image=print(1)"'), "where a name belongs"),
    "python in a key": (rename(GRAPH, '"conv2d":', '"conv2d\\n__import__":'), "not one that torch.export gives"),
    "quote in a parameter": (rename(GRAPH, "conv.weight", 'conv\\"+x+\\"'), "where a name belongs"),
    "import in a tree": (rename(GRAPH, "builtins.dict", "collections.defaultdict"), "of the type 'collections.defaultdict'"),
    "no graph": (put(GRAPH, b"[]"), "model.json in the archive is corrupt"),
    "broken json": (put(GRAPH, b"{"), "model.json in the archive is corrupt"),
    "deep json": (put(GRAPH, b"[" * 100_000), "model.json in the archive is corrupt"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_by_what_is_in_them(honest, tmp_path, case):
    change, message = HOSTILE[case]
    path = rewritten(honest, tmp_path / "net.pt2", change)
    with pytest.raises(ModelError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_code_in_a_file_would_run_in_torch_and_does_not_run_here(honest, tmp_path):
    marker = tmp_path / "the code ran"
    buffer = io.BytesIO()
    torch.save(Bomb(marker), buffer)

    def arm(entries):
        edit(WEIGHTS, ("config", "conv.weight", "use_pickle"), True)(entries)
        name = "data/weights/" + json.loads(entries[WEIGHTS])["config"]["conv.weight"]["path_name"]
        entries[name] = buffer.getvalue()

    path = rewritten(honest, tmp_path / "net.pt2", arm)
    with pytest.raises(ModelError, match="is pickled, which can run any code; export it again"):
        load(path)
    assert not marker.exists()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever torch says of a weight that is no tensor
            torch.export.load(path)
    assert marker.exists(), "the file above is harmless, so that the test proves nothing"


def test_an_honest_file_passes_whole(honest, tmp_path):
    copy = tmp_path / "copy.pt2"
    checked_copy(honest, copy)
    with zipfile.ZipFile(honest) as a, zipfile.ZipFile(copy) as b:
        sample = next(name for name in a.namelist() if name.endswith("data/sample_inputs/model.pt"))
        assert {n: a.read(n) for n in a.namelist()} | {sample: b""} == {n: b.read(n) for n in b.namelist()}
    image = torch.arange(3 * 81.0).reshape(1, 3, 9, 9) / 81
    torch.testing.assert_close(torch.export.load(copy).module()(image), torch.export.load(honest).module()(image))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("zip.pt2", None, "zip archive, but no exported program"),
        ("random.pt2", bytes(range(256)) * 9, "no .pt2 archive"),
        ("empty.pt2", b"", "the file is empty"),
    ],
)
def test_files_that_are_no_programs(tmp_path, name, data, message):
    path = tmp_path / name
    if data is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "hello")
    else:
        path.write_bytes(data)
    with pytest.raises(ModelError, match=message):
        load(path)


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
def test_truncated_files(honest, tmp_path, keep):
    data = honest.read_bytes()
    path = tmp_path / "net.pt2"
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ModelError, match=r"truncated, corrupt or no \.pt2 archive"):
        load(path)


def test_pickles_and_torchscript_under_the_suffix(tmp_path):
    path = tmp_path / "net.pt2"
    torch.save(Net().state_dict(), path)
    with pytest.raises(ModelError, match=r"a pickle of torch\.save or TorchScript"):
        load(path)


def test_exported_programs_in_shared_models_pass(shared, tmp_path):
    paths = sorted((shared / "models").glob("*.pt2"))
    assert paths
    for path in paths:
        checked_copy(path, tmp_path / path.name)


def test_every_flipped_byte_of_a_packed_file_is_a_sentence(honest, tmp_path):
    """Packed, a flipped byte is an error of zlib, of a checksum, or of JSON."""
    packed = tmp_path / "net.pt2"
    with zipfile.ZipFile(honest) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    checked_copy(packed, tmp_path / "copy.pt2")
    data = packed.read_bytes()
    for place in range(0, len(data), 31):
        packed.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            checked_copy(packed, tmp_path / "copy.pt2")
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017  # a byte of a time of day changes nothing


@pytest.mark.parametrize(
    "size",
    ["Pow(Integer(9), Pow(Integer(9), Integer(99)))", "9**9**9**9**9**9", "LShift(Integer(1), Integer(1000000000))", "1" * 400],
)
def test_sizes_that_take_for_ever(honest, tmp_path, size):
    def change(entries):
        document = json.loads(entries[GRAPH])
        document["range_constraints"] = {size: {"min_val": 0, "max_val": 1}}
        entries[GRAPH] = json.dumps(document).encode()

    with pytest.raises(ModelError, match="which is not arithmetic on sizes"):
        checked_copy(rewritten(honest, tmp_path / "net.pt2", change), tmp_path / "copy.pt2")

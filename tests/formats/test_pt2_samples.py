"""A program's sample input is read as data: the same numbers as torch would give, and nothing but plain tensors."""

import io
import warnings
import zipfile

import numpy as np
import pytest
import torch

from intact.errors import ModelError, UnsupportedError
from intact.formats import pt2_samples
from intact.formats.load import load
from intact.runtime.scripts import convert_torch


def saved(made):
    buffer = io.BytesIO()
    torch.save(made, buffer)
    return buffer.getvalue()


def read(data, folder):
    return pt2_samples.read(data, folder, "export it again")


def call(made, folder):
    """The sample as the child makes it."""
    return convert_torch._read(read(saved(made), folder))


BASE = torch.arange(24.0)


@pytest.mark.parametrize(
    "x",
    [
        BASE,
        BASE.reshape(2, 3, 4).permute(2, 0, 1),
        BASE[5:],
        BASE[::2],
        BASE[:1].expand(3, 4),
        torch.tensor(3),
        torch.zeros(0, 3),
        torch.tensor([True, False]),
        torch.nn.Parameter(torch.ones(2)),
        *(torch.arange(4).to(kind) for kind in (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)),
        *(torch.arange(4).to(kind) for kind in (torch.float16, torch.bfloat16, torch.float64)),
    ],
    ids=str,
)
def test_the_numbers_are_those_that_torch_reads(tmp_path, x):
    made = call(((x,), {"named": x}), tmp_path)
    for found in (made.args[0], made.kwargs["named"]):
        assert found.dtype == x.dtype
        assert torch.equal(found, x)


def test_what_was_one_tensor_is_one_again(tmp_path):
    a, b = torch.ones(3), torch.ones(3)
    made = call(((a, a[1:], b), {}), tmp_path)
    first, second, other = (x.untyped_storage().data_ptr() for x in made.args)
    assert first == second != other


class Bomb:
    def __reduce__(self):
        return print, ("the code ran",)


@pytest.mark.parametrize(
    "made",
    [Bomb(), ((Bomb(),), {}), (torch.ones(2),), {}, ((), {1: torch.ones(1)})],
    ids=["bomb", "bomb inside", "no arguments by name", "no pair", "a name that is none"],
)
def test_anything_else_is_refused_and_does_not_run(tmp_path, capsys, made):
    with pytest.raises(ModelError, match="its sample inputs are not plain tensors, and may run any code; export it again"):
        read(saved(made), tmp_path)
    assert not capsys.readouterr().out


@pytest.mark.parametrize("made", [((1,), {}), (([torch.ones(2)],), {}), ((None, torch.ones(2)), {}), ((), {})], ids=str)
def test_inputs_that_are_no_tensors_are_named(tmp_path, made):
    with pytest.raises(UnsupportedError, match="its inputs are not plain tensors; wrap the module"):
        read(saved(made), tmp_path)


def test_a_function_that_is_only_named_is_no_tensor_either(tmp_path):
    for named in (print, torch.float32):
        with pytest.raises(UnsupportedError, match="its inputs are not plain tensors; wrap the module"):
            read(saved(((torch.ones(2), named), {})), tmp_path)


def with_pickle(program):
    """A sample whose pickle is ``program``, over one number."""
    with zipfile.ZipFile(io.BytesIO(saved(((torch.ones(1),), {})))) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    root = next(iter(entries)).partition("/")[0]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        for name, data in (entries | {f"{root}/data.pkl": program}).items():
            new.writestr(name, data)
    return out.getvalue()


def tensor(offset=0, sizes=(1,), strides=(1,), key="0", storage="FloatStorage"):
    """The pickle of a sample of one tensor, by hand."""
    whole = b"\x80\x02((ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
    text = f"X{chr(len(key))}\0\0\0{key}".encode()
    numbers = [b"(" + b"".join(b"J" + n.to_bytes(4, "little", signed=True) for n in part) + b"t" for part in (sizes, strides)]
    return (
        whole + storage.encode() + b"\n" + text + b"X\x03\x00\x00\x00cpuK\x01tQ"
        + b"J" + offset.to_bytes(4, "little", signed=True) + numbers[0] + numbers[1] + b"\x89}tRt}t."
    )  # fmt: skip


def test_the_pickle_by_hand_is_an_honest_one(tmp_path):
    (found,) = read(with_pickle(tensor()), tmp_path)
    assert (found["dtype"], found["sizes"], found["strides"], found["offset"]) == ("float32", (1,), (1,), 0)


PICKLES = {
    "beyond its numbers": (tensor(sizes=(2,)), "larger than what the file holds"),
    "an offset beyond": (tensor(offset=1), "larger than what the file holds"),
    "a stride beyond": (tensor(sizes=(2,), strides=(1 << 20,)), "larger than what the file holds"),
    "an exabyte of one number": (tensor(sizes=(1 << 20, 1 << 20), strides=(0, 0)), "larger than what the file holds"),
    "a negative size": (tensor(sizes=(-1,)), "not plain tensors"),
    "a negative offset": (tensor(offset=-4), "not plain tensors"),
    "sizes without strides": (tensor(sizes=(1, 1)), "not plain tensors"),
    "numbers that are not there": (tensor(key="1"), "not plain tensors"),
    "numbers elsewhere": (tensor(key="../1"), "not plain tensors"),
    "another storage": (tensor(storage="ComplexFloatStorage"), "not plain tensors"),
    "a byte array of an exabyte": (b"\x80\x05\x96" + (1 << 60).to_bytes(8, "little") + b".", "not plain tensors"),
    "a text of 4 GB": (b"\x80\x02X\xff\xff\xff\xff.", "not plain tensors"),
    "nothing": (b"", "not plain tensors"),
    "an empty stack": (b"\x80\x02.", "not plain tensors"),
    "marks without end": (b"\x80\x02" + b"(" * 100_000 + b".", "not plain tensors"),
    "what was never kept": (b"\x80\x02h\x07.", "not plain tensors"),
    "a build": (b"\x80\x02}}b.", "not plain tensors"),
    "doubling lists": (b"\x80\x02]q\x00" + b"(h\x00h\x00t" * 1000 + b".", "not plain tensors"),
}


@pytest.mark.parametrize(("program", "says"), PICKLES.values(), ids=PICKLES)
def test_crafted_pickles(tmp_path, program, says):
    with pytest.raises(ModelError, match=says):
        read(with_pickle(program), tmp_path)


def test_nothing_pickled_reaches_torch(tmp_path, monkeypatch):
    """The whole way, with ``torch.load`` made to fail here; the child refuses it by itself."""
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    path = tmp_path / "net.pt2"
    table = torch.nn.Embedding(5, 3).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(table, (torch.tensor([[4, 2]]),)), path)
    graph = load(path)
    assert [graph[i].shape[1:] for i in graph.inputs] == [(2,)]
    assert np.prod(graph[graph.outputs[0]].shape[1:]) == 6

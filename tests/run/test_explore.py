"""Looking into a network: what is held of it, what each op costs, and what is refused."""

import json

import numpy as np
import pytest
from compare import assert_same
from drafts import draft
from nets import images, mobile

import intact
from intact.errors import OptionError, OutputError
from intact.formats import tflite
from intact.numbers.affine import Affine, dequantize_array
from intact.numbers.grids import Choice
from intact.ops.elementwise import Add, Mul
from intact.run.explored_ops import OpFigures


@pytest.fixture(scope="module")
def explored():
    return intact.explore(mobile(), images(16))


@pytest.fixture(scope="module")
def integer(tmp_path_factory):
    """The small network as an int8 file, and the float file that it was made from."""
    folder = tmp_path_factory.mktemp("integer")
    result = intact.quantize(mobile(), images(64), remedies=(), measure=False)
    (folder / "int8.tflite").write_bytes(result.model)
    (folder / "float.tflite").write_bytes(tflite.write(mobile()))
    return folder / "int8.tflite", folder / "float.tflite"


def test_every_weight_is_held_as_it_is(explored):
    graph = mobile()
    rows = {row["id"]: row for row in explored.document["tensors"]}
    roles = [(rows[i]["role"], rows[i]["axis"]) for i in (1, 2, 4, 5, 10, 11)]
    assert roles == [("weight", 0), ("bias", None), ("weight", 3), ("bias", None), ("weight", 0), ("bias", None)]
    assert set(explored.weights) == {1, 2, 4, 5, 10, 11}
    for i, values in explored.weights.items():
        assert_same(values, graph[i].data)
    assert json.loads(json.dumps(explored.document, allow_nan=False)) == explored.document


def test_ops_have_their_noise_and_activations_what_they_take_on(explored):
    ops = {op["kind"]: op for op in explored.document["ops"]}
    assert [op["output"] for op in explored.document["ops"]] == [3, 6, 7, 9, 12, 13]
    shares = [op["noise_share"] for op in ops.values() if op["noise_share"] is not None]
    assert len(shares) >= 5
    assert sum(shares) == pytest.approx(1)
    assert 20 < ops["CONV_2D"]["sqnr_runtime"] < 60
    assert all(op["ms"] > 0 for op in ops.values())
    assert ops["CONV_2D"]["bytes"] == 4 * (8 * 27 + 8)
    histograms = {row["id"]: row["histogram"] for row in explored.document["tensors"] if row["histogram"]}
    assert set(histograms) == {0, 3, 6, 7, 9, 12, 13}
    assert all(sum(h["counts"]) == 16 * np.prod([n or 1 for n in mobile()[i].shape]) for i, h in histograms.items())
    assert histograms[3]["low"] == 0


def test_without_samples_there_is_size_and_time():
    found = intact.explore(mobile())
    assert found.document["notes"] == ["No samples were given, so that ops have no noise: give --data."]
    assert {op["noise_share"] for op in found.document["ops"]} == {None}
    assert all(op["ms"] > 0 for op in found.document["ops"])
    assert not [row for row in found.document["tensors"] if row["histogram"]]


def test_an_integer_file_alone_is_shown_as_it_stores_its_weights(integer):
    path, _ = integer
    found = intact.explore(path)
    graph = tflite.read(path)
    weights = [row for row in found.document["tensors"] if row["role"] == "weight"]
    assert len(weights) == 3
    for row in weights:
        fmt = graph[row["id"]].format
        assert isinstance(fmt, Affine)
        assert (row["dtype"], tuple(row["scale"]), row["stored_sqnr"]) == ("int8", fmt.scale, None)
        assert_same(found.weights[row["id"]], dequantize_array(np.asarray(graph[row["id"]].data), fmt))
    again = found.tensor(weights[0]["id"])
    assert all(f.noise <= 1e-9 * f.signal for f in again)  # its own grid


def test_beside_its_float_model_that_models_weights_are_shown(integer):
    path, other = integer
    found = intact.explore(path, images(16), against=other)
    wanted = {mobile()[i].data.tobytes() for i in (1, 4, 10)}
    weights = [row for row in found.document["tensors"] if row["role"] == "weight"]
    assert {found.weights[row["id"]].tobytes() for row in weights} == wanted
    assert all(35 < row["stored_sqnr"] < 60 for row in weights)
    assert found.document["against"] == "float.tflite"
    assert all(op["sqnr_own"] > 20 for op in found.document["ops"] if op["kind"] == "CONV_2D")


def test_an_integer_file_with_samples_alone_says_what_is_missing(integer):
    found = intact.explore(integer[0], images(16))
    assert any("give --against" in note for note in found.document["notes"])


def test_the_wrong_way_round_is_refused(integer):
    path, other = integer
    with pytest.raises(OptionError, match="the other way round"):
        intact.explore(other, against=path)
    with pytest.raises(OptionError, match="quantized itself"):
        intact.explore(path, against=path)
    with pytest.raises(OptionError, match="leave out --against"):
        intact.explore(other, against=other)


def test_numbers_that_are_not_finite_are_left_out_with_a_word():
    mask = np.float32([0, -np.inf, 0])
    found = intact.explore(draft((3,), lambda d, x: d(Add(), d(Mul(), x, 2.0), mask)))
    assert any("not finite" in note for note in found.document["notes"])
    assert [row["held"] for row in found.document["tensors"]] == [True, False]
    assert len(found.weights) == 1


def test_a_page_holds_so_many_numbers_and_no_more(monkeypatch):
    monkeypatch.setattr("intact.run.explore._MOST", 100)
    found = intact.explore(mobile())
    assert set(found.weights) == {2, 5, 10, 11}  # 8 + 8 + 32 + 4; the next has 72


def test_a_choice_for_one_tensor_and_for_all(explored):
    four, eight = (explored.model(Choice(bits)) for bits in (4, 8))
    biases = 4 * (8 + 8 + 4)
    assert eight["bytes"] == 216 + 72 + 32 + 4 * (8 + 8 + 4) + biases
    assert eight["float_bytes"] == 4 * (216 + 72 + 32) + biases
    assert 20 < eight["sqnr"] - four["sqnr"] < 28
    assert [row["id"] for row in four["tensors"]] != []
    noise = sum(f.noise for i in (1, 4, 10) for f in explored.tensor(i, Choice(4)))
    signal = sum(f.signal for i in (1, 4, 10) for f in explored.tensor(i, Choice(4)))
    assert four["sqnr"] == pytest.approx(10 * np.log10(signal / noise))
    name = next(row["name"] for row in explored.document["tensors"] if row["id"] == 4)
    assert len(explored.tensor(name)) == 8
    assert len(explored.tensor(4, Choice(per_channel=False))) == 1
    with pytest.raises(OptionError, match="no tensor with numbers is called 'nobody'"):
        explored.tensor("nobody")


def test_what_does_not_run_is_explored_all_the_same(monkeypatch):
    monkeypatch.setattr("intact.run.explored_ops.alone_ms", lambda *_: {})

    def refuse(*_, **__):
        raise OptionError("it cannot be had")

    monkeypatch.setattr("intact.run.explored_ops.diagnose", refuse)
    found = intact.explore(mobile(), images(4))
    assert "The noise of ops cannot be had: it cannot be had." in found.document["notes"]
    assert {op["ms"] for op in found.document["ops"]} == {None}
    assert vars(OpFigures()).keys() <= found.document["ops"][0].keys()


def test_pages_are_whole_or_not_there(explored, tmp_path):
    path = explored.save(tmp_path / "new" / "page.html")
    assert path.read_text().endswith("</html>")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        explored.save(tmp_path / "file" / "page.html")

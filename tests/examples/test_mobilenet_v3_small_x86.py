"""The example on drawn images: its table against the programs that it wrote, and the pieces that make it."""

import re
import shutil
import sys
import warnings

import example_runs
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the example is PyTorch's")
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch's compiler needs a C++ compiler"),
    pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="this PyTorch has no FBGEMM"),
]
TESTED = 128


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return example_runs.run("mobilenet_v3_small_x86", tmp_path_factory.mktemp("mobilenet_v3_small_x86"))


@pytest.fixture(scope="module")
def parts():
    names = ("data", "network", "measure", "reported", "judge")
    with example_runs.modules(example_runs.EXAMPLES / "mobilenet_v3_small_x86", *names) as found:
        yield dict(zip(names, found, strict=True))


@pytest.fixture(scope="module")
def table(out):
    return example_runs.rows(out)


def cells(table, name):
    return next(row for row in table if row[0] == name)[1:]


def right(network, parts):
    pixels, labels = parts["data"].drawn(TESTED, seed=1)
    images = torch.from_numpy(pixels / np.float64(127.5) - 1).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        scores = network(images)
    scores = scores[0] if isinstance(scores, tuple) else scores
    return 100 * np.mean(scores.argmax(1).numpy() == labels)


def test_the_table_says_what_the_programs_have_right(out, table, parts):
    exact = right(torch.export.load(out / "float.pt2").module(), parts)
    assert exact > 15  # of ten classes: it has learnt something
    assert cells(table, "float") == ["92.95", f"{exact:.2f} ± 0.00"]
    lost = float(cells(table, "Intact, int8")[2].split()[0])
    assert lost == pytest.approx(exact - right(torch.export.load(out / "model.pt2").module(), parts), abs=0.006)
    with warnings.catch_warnings(action="ignore"):  # torch says that TorchScript is deprecated
        assert right(torch.jit.load(out / "fx.pt"), parts) == pytest.approx(exact, abs=20)


def test_every_matrix_has_what_was_measured_and_says_what_was_not(table):
    for title in ("top-1, %", "seconds", "MB at most", "images a second"):
        start = next(n for n, row in enumerate(table) if row[0] == title)
        assert table[start][1:] == ["float", "float, compiled", "int8, FX", "int8, Intact"]
        (cpu, *figures), (gpu, *none) = table[start + 1 : start + 3]
        assert (cpu, gpu, none) == ("CPU", "GPU", ["not measured"] * 4)
        assert all(re.fullmatch(r"[\d.]+ ± [\d.]+" if title == "top-1, %" else "not measured", cell) for cell in figures)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the most memory of a process")
def test_a_pass_is_timed_in_processes_of_their_own(parts, tmp_path):
    measure = parts["measure"]
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(torch.nn.Flatten(), (torch.zeros(2, 3, 4, 4),), dynamic_shapes=batch)
    torch.export.save(program, tmp_path / "flat.pt2")
    np.save(tmp_path / "images.npy", np.zeros((120, 3, 4, 4), np.float32))
    (found,) = measure.turns({"flat": ("as it is", tmp_path / "flat.pt2")}, tmp_path / "images.npy", 2).values()
    assert found["seconds"].shape == (2,)
    np.testing.assert_allclose(found["rate"] * found["seconds"], 100)  # two whole batches of 50
    assert (found["megabytes"] > 50).all()
    assert (found["megabytes"] < 2000).all()


def test_layers_are_counted_as_the_report_counted_them(out):
    said = (out / "table.md").read_text()
    for counted in ("52 Conv2d", "34 BatchNorm2d", "19 Hardswish", "2 Linear"):
        assert counted in said


def test_a_float_network_below_its_floor_is_not_called_reproduced(out):
    assert "not reproduced: missed" in (out / "table.md").read_text()


def test_graph_mode_holds_integers_of_each_weight(parts):
    """A convolution of ones by halves: 27 products of 1 and 0.5 in the middle of an image."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 3, bias=False)).eval()
    torch.nn.init.constant_(network[0].weight, 0.5)
    made = parts["reported"].graph_mode(network, torch.ones(64, 3, 8, 8))
    assert "quantized" in str(made.graph)
    assert made(torch.ones(1, 3, 8, 8))[0, 0, 3, 3].item() == pytest.approx(13.5, rel=0.01)


def test_weights_of_a_program_are_taken_by_their_order(parts, tmp_path):
    network = parts["network"].MobileNetV3Small(7).eval()
    program = torch.export.export(network, (torch.zeros(1, 3, 32, 32),))
    torch.export.save(program, tmp_path / "float.pt2")
    again = parts["network"].with_weights(tmp_path / "float.pt2")
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(again(x), network(x))


def test_spread_is_mean_and_standard_deviation(parts):
    assert parts["judge"].spread([1, 2, 3]) == "2.00 ± 1.00"

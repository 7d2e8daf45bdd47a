"""The example's figures, worked out again: accuracy by Intact's own runner, features by sums, the firmware by a C compiler."""

import json
import math
import re
import shutil
import subprocess

import example_runs
import numpy as np
import pytest

import intact
from intact.data import arrays, input_specs
from intact.formats.tflite.read import read
from intact.measure.run_outputs import outputs_of
from intact.planning.targets import target

pytest.importorskip("tensorflow", reason="the example trains with Keras")

TESTED = 120
NAMES = {"float": "float.tflite", "int8, TFLite converter": "converter.tflite", "int8, Intact": "model.tflite"}
COMPILER = bool(shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm"))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return example_runs.run("keyword_spotting_mcu", tmp_path_factory.mktemp("keyword_spotting_mcu"))


@pytest.fixture(scope="module")
def sources():
    with example_runs.modules(example_runs.EXAMPLES / "keyword_spotting_mcu", "data", "recipe") as found:
        yield found


@pytest.fixture(scope="module")
def spoken(sources):
    return sources[0].keywords(TESTED, seed=1)


@pytest.fixture(scope="module")
def table(out):
    return example_runs.by_name(out)


def numbers(cell):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", cell)]


def scores(file, sounds):
    """What the file gives for each sound, by Intact's own runner."""
    samples = arrays(sounds).bind(input_specs(read(file)), None)
    (found,) = outputs_of(file, samples, target("mcu").kernels, lambda *_: None).values()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_table_holds_the_accuracy_of_the_written_file(out, table, spoken, name):
    sounds, labels = spoken
    right, low, high = numbers(table[name][0])
    assert right == pytest.approx(100 * np.mean(scores(out / NAMES[name], sounds).argmax(1) == labels), abs=0.006)
    assert low < right < high
    assert right > 50  # of twelve classes: it has learnt


def test_lost_points_are_the_difference_and_the_floor_is_told(out, table):
    right = numbers(table["float"][0])[0]
    for name in list(NAMES)[1:]:
        lost, low, high = numbers(table[name][1])
        assert low <= lost <= high
        assert lost == pytest.approx(right - numbers(table[name][0])[0], abs=0.011)
    assert ("not reproduced" in (out / "table.md").read_text()) == (right < 90)


def test_files_are_as_large_as_the_table_says(out, table):
    for name, file in NAMES.items():
        assert int(table[name][2].replace(",", "")) == (out / file).stat().st_size


@pytest.mark.skipif(not COMPILER, reason="no Arm compiler or emulator here")
def test_what_a_core_takes_is_that_of_the_firmware(out, table):
    made = json.loads((out / "firmware" / "deploy.json").read_text())
    assert made["emulated"]["exact"] == made["emulated"]["samples"] == 50
    activations, _, m3, m4 = (int(cell.replace(",", "")) for cell in table["int8, Intact"][3:])
    assert activations == made["arena"] == 2 * 25 * 5 * 64  # what a convolution reads, and what it writes
    assert m4 == pytest.approx(made["emulated"]["instructions"], rel=0.01)  # another sound
    assert m3 > m4


@pytest.mark.skipif(shutil.which("make") is None or shutil.which("cc") is None, reason="no make and C compiler here")
def test_the_firmware_is_exact_and_the_readme_calls_it_right(out, spoken, tmp_path):
    ran = subprocess.run(["make"], cwd=out / "firmware", capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("5 of 5 exact\n")

    readme = (example_runs.EXAMPLES / "keyword_spotting_mcu" / "README.md").read_text()
    main = "int main(void) { float x[490]; network_init(); while (fread(x, sizeof x, 1, stdin)) putchar(spot(x)); return 0; }"
    (tmp_path / "spot.c").write_text("\n".join(["#include <stdio.h>", re.search(r"```c\n(.*?)```", readme, re.S)[1], main]))
    build = ["cc", "-std=c99", f"-I{out / 'firmware'}", "-o", "spot", "spot.c", out / "firmware" / "network.c", "-lm"]
    subprocess.run(build, cwd=tmp_path, check=True, timeout=120)
    said = subprocess.run([tmp_path / "spot"], input=spoken[0].tobytes(), capture_output=True, check=True, timeout=60).stdout
    assert list(said) == scores(out / "model.tflite", spoken[0]).argmax(1).tolist()


def test_without_a_compiler_nothing_is_made_up(out, spoken, sources, monkeypatch):
    recipe, (sounds, labels) = sources[1], spoken
    monkeypatch.setattr(recipe, "HAS_TOOLS", False)
    fitted = intact.fit(out / "model.tflite").document
    compared = intact.evaluate(out / "model.tflite", (sounds[:24], labels[:24]), against=out / "float.tflite", target="mcu")
    for name, activations in (("int8, Intact", "16,000"), ("float", recipe.UNKNOWN)):
        cells = recipe.row(name, out / NAMES[name], compared, fitted).strip("| ").split(" | ")
        assert cells[4:] == [activations, *[recipe.UNKNOWN] * 3]
    told = recipe.told({"emulated": None, "tflm": {"arena": 30000, "found": "estimate"}}, fitted["boards"])
    assert told.count(recipe.UNKNOWN) == 2
    assert "30,000 bytes, by estimate" in told


def test_features_are_mfccs_by_their_formula(sources):
    """The third frame, sum by sum: magnitudes of a Hann window's spectrum, 40 triangles in mel, logarithm, DCT-II."""
    sound = np.random.default_rng(3).normal(0, 0.1, 16000)
    frame = [x * (0.5 - 0.5 * math.cos(2 * math.pi * i / 480)) for i, x in enumerate(sound[640:1120])]
    spectrum = [abs(sum(x * np.exp(-2j * math.pi * k * i / 512) for i, x in enumerate(frame))) for k in range(257)]
    low, high = (2595 * math.log10(1 + hertz / 700) for hertz in (20, 4000))
    edges = [700 * (10 ** ((low + (high - low) * i / 41) / 2595) - 1) for i in range(42)]
    bands = []
    for start, peak, stop in zip(edges, edges[1:], edges[2:], strict=False):
        share = [max(min((f - start) / (peak - start), (stop - f) / (stop - peak)), 0) for f in np.arange(257) * 31.25]
        bands.append(math.log(sum(s * a for s, a in zip(share, spectrum, strict=True)) + 1e-6))
    first = math.sqrt(1 / 40) * sum(bands)
    others = [
        math.sqrt(2 / 40) * sum(b * math.cos(math.pi * k * (2 * n + 1) / 80) for n, b in enumerate(bands)) for k in range(1, 10)
    ]
    found = sources[0].features(sound)
    assert found.shape == (49, 10, 1)
    np.testing.assert_allclose(found[2, :, 0], [first, *others], rtol=1e-4, atol=1e-4)


def test_sounds_are_of_all_classes_and_within_a_microphone(sources):
    data = sources[0]
    draw = np.random.default_rng(0)
    sounds = [data.recording(draw, label) for label in range(len(data.CLASSES)) for _ in range(5)]
    assert {(sound.shape, sound.dtype) for sound in sounds} == {((16000,), np.dtype(np.float32))}
    assert 0 < np.abs(sounds).max() < 1.5
    assert len(data.CLASSES) == 12

"""Fine-tuning as a run of its own: what it takes, what it refuses, and that ranks and interruptions change no byte."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from nets import images, mobile
from rank_processes import ended, environment, free_port
from remedy_nets import SIDE, noise, planned

import intact
from intact.errors import DataError, OptionError
from intact.formats import tflite
from intact.remedies.finetune import FineTune
from intact.remedies.rounding import LearnedRounding
from intact.run.finetune import other_preprocessing
from intact.simulate.engine import Program

LOSS = """
import os, signal
calls = 0

def squared(made, exact, targets):
    global calls
    calls += 1
    ends = os.environ.get("ENDS") == os.environ.get("RANK") and os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"
    if ends and calls == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    return sum((made[name] - exact[name]).square().mean() for name in made)

def text(made, exact, targets):
    return "no number"

def fails(made, exact, targets):
    return made["no such output"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A float network, samples with its own classes as labels, a run with weights of 4 bits, and losses."""
    path, graph = tmp_path_factory.mktemp("finetune"), mobile(seed=5, side=SIDE)
    (path / "model.tflite").write_bytes(tflite.write(graph))
    x = images(160, 3, SIDE)
    with torch.inference_mode():
        y = next(iter(Program(graph)({graph.input_names[0]: x}).values())).numpy().argmax(-1)
    np.savez(path / "train.npz", x=x[:96], y=y[:96])
    np.savez(path / "test.npz", x=x[96:], y=y[96:])
    run = intact.quantize(path / "model.tflite", path / "train.npz", evaluation=path / "test.npz", scheme="w4a8", remedies=())
    run.save_run(path / "run")
    (path / "loss.py").write_text(LOSS)
    return path


def tuned(place, **options):
    given = {"plan": place / "run", "evaluation": place / "test.npz", "epochs": 2, "batch": 16, "measure": False, **options}
    return intact.finetune(place / "model.tflite", place / "train.npz", **given)


def command(folder, out, *options):
    given = ("--plan", folder / "run", "--data", folder / "train.npz", "--eval", folder / "test.npz", "--batch", 16)
    return ["-m", "intact", "finetune", folder / "model.tflite", *given, "--out", out, "--no-details", *options]


def test_a_run_is_trained_measured_and_written_as_any_other(folder, tmp_path):
    made = tuned(folder, folder=tmp_path / "tuned", measure=True)
    assert made.reading("file size").measurement.value == len(made.model)
    assert made.plan.remedied.names == ("finetune",)
    assert made.plan.remedied.samples == 96
    assert any("fine-tuned for 2 epochs on 96 samples and their labels" in step for step in made.steps)
    document = json.loads((tmp_path / "tuned" / "result.json").read_text())
    assert document["samples"]["calibration"]["n"] == 96
    assert "few-calibration-samples" not in {f["kind"] for f in document["findings"]}
    assert "training" in json.loads((tmp_path / "tuned" / "job.json").read_text())
    assert "fine-tuned" in intact.report(tmp_path / "tuned", tmp_path / "page.html").read_text()
    replayed = intact.quantize(
        folder / "model.tflite", folder / "train.npz", plan=tmp_path / "tuned" / "plan.json", measure=False
    )
    assert replayed.model == made.model == (tmp_path / "tuned" / "model.tflite").read_bytes()
    assert made.model != (folder / "run" / "model.tflite").read_bytes()
    again = tuned(folder, plan=made)
    assert again.plan.remedied.names == ("finetune", "finetune")


def test_a_rate_of_nothing_changes_nothing(folder):
    assert tuned(folder, rate=0.0).model == (folder / "run" / "model.tflite").read_bytes()


def test_training_brings_the_outputs_nearer():
    network, samples, context = planned(scheme="w4a8", weights="per-tensor")
    made = FineTune(epochs=4, batch=16, longer=1).apply(network, samples, context)
    assert noise(made, samples) < 0.7 * noise(network, samples)
    half = FineTune(epochs=4, batch=16, longer=1, precision="bfloat16").apply(network, samples, context)
    assert noise(half, samples) < noise(network, samples)
    assert tflite.write(half.integer()) != tflite.write(made.integer())


def test_steps_end_it_before_the_epochs(folder):
    (said,) = (step for step in tuned(folder, epochs=50, steps=3).steps if "fine-tuned" in step)
    assert said.startswith("fine-tuned for 0.5 epochs")  # 86 samples train, of 96, in steps of 16


def test_roundings_are_learned_before_the_training(folder, tmp_path):
    """A rate of 0 leaves what the roundings made."""
    typed = command(folder, tmp_path / "out", "--learn-rounding", "--rate", 0, "--epochs", 1)
    subprocess.run([sys.executable, *map(str, typed)], check=True, capture_output=True)
    steps = json.loads((tmp_path / "out" / "result.json").read_text())["steps"]
    assert [step.split()[0] for step in steps if "how to round" in step or "fine-tuned" in step] == ["learned", "fine-tuned"]
    learned = (tmp_path / "out" / "model.tflite").read_bytes()
    assert learned == tuned(folder, learn_rounding=True, rate=0.0, epochs=1).model
    assert learned != (folder / "run" / "model.tflite").read_bytes()


def test_a_loss_of_the_users_own_is_what_is_learned(folder):
    by_file = tuned(folder, loss=f"{folder / 'loss.py'}:squared")
    assert any("by loss.py:squared" in step for step in by_file.steps)

    def squared(made, exact, targets):
        assert targets.shape == (len(next(iter(made.values()))),)
        return sum((made[name] - exact[name]).square().mean() for name in made)

    assert tuned(folder, loss=squared).model == by_file.model != tuned(folder).model


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"batch": 3}, OptionError, "type --parts 3 or less"),
        ({"epochs": 0}, OptionError, "--epochs 0 must be at least 1"),
        ({"rate": -1.0}, OptionError, "--rate -1 must be at least 0"),
        ({"label_weight": 2.0}, OptionError, "--label-weight 2 must be from 0"),
        ({"precision": "float8"}, OptionError, "type --precision with one of: float32, bfloat16"),
        ({"loss": "loss.txt"}, OptionError, "such as --loss loss.py:my_loss"),
        ({"loss": "nowhere.py:f"}, OptionError, "nowhere.py: no such file"),
        ({"loss": 3}, OptionError, "not 3"),
        ({"plan": 3}, OptionError, "not int"),
        ({"plan": "nowhere"}, OptionError, "give --plan a plan.json from a run folder"),
        ({"loss": lambda *_: 0.0, "label_weight": 0.5}, OptionError, "leave it out, or --loss"),
    ],
)
def test_what_cannot_be_is_refused(folder, options, error, said):
    with pytest.raises(error, match=said):
        tuned(folder, **options)


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing", "has no function 'missing'"), ("text", "gave str; return a tensor"), ("fails", "failed: KeyError")],
)
def test_a_loss_that_is_none_is_named(folder, name, said):
    with pytest.raises(OptionError, match=said):
        tuned(folder, loss=f"{folder / 'loss.py'}:{name}")


def test_a_plan_of_floats_is_refused(folder):
    plan = intact.quantize(folder / "model.tflite", folder / "train.npz", scheme="float16", measure=False).plan
    with pytest.raises(OptionError, match="computes in float"):
        tuned(folder, plan=plan)
    with pytest.raises(DataError, match="no such file"):
        intact.finetune(folder / "model.tflite", folder / "none.npz", plan=folder / "run")


def test_samples_are_read_a_part_at_a_time():
    network, samples, context = planned(scheme="w4a8")
    sizes, fetch = [], samples.source.fetch

    class Counting(type(samples.source)):
        def fetch(self, indices):
            sizes.append(len(indices))
            return fetch(indices)

    object.__setattr__(samples.source, "__class__", Counting)
    FineTune(epochs=1, batch=16).apply(network, samples, context)
    assert max(sizes) == 4
    assert sum(sizes) >= 96


def test_an_epoch_that_was_interrupted_goes_on_at_its_last_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("intact.remedies.finetune._UNSAVED", 0.0)
    network, samples, context = planned(scheme="w4a8")
    how = FineTune(epochs=3, batch=16)
    whole, steps = how.apply(network, samples, context), []

    def stop(_name, done, _total):
        steps.append(done)
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        how.apply(network, samples, replace(context, folder=tmp_path, progress=stop))
    assert len(steps) == 10
    del steps[:]
    on = replace(context, folder=tmp_path, progress=lambda _name, done, _total: steps.append(done))
    resumed = how.apply(network, samples, on)
    assert steps[0] == 9  # six steps an epoch: the third of the second one
    assert tflite.write(resumed.integer()) == tflite.write(whole.integer())


LEARNS = """
import hashlib, os, sys
from dataclasses import replace
import numpy as np
from remedy_nets import planned
import intact.remedies.rounding as rounding
from intact.formats import tflite
from intact.remedies.finetune import FineTune
from intact.remedies.rounding import LearnedRounding
from intact.run.finetune import other_preprocessing
from intact.simulate.ranks import joined
rounding._WORTH_SPLITTING = 0
rank, ports = int(os.environ["RANK"]), sys.argv[1:]
for size, port in zip((4, 2), ports):
    if rank < size:
        os.environ.update(WORLD_SIZE=str(size), MASTER_PORT=port)
        with joined(120.0) as ranks:
            network, samples, context = planned(scheme="w4a8")
            context = replace(context, ranks=ranks)
            for remedy in (LearnedRounding(steps=5), FineTune(epochs=1, batch=18, longer=1)):
                network = remedy.apply(network, samples, context)
                print(hashlib.sha256(tflite.write(network.integer())).hexdigest(), flush=True)
            ranks.same_status(0)
"""


def test_any_number_of_ranks_learns_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("intact.remedies.rounding._WORTH_SPLITTING", 0)
    network, samples, context = planned(scheme="w4a8")
    alone = []
    for remedy in (LearnedRounding(steps=5), FineTune(epochs=1, batch=18, longer=1)):
        network = remedy.apply(network, samples, context)
        alone.append(hashlib.sha256(tflite.write(network.integer())).hexdigest())
    assert alone[0] != alone[1]
    ports = free_port(), free_port()
    found = ended([["-c", LEARNS, *ports]] * 4, tmp_path)
    assert [code for code, _, _ in found] == [0] * 4, found
    assert [said.split() for _, said, _ in found] == [alone * 2] * 2 + [alone] * 2


def test_ranks_that_were_given_other_options_end_with_one_sentence(folder, tmp_path):
    mine, theirs = (command(folder, tmp_path / "out", "--epochs", epochs) for epochs in (2, 3))
    first, second = ended([mine, theirs], tmp_path)
    said = "error: rank 1 disagrees with rank 0: it was started for another job (epochs 3 there, 2 now)\n"
    assert (*first[:2], first[2].lstrip()) == (2, "", said)  # an empty line ends the progress
    assert second == (2, "", "")
    assert not (tmp_path / "out").exists()


def test_torchrun_goes_on_after_a_rank_was_killed_and_ends_in_the_same_bytes(folder, tmp_path):
    loss = f"{folder / 'loss.py'}:squared"
    whole = tuned(folder, epochs=3, loss=loss)
    started = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    logs = ["--redirects", "3", "--log-dir", str(tmp_path / "logs")]
    run = command(folder, tmp_path / "out", "--epochs", 3, "--loss", loss)
    env = {name: value for name, value in environment(0, 1, 0).items() if name not in {"RANK", "WORLD_SIZE", "LOCAL_RANK"}}
    typed = [sys.executable, *started, *logs, *map(str, run)]
    ran = subprocess.run(typed, cwd=tmp_path, env={**env, "ENDS": "1"}, capture_output=True, text=True, check=False)
    said = {f"{p.parts[-3]} {p.parts[-2]} {p.stem}": p.read_text() for p in (tmp_path / "logs").rglob("*.log")}
    ends = (
        "another rank has died",
        "interrupted; the same command goes on",
    )  # which comes first, the loss or torchrun's SIGTERM
    assert any(words in said["attempt_0 0 stderr"] for words in ends), (said, ran.stderr)
    assert (tmp_path / "out" / "model.tflite").read_bytes() == whole.model
    assert "model.tflite is the model" in said["attempt_1 0 stdout"]
    assert said["attempt_1 1 stdout"] == said["attempt_1 1 stderr"] == ""


def test_images_that_are_read_otherwise_than_before_are_noted(folder, tmp_path):
    asked = json.loads((folder / "run" / "job.json").read_text())["preprocessing"]
    assert not other_preprocessing(folder / "run", asked)
    assert not other_preprocessing(tmp_path / "plan.json", asked)
    assert "pixels [0.0, 1.0] there, [-1, 1] now" in other_preprocessing(folder / "run", {**asked, "pixels": [-1, 1]})

"""A planted fault is named, with its op and what to do."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from images import image_folder
from nets import images, mobile
from remedy_nets import chain, planned, rescaled_channels
from typer.testing import CliRunner

import intact
from intact.cli.app import app
from intact.diagnosis.diagnose import diagnose
from intact.formats import tflite
from intact.network.graph import short_name

RUN = CliRunner()


def test_one_channel_a_thousand_times_too_large_is_named():
    network, samples, _ = planned(rescaled_channels(chain(), np.float32([1, 1, 1000, 1, 1, 1, 1, 1])))
    found = diagnose(network, samples)
    assert found.ops[0].op.startswith("CONV_2D 'x3'")
    first = str(found.symptoms[0])
    assert first.startswith("CONV_2D 'x3': channel 2 is ")
    assert "--remedies equalize" in first
    assert all(row.spared is not None and row.spared <= 1 for row in found.ops)
    dbs = {row.op: (row.runtime, row.own) for row in found.activations}
    inherited, own = dbs["DEPTHWISE_CONV_2D 'x6'"]
    assert inherited < own - 10, "the next op only shows what was lost before it"


def test_dead_channels_are_counted():
    net = chain()
    w, b = net[1].data.copy(), net[2].data.copy()
    w[:4], b[:4] = 0, -1
    dead = replace(net, tensors={**net.tensors, 1: replace(net[1], data=w), 2: replace(net[2], data=b)})
    network, samples, _ = planned(dead)
    assert any("x3': 4 of 8 channels are always 0" in str(s) for s in diagnose(network, samples).symptoms)


def test_a_sound_network_has_nothing_to_complain_of():
    network, samples, _ = planned()
    assert diagnose(network, samples).symptoms == ()


def test_the_wrong_pixel_range_is_named_with_the_right_one():
    net = mobile(seed=2, side=16)
    right = images(400, 4, 16)
    wrong = (right + 1) / 2  # 0..1 for a network that wants -1..1
    labels, seen = (classes(net, x) for x in (right, wrong))
    differ = labels != seen
    assert differ.sum() > 20
    data = intact.data.arrays(wrong[differ], labels[differ]).bind(intact.data.input_specs(net), 4)
    network, _, _ = planned(net)
    (symptom,) = diagnose(network, data).symptoms
    assert symptom.where == "input"
    assert "right on 0.0 % of the samples, below chance for 4 classes" in symptom.what
    assert symptom.advice.endswith("scaled from 0..1 to -1..1 it is right on 100.0 %")


def classes(net, x):
    with torch.inference_mode():
        return next(iter(intact.Program(net)({"image": x}).values())).numpy().argmax(-1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("diagnose")
    (path / "net.tflite").write_bytes(tflite.write(mobile(side=16)))
    image_folder(path / "photos", ("a", "b", "c", "d"), per_class=8)
    return path


def test_the_command(folder):
    ran = RUN.invoke(app, ["diagnose", str(folder / "net.tflite"), "--data", str(folder / "photos"), "--json"])
    assert ran.exit_code == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["schema"] == "intact-diagnosis/1"
    assert sum(op["share"] for op in document["ops"]) == pytest.approx(1.0)
    rows = {row["output"]: row for row in document["activations"]}
    assert {op["output"] for op in document["ops"]} <= rows.keys()
    assert all(row["runtime"] > 15 and abs(row["runtime"] - row["simulated"]) < 3 for row in rows.values())
    shown = RUN.invoke(app, ["diagnose", str(folder / "net.tflite"), "--data", str(folder / "photos")])
    assert re.match(r"of the noise +without it +simulated +runtime +op alone +op", shown.stdout)
    assert " dB" in shown.stdout
    refused = RUN.invoke(app, ["diagnose", str(folder / "net.tflite"), "--data", str(folder / "photos"), "--scheme", "float16"])
    assert refused.exit_code == 2
    assert "type --scheme with one of: int8, w4a8, int16x8" in refused.stderr


def test_names_are_readable():
    assert short_name("stem/relu") == "stem/relu"
    assert short_name("a" * 500 + "/stem") == "…" + "a" * 59 + "/stem"

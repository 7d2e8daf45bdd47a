"""Node data for Model Explorer: one file a figure, keyed so that it finds the ops of the file."""

import json

from nets import images, mobile

import intact
from intact.report.node_data import FIGURES, figures


def op(name, **figures):
    return {"name": name, **{field: None for _, field, *_ in FIGURES}, "bytes": 0, **figures}


def test_a_file_for_each_figure_that_there_is():
    made = figures({"ops": [op("a", noise_share=0.25, bytes=12), op("b", noise_share=0.75, sqnr_runtime="inf")]})
    assert list(made) == ["noise", "size"]
    noise = json.loads(made["noise"])
    assert noise["results"] == {"a": {"value": 0.25}, "b": {"value": 0.75}}
    assert [stop["stop"] for stop in noise["gradient"]] == [0, 1]
    assert all(len(stop["bgColor"]) == 7 for stop in noise["gradient"])
    assert noise["name"] == "Intact: share of the noise"
    assert json.loads(made["size"])["results"]["a"] == {"value": 12}


def test_ops_whose_tensors_share_a_name_go_by_their_place():
    made = figures({"ops": [op("a", bytes=1), op("a", bytes=2), op("", bytes=3), op("c", bytes=4)]})
    assert json.loads(made["size"])["results"] == {str(n): {"value": n + 1} for n in range(3)} | {"c": {"value": 4}}


def test_less_signal_to_noise_is_darker():
    made = figures({"ops": [op("a", sqnr_runtime=30.5, ms=1.5)]})
    ends = {name: [stop["bgColor"] for stop in json.loads(text)["gradient"]] for name, text in made.items()}
    assert ends["sqnr"] == ends["time"][::-1]


def test_the_first_figure_has_the_name_that_was_given(tmp_path):
    found = intact.explore(mobile(), images(8))
    written = found.save_node_data(tmp_path / "nodes.json")
    assert [path.name for path in written] == [
        "nodes.json", "nodes.sqnr.json", "nodes.own-sqnr.json", "nodes.time.json", "nodes.size.json",
    ]  # fmt: skip
    results = json.loads(written[0].read_text())["results"]
    assert set(results) <= {row["name"] for row in found.document["ops"]}
    assert sum(result["value"] for result in results.values()) == 1 or abs(sum(r["value"] for r in results.values()) - 1) < 1e-9

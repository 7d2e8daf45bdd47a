"""What is said of a file with too many bytes: in how few bits its weights would fit, by the bytes that it has."""

from __future__ import annotations

import pytest
from run_documents import measurement

from intact.measure.criteria import Judged, parse
from intact.planning.schemes import scheme as scheme_named
from intact.planning.targets import target as target_named
from intact.report import advice
from intact.report.advice import next_steps

SIZES = (
    measurement("float", "file size", 400_000, "bytes"),
    measurement("quantized", "file size", 110_000, "bytes"),
    measurement("quantized", "bytes of weights", 100_000, "bytes"),
)


def said(text, *, target="mcu", scheme="int8", measurements=SIZES):
    failed = Judged(parse(text), "fail", "too many", 110_000.0).to_json()
    document = {
        "settings": {"scheme": scheme, "target": target}, "measurements": list(measurements), "criteria": [failed],
        "findings": [], "candidates": [], "taken": "",
    }  # fmt: skip
    return next_steps(document, {"ops": [{"op": "CONV_2D 'a'", "bytes": 9, "noise_share": 0.0, "spared": None}]})[0]


@pytest.mark.parametrize(
    ("text", "target", "scheme"),
    [
        ("size <= 60 KB", "mcu", "w4a8"),
        ("size <= 60 KB", "cpu", "w4a8"),
        ("size <= 59 KB", "mcu", "clusters2"),
        ("flash <= 50 KB", "mcu", "clusters2"),
        ("size >= 6x", "cpu", "w4a8"),
        ("size >= 10x", "mcu", "clusters2"),
    ],
)
def test_the_widest_weights_that_fit_are_named(text, target, scheme):
    told = said(text, target=target)
    assert f"100,000 of the file's 110,000 bytes are weights, and --scheme {scheme} stores them in " in told
    assert told.startswith(f"{text} fails: ")


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("size <= 59 KB", {"target": "cpu"}),
        ("size <= 60 KB", {"target": "pytorch"}),
        ("size <= 30 KB", {}),
        ("size <= 60 KB", {"scheme": "w4a8"}),
        ("size <= 60 KB", {"measurements": SIZES[:2]}),
    ],
)
def test_nothing_is_said_that_would_not_do(text, others):
    assert "--scheme" not in said(text, **others)


def test_each_target_runs_what_is_named_for_it():
    for name, targets, left in advice._NARROWER:
        assert scheme_named(name).bits == 8 * left
        for target in targets:
            target_named(target).check(name)

"""Accepted, accepted with limitation, or rejected: read off a document alone."""

import pytest

from intact.report.acceptance import LIMITING, acceptance

ROW = {"figure": "size ratio", "of": "difference", "unit": "x", "value": 3.0, "low": None, "high": None, "why": "3.00x"}


def document(*statuses, findings=(), candidates=(), taken=None):
    criteria = [{**ROW, "criterion": f"size >= {n}x", "status": status} for n, status in enumerate(statuses, 1)]
    return {"criteria": criteria, "findings": list(findings), "candidates": list(candidates), "taken": taken}


def found(kind, message="something"):
    return {"kind": kind, "message": message}


@pytest.mark.parametrize(
    ("statuses", "kinds", "status", "limits"),
    [
        (("pass", "pass"), (), "accepted", 0),
        (("pass",), ("what helps", "inconclusive", "stretched"), "accepted", 0),
        (("pass", "inconclusive"), (), "accepted with limitation", 1),
        (("pass",), ("low fidelity", "float ops"), "accepted with limitation", 2),
        (("pass", "fail", "inconclusive"), ("low fidelity",), "rejected", 2),
    ],
)
def test_criteria_and_findings_decide(statuses, kinds, status, limits):
    said = acceptance(document(*statuses, findings=map(found, kinds)), [{"file": "a", "sha256": "b", "bytes": 1}])
    assert (said["status"], len(said["limitations"])) == (status, limits)
    assert said["why"].startswith(status.capitalize() + ": ")
    assert said["deliverables"] == [{"file": "a", "sha256": "b", "bytes": 1}]


def test_nothing_asked_is_nothing_accepted():
    assert acceptance(document(), []) is None
    assert acceptance({}, []) is None


def test_a_limitation_says_for_which_uses():
    said = acceptance(document("inconclusive", findings=[found("few levels", "output 'y' takes 3 values")]), [])
    assert said["limitations"] == [
        "size >= 1x is open (3.00x): not where this has to be sure",
        f"output 'y' takes 3 values: {LIMITING['few levels']}",
    ]


def test_slower_than_float_limits_nothing_that_is_fast_enough():
    asked = document("pass", findings=[found("slower than float")])
    assert acceptance(asked, [])["status"] == "accepted with limitation"
    asked["criteria"].append({**ROW, "criterion": "latency <= 5 ms", "figure": "latency", "unit": "ms", "status": "pass"})
    assert acceptance(asked, [])["status"] == "accepted"


def candidate(name, loss, size, ms):
    measured = {"name": "accuracy drop", "value": loss, "unit": "percentage points", "n": 200}
    return {"name": name, "why": "it is cheap", "loss": measured, "bytes": size, "latency_ms": ms}


def test_alternatives_are_what_was_tried_and_what_they_would_cost():
    tried = [candidate("a", 3.0, 1000, 1.0), candidate("b", 1.0, 2000, 2.0), candidate("c", 1.0, 2000, 2.02)]
    said = acceptance(document("pass", candidates=tried, taken="b"), [])
    assert said["alternatives"] == [
        {
            "what": "a, tried as it is cheap",
            "would cost": "2.00 points more lost, 1.00 KB less, 1.00 ms faster on 200 selection samples",
        },
        {"what": "c, tried as it is cheap", "would cost": "nothing that was measured on 200 selection samples"},
    ]
    assert acceptance(document("pass", candidates=tried, taken=None), [])["alternatives"] == []

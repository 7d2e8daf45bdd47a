"""Fixtures that several test modules use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from annotations import check_annotations

check_annotations()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real models and data that developers have; users' machines do not, so tests skip without it."""
    path = Path(os.environ.get("INTACT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (path / "models").is_dir():
        pytest.skip(f"no shared models and data at {path} (set INTACT_SHARED to their folder)")
    return path


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less time for what measures and tries by the clock, for tests of everything else of a run."""
    monkeypatch.setattr("intact.measure.figures._LATENCY_SECONDS", 1.0)
    monkeypatch.setattr("intact.run.helps._SECONDS", 3.0)

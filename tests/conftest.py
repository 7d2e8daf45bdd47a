"""Fixtures that several test modules use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotations import check_annotations

check_annotations()  # before anything of intact is imported

import hypothesis  # noqa: E402
from browsing import Browser, browsing  # noqa: E402
from checked_rewrites import checked, checked_lowerings  # noqa: E402

from intact.rewrite import clean, lowerings  # noqa: E402

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def verified_rewrites() -> Iterator[None]:
    """Every rewrite and every lowering that applies is followed by :func:`~intact.network.verify.verify`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clean, "REWRITES", checked(clean.REWRITES))
        patch.setattr(lowerings, "REWRITES", checked(lowerings.REWRITES))
        patch.setattr(lowerings, "LOWERINGS", checked_lowerings(lowerings.LOWERINGS))
        yield


@pytest.fixture(scope="session", autouse=True)
def make_of_its_own() -> Iterator[None]:
    """A test that runs ``make`` runs it as a user does, not as a part of the ``make test`` that it may stand in."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real models and data that developers have; users' machines do not, so tests skip without it."""
    path = Path(os.environ.get("INTACT_SHARED", Path(__file__).parents[2] / "shared"))
    if not (path / "models").is_dir():
        pytest.skip(f"no shared models and data at {path} (set INTACT_SHARED to their folder)")
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium, for pages that stand alone: ``with browser.open(path, width=380) as (page, faults): …``."""
    with browsing() as chromium:
        yield chromium


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less time for what measures and tries by the clock, for tests of everything else of a run."""
    monkeypatch.setattr("intact.measure.figures._LATENCY_SECONDS", 1.0)
    monkeypatch.setattr("intact.run.advice._SECONDS", 3.0)

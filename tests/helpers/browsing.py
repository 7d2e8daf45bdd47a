"""A page in headless Chromium: it is opened from disk, and whatever it asks for elsewhere or complains of is kept.

Chromium comes from the system (``apt-get install chromium``); nothing is downloaded.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

#: What a page that stands alone may ask for.
OWN = ("file:", "data:", "blob:", "about:")


class Opened(NamedTuple):
    """A page (Playwright's) and what it complained of so far."""

    page: Any
    faults: list[str]


class Browser:
    """One Chromium; every page gets a context of its own, and must be without fault when it is closed."""

    def __init__(self, chromium: Any) -> None:
        self.chromium = chromium

    @contextmanager
    def open(
        self, path: Path, width: int = 1280, height: int = 900, *, faults: bool = False, whole: bool = True, **context: Any
    ) -> Iterator[Opened]:
        """``path`` in a window, once all that waits until it has been seen is in its place, or at once if it need not be
        ``whole``; ``context`` is Playwright's, such as ``color_scheme="dark"``. Errors of the console and of scripts, breaches
        of the security policy and requests to anywhere fail the test at the end, unless faults are wanted.
        """
        held = self.chromium.new_context(viewport={"width": width, "height": height}, **context)
        found: list[str] = []
        try:
            page = held.new_page()
            page.set_default_timeout(20_000)
            page.on("console", lambda said: said.type in ("error", "warning") and found.append(f"{said.type}: {said.text}"))
            page.on("pageerror", lambda error: found.append(f"script: {error}"))
            page.on("request", lambda request: request.url.startswith(OWN) or found.append(f"request: {request.url}"))
            page.goto(Path(path).resolve().as_uri())
            if whole and context.get("java_script_enabled", True):
                page.wait_for_selector("noscript[data-later], script[data-packed]", state="detached")
            yield Opened(page, found)
        finally:
            held.close()
        assert faults or not found, found


@contextmanager
def browsing() -> Iterator[Browser]:
    """A browser that closes itself; skips where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright; type pip install playwright")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium; type apt-get install chromium")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield Browser(chromium)
        finally:
            chromium.close()

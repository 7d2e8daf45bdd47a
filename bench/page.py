"""How long a page takes: to make, to be seen, and to answer. ``python bench/page.py RUN``, the folder of a finished run.

Chromium is the system's (apt-get install chromium), driven by playwright. Times in the browser are of several pages. How soon
a page is seen depends on the machine and on what else it does: an empty page is opened before each, and stands beside. Exits
with 1 when an aim is missed: first paint within 100 ms in the median, every interaction within 100 ms, made within 5 s, at
most 2 MB. What is seen first is the verdict; when the rest of the first screen was, is told beside.
"""

import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from intact.run.documents import read
from intact.run.report import page_of

PAGES = 9
#: Milliseconds within which a page is to be seen and to answer.
SOON = 100
#: A page with nothing to do: what it takes is the browser's and the machine's.
EMPTY = "<!doctype html><html lang=en><meta charset=utf-8><title>Empty</title><p>Empty"
#: Milliseconds from a click to the frame that shows what it did.
ANSWER = """async ([selector, event]) => {
  const element = document.querySelector(selector), began = performance.now();
  if (event === "click") element.click();
  else { if (element.tagName === "SELECT") element.selectedIndex = (element.selectedIndex + 7) % element.options.length;
    else element.checked = !element.checked; element.dispatchEvent(new Event("change", { bubbles: true })); }
  await new Promise((seen) => requestAnimationFrame(() => setTimeout(seen)));
  return performance.now() - began;
}"""
#: When the first frame with content was seen, however long ago.
SEEN = """new Promise((seen) => new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (entry.name === "first-contentful-paint") seen(entry.startTime);
}).observe({ type: "paint", buffered: true }))"""
#: When the four answers below the verdict were seen too.
WHOLE = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  while (!document.querySelector(".first")) await frame();
  await frame();
  await new Promise((seen) => setTimeout(seen));
  return performance.now();
}"""
INTERACTIONS = {
    "another tensor's histogram": ("#tensor", "change"),
    "counts by powers of ten": ("#log", "change"),
    "other bars": ("input[name=op-figure][value=ms]", "change"),
    "a table sorted": ("#ops thead button", "click"),
    "a table unfolded": ("#ops button.unfold", "click"),
}


def first_paint(page: Page) -> float:
    """Milliseconds from the navigation to the first frame with content in it."""
    return float(page.evaluate(SEEN))


def paints(browser: Browser, path: Path, pages: int = PAGES) -> tuple[list[float], list[float]]:
    """First paints of an empty page and of ``path``, opened in turn."""
    empty = path.with_name("empty.html")
    empty.write_text(EMPTY)
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(pages):
        for file, times in zip((empty, path), found, strict=True):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(file.as_uri(), wait_until="commit")
            times.append(first_paint(page))
            page.close()
    return found


def spread(times: list[float]) -> str:
    """``median 18, 95 % within 40, most 47 ms``."""
    return f"median {np.median(times):.0f}, 95 % within {np.quantile(times, 0.95):.0f}, most {max(times):.0f} ms"


@dataclass
class Aims:
    """What was measured against what it must reach."""

    missed: list[str] = field(default_factory=list)

    def judge(self, name: str, value: float, most: float, unit: str = "ms") -> None:
        """Takes down ``name`` when ``value`` is over ``most``."""
        if value > most:
            self.missed.append(f"{name}: {value:,.0f} {unit}, the aim is {most:,.0f}")

    def exit(self) -> NoReturn:
        """Says which aims were missed, and exits with 1 then."""
        for line in self.missed:
            print(f"missed: {line}")
        sys.exit(bool(self.missed))


def told(empty: list[float], own: list[float]) -> str:
    """Both, and what the page adds to an empty one, pair by pair."""
    more = [b - a for a, b in zip(empty, own, strict=True)]
    return (
        f"first paint: {spread(own)} (least {min(own):.0f}); of an empty page {spread(empty)} (least {min(empty):.0f});"
        f" {statistics.median(more):.0f} ms more,"
        f" {statistics.median(own) / statistics.median(empty):.1f} times as long; of {len(own)} pairs"
    )


def look(browser: Browser, path: Path) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(
        "window.long = []; new PerformanceObserver(list => long.push(...list.getEntries().map(e => e.duration)))"
        ".observe({ type: 'longtask', buffered: true })"
    )
    page.goto(path.as_uri(), wait_until="commit")
    whole = page.evaluate(WHOLE)
    page.wait_for_selector("html[data-drawn=yes]", state="attached")
    found = {
        "the first screen whole": whole,
        "all charts drawn": page.evaluate("performance.now()"),
        "longest task while drawing": max(page.evaluate("window.long"), default=0.0),
    }
    found |= {name: page.evaluate(ANSWER, list(how)) for name, how in INTERACTIONS.items()}
    page.close()
    return found


def main() -> None:
    folder = Path(sys.argv[1])
    began = time.perf_counter()
    text = page_of(read(folder))
    made, size, aims = time.perf_counter() - began, len(text.encode()), Aims()
    print(f"made in {made:.2f} s, {size:,} bytes")
    aims.judge("making the page", made, 5, "s")
    aims.judge("the page's size", size, 2_000_000, "bytes")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        path = Path(place) / "page.html"
        path.write_text(text)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        empty, own = paints(browser, path)
        print(told(empty, own))
        aims.judge("first paint, median", statistics.median(own), SOON)
        seen = [look(browser, path) for _ in range(PAGES)]
        print(f"Chromium {browser.version}, {PAGES} pages:")
        browser.close()
    for name in seen[0]:
        times = [one[name] for one in seen]
        print(f"  {name:<28} {spread(times)}")
        if name in INTERACTIONS:
            aims.judge(name, max(times), SOON)
    aims.exit()


if __name__ == "__main__":
    main()

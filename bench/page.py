"""How long a page takes: to make, to be seen, and to answer. ``python bench/page.py RUN``, the folder of a finished run.

Chromium is the system's (apt-get install chromium), driven by playwright. Times in the browser are medians of several pages.
How soon a page is seen depends on the machine and on what else it does: an empty page is opened before each, and stands beside.
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from intact.run.documents import read
from intact.run.report import page_of

PAGES = 9
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


def told(empty: list[float], own: list[float]) -> str:
    """Both, and what the page adds to an empty one, pair by pair."""
    more = [b - a for a, b in zip(empty, own, strict=True)]
    return (
        f"first paint: median {statistics.median(own):.0f} ms (least {min(own):.0f}); of an empty page"
        f" {statistics.median(empty):.0f} ms ({min(empty):.0f}); {statistics.median(more):.0f} ms more,"
        f" {statistics.median(own) / statistics.median(empty):.1f} times as long; of {len(own)} pairs"
    )


def look(browser: Browser, path: Path) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(
        "window.long = []; new PerformanceObserver(list => long.push(...list.getEntries().map(e => e.duration)))"
        ".observe({ type: 'longtask', buffered: true })"
    )
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn=yes]", state="attached")
    found = {
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
    print(f"made in {time.perf_counter() - began:.2f} s, {len(text.encode()):,} bytes")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        path = Path(place) / "page.html"
        path.write_text(text)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        print(told(*paints(browser, path)))
        seen = [look(browser, path) for _ in range(PAGES)]
        print(f"Chromium {browser.version}, median (largest) of {PAGES}, ms:")
        browser.close()
    for name in seen[0]:
        times = [one[name] for one in seen]
        print(f"  {name:<28} {statistics.median(times):7.1f} ({max(times):.1f})")


if __name__ == "__main__":
    main()

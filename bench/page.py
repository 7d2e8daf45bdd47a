"""How long a page takes: to make, to be seen, and to answer. ``python bench/page.py RUN``, the folder of a finished run.

Chromium is the system's (apt-get install chromium), driven by playwright. Times in the browser are medians of several pages.
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from intact.run.documents import read
from intact.run.report import page_of

PAGES = 5
#: Milliseconds from a click to the frame that shows what it did.
ANSWER = """async ([selector, event]) => {
  const element = document.querySelector(selector), began = performance.now();
  if (event === "click") element.click();
  else { if (element.tagName === "SELECT") element.selectedIndex = (element.selectedIndex + 7) % element.options.length;
    else element.checked = !element.checked; element.dispatchEvent(new Event("change", { bubbles: true })); }
  await new Promise((seen) => requestAnimationFrame(() => setTimeout(seen)));
  return performance.now() - began;
}"""
INTERACTIONS = {
    "another tensor's histogram": ("#tensor", "change"),
    "counts by powers of ten": ("#log", "change"),
    "other bars": ("input[name=op-figure][value=ms]", "change"),
    "a table sorted": ("#ops thead button", "click"),
    "a table unfolded": ("#ops button.unfold", "click"),
}


def look(browser: Browser, path: Path) -> dict[str, float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(
        "window.long = []; new PerformanceObserver(list => long.push(...list.getEntries().map(e => e.duration)))"
        ".observe({ type: 'longtask', buffered: true })"
    )
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-drawn=yes]", state="attached")
    found = {
        "first paint": page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"),
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
        seen = [look(browser, path) for _ in range(PAGES)]
        print(f"Chromium {browser.version}, median (largest) of {PAGES}, ms:")
        browser.close()
    for name in seen[0]:
        times = [one[name] for one in seen]
        print(f"  {name:<28} {statistics.median(times):7.1f} ({max(times):.1f})")


if __name__ == "__main__":
    main()

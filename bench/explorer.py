"""How fast the explorer's page answers, in headless Chromium, on any model file.

    python bench/explorer.py shared/models/mobilenet_v2_cifar10.tflite

First paint, beside that of an empty page; every tensor opened for the first time, then with other choices, from the input to
the last chart drawn; the whole model with each of several choices; and the longest task of the page itself meanwhile
(PerformanceObserver, tasks of 50 ms and more). Tensors beyond ``--tensors`` are left out, the largest stay. Exits with 1 when
an aim is missed: first paint within 100 ms in the median, every answer for one tensor within 100 ms; the whole model within
3 s, with no task of the page over 50 ms meanwhile.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import intact
from page import SOON, Aims, paints, spread, told

ROOT = "[data-explorer]"
WATCH = """window.tasks = []; new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.tasks.push(task.duration);
}).observe({ type: "longtask", buffered: true });"""
#: What is chosen for each tensor, one after the other.
CHOICES: tuple[dict[str, str], ...] = (
    {"bits": "4"},
    {"symmetric": "asymmetric"},
    {"ranges": "mse"},
    {"granularity": "tensor"},
    {"ranges": "percentile"},
    {"levels": "kmeans"},
    {"bits": "8"},
    {"granularity": "channel"},
    {"ranges": "minmax", "levels": "linear", "symmetric": "symmetric"},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--tensors", type=int, default=12)
    options = parser.parse_args()
    started = time.perf_counter()
    explored = intact.explore(options.model)
    rows = [row for row in explored.document["tensors"] if row["role"] == "weight" and row["held"]]
    with tempfile.TemporaryDirectory() as folder:
        path = explored.save(Path(folder) / "explorer.html")
        print(f"{path.stat().st_size / 1e6:.2f} MB, written {time.perf_counter() - started:.1f} s after the start")
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            aims = Aims()
            empty, own = paints(chromium, path)
            print(told(empty, own))
            aims.judge("first paint, median", statistics.median(own), SOON)
            page = chromium.new_page(viewport={"width": 1280, "height": 900})
            page.add_init_script(WATCH)
            page.goto(path.as_uri())
            page.wait_for_selector(f"{ROOT}[data-ex-model]")
            graph = float(page.get_attribute(ROOT, "data-ex-graph-ms") or "nan")
            print(f"{len(explored.document['ops'])} ops drawn in {graph:.0f} ms")
            print(f"longest task while it loads {longest(page):.0f} ms")
            tensors(page, sorted(rows, key=lambda row: -row["count"])[: options.tensors], aims)
            whole(page, aims)
            chromium.close()
    aims.exit()


def longest(page: Any) -> float:
    return max(page.evaluate("window.tasks.splice(0)"), default=0.0)


def quiet(page: Any) -> None:
    """Until the whole model has been counted for what was chosen last."""
    page.wait_for_timeout(200)
    ticket = page.evaluate(f"document.querySelector('{ROOT}').explorer.state.modelTicket")
    page.wait_for_selector(f'{ROOT}[data-ex-model="{ticket}"]')


def choose(page: Any, options: dict[str, str]) -> tuple[float, float]:
    """Milliseconds to the last chart, and to the sums over all channels of the tensor."""
    for name, value in options.items():
        control = page.locator(f'[data-ex="{name}"]')
        control.fill(value) if name == "bits" else control.select_option(value)
    ticket = page.evaluate(f"document.querySelector('{ROOT}').explorer.state.ticket")
    page.wait_for_selector(f'{ROOT}[data-ex-shown="{ticket}"][data-ex-sums="{ticket}"]')
    shown, sums = (page.get_attribute(ROOT, name) for name in ("data-ex-ms", "data-ex-sums-ms"))
    return float(shown), float(sums)


def tensors(page: Any, rows: list[dict[str, Any]], aims: Aims) -> None:
    """Each tensor opened, then chosen otherwise; the whole model is counted first, so that nothing runs beside."""
    first, then, sums = [], [], []
    for row in rows:
        shown, added = choose(page, {"tensor": str(row["id"])})
        first.append(shown)
        sums.append(added)
        for options in CHOICES:
            shown, added = choose(page, options)
            then.append(shown)
            sums.append(added)
            quiet(page)
    for name, values in (("opened for the first time", first), ("another choice", then), ("all channels summed", sums)):
        print(f"{name}: {spread(values)}")
        aims.judge(name, max(values), SOON)
    print(f"longest task of the page meanwhile {longest(page):.0f} ms")


def whole(page: Any, aims: Aims) -> None:
    for options in CHOICES:
        choose(page, options)
        quiet(page)
        took = float(page.get_attribute(ROOT, "data-ex-model-ms"))
        name, task = f"whole model, {', '.join(options.values())}", longest(page)
        print(f"{name}: {took:.0f} ms; longest task {task:.0f} ms")
        aims.judge(name, took, 3000)
        aims.judge(f"longest task of the page, {name}", task, 50)


if __name__ == "__main__":
    main()

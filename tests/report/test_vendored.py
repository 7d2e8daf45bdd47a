"""The files of others are the ones that were published, and what is said of them is true."""

import re
from hashlib import sha256
from pathlib import Path

import intact

STATIC = Path(intact.__file__).parent / "report" / "static"
ROW = re.compile(r"^\| `(\S+)` \|.*\| ([\d,]+) \| `([0-9a-f]{64})` \| \w+, `(\S+)` \|$", re.MULTILINE)
ROWS = ROW.findall((STATIC / "VENDORED.md").read_text())


def test_every_minified_file_is_listed():
    assert {name for name, *_ in ROWS} == {path.name for path in STATIC.glob("*.min.js")}
    assert len(ROWS) == 2


def test_files_are_as_published():
    for name, size, digest, licence in ROWS:
        data = (STATIC / name).read_bytes()
        assert (f"{len(data):,}", sha256(data).hexdigest()) == (size, digest)
        assert "Permission to use, copy, modify" in (STATIC / licence).read_text()


def test_they_can_stand_in_a_script_element():
    for name, *_ in ROWS:
        assert not re.search(r"</script|<!--", (STATIC / name).read_text(), re.IGNORECASE)


def test_charts_are_drawn_without_eval_and_with_one_style(browser, tmp_path):
    scripts = "".join(f"<script nonce='n'>{(STATIC / name).read_text()}</script>" for name in ("d3.min.js", "plot.min.js"))
    (style,) = re.findall(r"`(sha256-\S+)`", (STATIC / "VENDORED.md").read_text())
    policy = f"default-src 'none'; script-src 'nonce-n'; style-src '{style}'"
    draw = "document.body.append(Plot.barY([3, 1, 2]).plot())"
    page = tmp_path / "page.html"
    page.write_text(
        f"<!doctype html><meta charset='utf-8'><meta http-equiv='Content-Security-Policy' content=\"{policy}\">"
        f"<body>{scripts}<script nonce='n'>{draw}</script></body>"
    )
    with browser.open(page) as (shown, _):
        assert shown.locator("svg rect").count() == 3


def test_a_fault_is_seen(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><img src='https://example.invalid/x.png'><script>nowhere()</script>")
    with browser.open(page, faults=True) as (_, faults):
        pass
    assert any(fault.startswith("request: https://example.invalid") for fault in faults)
    assert any("nowhere is not defined" in fault for fault in faults)

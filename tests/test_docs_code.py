"""What the tutorial, the how-to pages and the page on lost accuracy say to type is typed, page by page, in a fresh folder."""

import os
import shutil
from pathlib import Path

import page_blocks
import page_files
import pytest

import intact

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {"tutorial.md": 6, "troubleshooting.md": 7} | {
    f"howto/{name}.md": count
    for name, count in {
        "audio": 3, "detection": 3, "keras": 5, "microcontroller": 3, "onnx": 3, "pytorch": 5, "raspberry_pi": 2,
        "regression": 3, "segmentation": 3, "tflite": 3, "x86": 2,
    }.items()
}  # fmt: skip
#: Reasons for which a block is not executed, by how many blocks have them.
REASONS = {
    "installs packages": 7,
    "needs an Arm compiler and QEMU, which the tests of intact deploy use where they are there": 1,
    "needs a Raspberry Pi": 2,
    "compiles, and needs a C++ compiler": 1,
    "minutes; tests/run has studies of its own": 1,
}
#: What a page needs beyond PyTorch and LiteRT: packages, and programs.
NEEDS = {
    "howto/audio.md": ["keras", "tensorflow", "tflite_micro"],
    "howto/detection.md": ["litert_torch", "yaml"],
    "howto/keras.md": ["keras", "tensorflow"],
    "howto/microcontroller.md": ["tflite_micro"],
    "howto/onnx.md": ["onnx", "onnxruntime"],
    "howto/pytorch.md": ["litert_torch"],
    "howto/regression.md": ["litert_torch"],
    "howto/segmentation.md": ["litert_torch"],
    "howto/x86.md": ["onnx", "onnxruntime"],
    "tutorial.md": ["litert_torch", "sklearn"],
}


def found(page):
    return page_blocks.blocks((DOCS / page).read_text())


@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("bash") is None, reason="the pages are written for bash")
@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_followed(page, tmp_path):
    for name in NEEDS.get(page, []):
        pytest.importorskip(name, reason=f"{name} is not installed (an extra)")
    if page == "howto/microcontroller.md" and not (shutil.which("make") and shutil.which("cc")):
        pytest.skip("the page builds with make and a C compiler")
    page_files.make(tmp_path)
    source = str(Path(intact.__file__).parents[1])
    ran = page_blocks.run(DOCS / page, tmp_path, {**os.environ, "PYTHONPATH": source})
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
    assert ran.stdout.count("--- python\n") + ran.stdout.count("--- sh\n") == PAGES[page]


def test_a_page_ends_at_what_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\nfalse\necho on\n```\n<!-- not executed: it would -->\n```sh\necho left out\n```\n")
    assert [block.reason for block in page_blocks.blocks(page.read_text())] == [None, "it would"]
    ran = page_blocks.run(page, tmp_path, os.environ)
    assert ran.returncode != 0
    assert "\non\n" not in ran.stdout
    page.write_text(
        "```python\na = 1\n```\n```sh\ntouch made\n```\n```python\nassert a == 1\nopen('made')\nprint('end')\n```\n"
    )
    assert page_blocks.run(page, tmp_path, os.environ).stdout.endswith("---\nend\n")


def test_every_howto_is_followed():
    assert {f"howto/{path.name}" for path in (DOCS / "howto").glob("*.md")} == {page for page in PAGES if "/" in page}


def test_blocks_that_are_not_executed_say_why():
    reasons = [block.reason for page in PAGES for block in found(page) if block.reason is not None]
    assert {reason: reasons.count(reason) for reason in reasons} == REASONS
    assert {page: sum(block.reason is None for block in found(page)) for page in PAGES} == PAGES

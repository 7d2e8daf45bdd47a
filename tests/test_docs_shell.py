"""What README and the reference pages say to type in a shell is typed, block by block, in a folder that has what they name."""

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import page_blocks
import pytest
from images import pixels, write_image

import intact

ROOT = Path(__file__).parents[1]
#: How many blocks of each page are typed. docs/data.md's are, by tests/data/test_data_docs.py.
PAGES = {
    "README.md": 6, "docs/criteria.md": 1, "docs/deploy.md": 2, "docs/devices.md": 1,
    "docs/diagnose.md": 1, "docs/explorer.md": 1, "docs/export.md": 1, "docs/finetune.md": 2, "docs/fit.md": 2,
    "docs/inspect.md": 1, "docs/minimize.md": 1, "docs/report.md": 1, "docs/study.md": 1,
}  # fmt: skip
#: Reasons for which a block is not executed, by how many blocks have them.
REASONS = {
    "installs packages": 3,
    "what CI and a newcomer begin with": 1,
    "compiles, and needs a C++ compiler": 1,
    "needs a device": 4,
    "needs a cluster": 1,
    "real photos, and minutes": 1,
    "minutes; tests/run has studies of its own": 1,
}
#: What a page needs beyond PyTorch and LiteRT.
MODULES = ("keras", "tensorflow", "litert_torch", "onnx", "onnxruntime", "openvino", "tflite_micro", "ethosu.vela")


def shell(page):
    return [block for block in page_blocks.blocks((ROOT / page).read_text()) if block.language == "sh"]


BLOCKS = [(page, n) for page in PAGES for n, block in enumerate(shell(page)) if block.reason is None]


COLORS = np.uint8([[200, 40, 40], [40, 200, 40], [40, 40, 200], [180, 180, 180]])


def colored(folder, each):
    """Class folders of noise, each of one color; the pixels [n, 8, 8, 3] and labels of all."""
    found = []
    for n in range(4 * each):
        found.append(pixels(n) // 4 + COLORS[n % 4] // 2)
        write_image(folder / "abcd"[n % 4] / f"{n}.png", found[-1])
    return np.float32(found), np.arange(4 * each) % 4


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Trained models of every kind, photos, a run, two runs to compare and a study, under the names that the pages use."""
    import keras  # noqa: PLC0415
    import torch  # noqa: PLC0415

    folder, nn, layers = tmp_path_factory.mktemp("typed"), torch.nn, keras.layers
    x, y = colored(folder / "photos", 16)
    colored(folder / "test", 8)
    for n in range(16):
        write_image(folder / "unlabelled" / f"{n}.png", pixels(n) // 4 + COLORS[n % 4] // 2)
    np.savez(folder / "val.npz", x=x / 255, y=y)

    keras.utils.set_random_seed(0)
    body = [layers.Conv2D(8, 3), layers.ReLU(), layers.GlobalAveragePooling2D()]
    network = keras.Sequential([keras.Input((8, 8, 3)), *body, layers.Dense(4, "softmax")])
    network.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    network.fit(np.concatenate([x / 255, x / 127.5 - 1]), np.concatenate([y, y]), batch_size=128, epochs=200, verbose=0)
    with warnings.catch_warnings(action="ignore"):  # Keras's own
        for name in ("model", "a"):
            network.save(folder / f"{name}.keras")

    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4), nn.Softmax(1))
    kernel, bias, dense, last = (torch.from_numpy(np.array(w)) for w in network.get_weights())
    with torch.no_grad():
        for to, weights in zip(module.parameters(), (kernel.permute(3, 2, 0, 1), bias, dense.T, last), strict=True):
            to.copy_(weights)
    for name in ("model", "net", "b"):
        torch.export.save(torch.export.export(module.eval(), (torch.zeros(1, 3, 8, 8),)), folder / f"{name}.pt2")

    file = intact.write_tflite(intact.load(network))
    for name in ("model", "float"):
        (folder / f"{name}.tflite").write_bytes(file)
    shutil.copy(ROOT / "tests" / "networks" / "lstm_streaming.tflite", folder)
    np.save(folder / "calls.npy", np.random.default_rng(0).normal(size=(40, 1, 2)).astype(np.float32))
    (folder / "accept.toml").write_text('criteria = ["drop <= 50"]\n')
    (folder / "study.toml").write_text('models = ["model.tflite"]\ndata = "photos"\nschemes = ["int8"]\nout = "of_file"\n')
    result = intact.quantize(folder / "model.tflite", folder / "photos", target="mcu")
    for name in ("run", "run-a", "run-b"):
        result.save_run(folder / name)
    for name in ("int8", "theirs"):
        result.save(folder / f"{name}.tflite")
    intact.study(folder / "model.tflite", folder / "photos", schemes="int8").save(folder / "study")
    return folder


@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("bash") is None, reason="the pages are written for bash")
@pytest.mark.parametrize(("page", "number"), BLOCKS, ids=[f"{page}-{number}" for page, number in BLOCKS])
def test_a_block_can_be_typed(page, number, request, tmp_path):
    for name in MODULES:
        pytest.importorskip(name, reason=f"{name} is not installed (an extra)")
    code = shell(page)[number].code
    if re.search("--verify|make emulate|--instructions", code) and not (
        shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm") and shutil.which("make")
    ):
        pytest.skip("the block needs an Arm compiler, an emulator and make")
    folder = shutil.copytree(request.getfixturevalue("prepared"), tmp_path / "typed")
    for made in re.findall(r"--out (\S+)/", code):
        shutil.rmtree(folder / made, ignore_errors=True)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(Path(intact.__file__).parents[1]), "BROWSER": "true"}
    judged = 'intact() { command intact "$@" || [ $? -eq 1 ]; }'  # so small a network may fail a criterion, which is no error
    typed = ["bash", "-eux", "-o", "pipefail", "-c", f"{judged}\n{code}"]
    ran = subprocess.run(typed, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"


def test_every_page_with_a_shell_is_typed_here_or_elsewhere():
    from test_docs_code import PAGES as FOLLOWED  # noqa: PLC0415

    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))}
    with_shell = {page for page in pages if any(block.reason is None for block in shell(page))}
    assert with_shell - {f"docs/{page}" for page in FOLLOWED} - {"docs/data.md"} == set(PAGES)


def test_blocks_that_are_not_typed_say_why():
    assert {page: sum(here == page for here, _ in BLOCKS) for page in PAGES} == PAGES
    pages = (*PAGES, "docs/cluster.md", "docs/export_pytorch.md", "docs/lab/index.md")
    known = [block.reason for page in pages for block in shell(page) if block.reason is not None]
    assert {reason: known.count(reason) for reason in known} == REASONS

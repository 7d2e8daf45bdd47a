"""The demo's own part: real digits, a network that learns them, and files as a user has them."""

import sys

import numpy as np
import pytest
import torch
from compare import assert_same
from PIL import Image

from intact import locks
from intact.cli import demo
from intact.errors import MissingExtraError, OutputError


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return demo.train_digits(tmp_path_factory.mktemp("demo"), seed=0)


def read(folder):
    files = sorted(folder.glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in files])
    return pixels, np.array([int(path.parent.name) for path in files])


def test_network_learns_the_digits_and_the_files_hold_it(trained):
    assert trained.accuracy >= 0.97
    images, labels = read(trained.test)
    model = torch.export.load(trained.model).module()
    right = [
        int(model(torch.from_numpy(x)[None, None].float() / 127.5 - 1).argmax()) == y
        for x, y in zip(images, labels, strict=True)
    ]
    assert np.mean(right) == pytest.approx(trained.accuracy, abs=1e-3)


def test_every_digit_is_in_exactly_one_part(trained):
    train, test = read(trained.train), read(trained.test)
    assert len(train[0]) == 898
    assert len(test[0]) == 899
    names = [path.name for part in (trained.train, trained.test) for path in part.glob("*/*.png")]
    assert len(set(names)) == len(names) == 1797


def test_same_seed_same_weights_and_pictures(trained, tmp_path):
    first, second = (demo.train_digits(tmp_path / name, seed=3, epochs=1) for name in ("a", "b"))
    weights = [torch.export.load(files.model).state_dict for files in (first, second)]
    for name, expected in weights[0].items():
        assert_same(weights[1][name].detach(), expected.detach())
    assert_same(read(first.train)[0], read(second.train)[0])
    assert read(first.train)[0].tobytes() != read(trained.train)[0].tobytes()


def test_an_earlier_demo_is_replaced_and_leaves_nothing_behind(tmp_path):
    demo.train_digits(tmp_path, seed=1, epochs=1)
    files = demo.train_digits(tmp_path, seed=2, epochs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits", "digits.pt2"]
    assert len(list(files.train.glob("*/*.png"))) == 898


def test_a_foreign_folder_is_left_alone(tmp_path):
    mine = tmp_path / "digits" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("keep")
    with pytest.raises(OutputError, match="the demo did not make; type --out"):
        demo.train_digits(tmp_path, epochs=1)
    assert mine.read_text() == "keep"


def test_an_unwritable_folder_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file cannot be written \(File exists\)"):
        demo.train_digits(tmp_path / "file", epochs=1)


def test_missing_scikit_learn_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'intact\[demo\]'"):
        demo.train_digits(tmp_path)


def test_progress_counts_every_step(tmp_path):
    seen = []
    demo.train_digits(tmp_path, epochs=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 29) for i in range(29)]


def test_a_demo_that_was_killed_while_it_put_its_files_in_place_is_done_again(tmp_path, monkeypatch):
    (tmp_path / ".digits-killed" / "digits").mkdir(parents=True)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demo.Path, "rename", stop)
        with pytest.raises(KeyboardInterrupt):
            demo.train_digits(tmp_path, epochs=1)
    demo.train_digits(tmp_path, epochs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits", "digits.pt2"]


def test_two_demos_do_not_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE", 0.1)
    with locks.held(tmp_path, print), pytest.raises(OutputError, match="another run works in"):
        demo.train_digits(tmp_path, epochs=1)

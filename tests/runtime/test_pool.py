"""This machine as a pool of child processes, and how samples are cut for places that take several pieces at once."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from nets import images, mobile

import intact
from intact.data.samples import BATCH
from intact.errors import OptionError
from intact.formats import tflite
from intact.measure import run_outputs
from intact.measure.run_outputs import outputs_of
from intact.runtime import anywhere, child
from intact.runtime.places import HERE, Place, Pool


@pytest.mark.parametrize("count", [1, 31, 32, 33, 63, 64, 65, 1000])
@pytest.mark.parametrize("step", [1, 32, 40, 1000])
def test_pieces_are_whole_batches_and_all_of_the_samples(count, step):
    pieces = run_outputs._pieces(count, step)
    assert [i for piece in pieces for i in piece] == list(range(count))
    assert all(piece.start % BATCH == 0 for piece in pieces)
    assert all(len(piece) >= min(BATCH, count) for piece in pieces)
    assert all(len(piece) < step + 2 * BATCH for piece in pieces)


def test_outputs_of_a_pool_are_those_of_one_process_byte_for_byte(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(mobile()))
    samples = intact.data.samples_from(images(99)).bind(intact.data.input_specs(mobile()), None)
    pool = Pool(3)
    assert isinstance(pool, Place)
    here, there = (outputs_of(path, samples, "default", lambda *_: None, place=place)["scores"] for place in (HERE, pool))
    np.testing.assert_array_equal(np.asarray(here).view(np.int32), np.asarray(there).view(np.int32))


def test_a_pool_works_on_so_many_at_once_and_no_more(monkeypatch):
    working, most, guard = [], [], threading.Lock()

    def call(*_, **__):
        with guard:
            working.append(1)
            most.append(len(working))
        time.sleep(0.05)
        with guard:
            working.pop()
        return {}

    monkeypatch.setattr(child, "call", call)
    place = Pool(3)
    with ThreadPoolExecutor(9) as threads:
        list(threads.map(lambda _: place.call("script.py", {}, what="Work", timeout=1), range(18)))
    assert max(most) == 3
    assert place.memory == HERE.memory // 3


def test_what_is_no_number_of_workers_is_refused():
    with pytest.raises(OptionError, match="--workers 0 must be at least 1"), anywhere.opened(None, 0):
        pass
    said = "--workers are processes of this machine, and --on pi is another; type one of the two"
    with pytest.raises(OptionError, match=said), anywhere.opened("pi", 2):
        pass


def test_evaluate_has_the_same_figures_with_workers(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(mobile()))
    np.savez(tmp_path / "val.npz", x=images(70), y=np.arange(70) % 4)
    alone = intact.evaluate(path, tmp_path / "val.npz")
    assert intact.evaluate(path, tmp_path / "val.npz", workers=2).to_json() == alone.to_json()

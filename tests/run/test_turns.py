"""Work goes on side by side, and what is timed is alone."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from intact.run.turns import StoppedError, Turns


def test_what_is_timed_is_alone():
    turns, working, seen = Turns(), set(), []

    def job(n):
        for _ in range(5):
            with turns.working():
                working.add(n)
                time.sleep(0.001 * (n + 1))
                working.discard(n)
                with turns.alone():
                    seen.append(set(working))
                working.add(n)
                time.sleep(0.001)
                working.discard(n)

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(job, n) for n in range(4)]:
            future.result(timeout=30)
    assert seen == [set()] * 20


def test_without_it_others_work_meanwhile():
    """The test above can fail: two that work are two at a time."""
    turns, both = Turns(), threading.Barrier(2)

    def job():
        with turns.working():
            both.wait(timeout=10)

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(job) for _ in range(2)]:
            future.result(timeout=30)


def test_nobody_begins_while_someone_waits_to_time():
    turns, order = Turns(), []
    began, go = threading.Event(), threading.Event()

    def works():
        with turns.working():
            began.set()
            go.wait(10)
            order.append("worked")

    def times():
        with turns.working(), turns.alone():
            order.append("timed")

    def late():
        with turns.working():
            order.append("began")

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(works)
        began.wait(10)
        second = pool.submit(times)
        while not turns._waiting:
            time.sleep(0.001)
        third = pool.submit(late)
        time.sleep(0.05)
        assert order == []
        go.set()
        for future in (first, second, third):
            future.result(timeout=10)
    assert order == ["worked", "timed", "began"]


def test_an_error_while_timing_lets_others_go_on():
    turns = Turns()
    with pytest.raises(OSError, match="gone"), turns.working(), turns.alone():
        raise OSError("gone")
    with turns.working(), turns.alone():
        pass


def test_who_waits_is_stopped():
    turns = Turns()
    began = threading.Event()

    def works():
        with turns.working():
            began.set()
            while True:
                time.sleep(0.001)
                turns.check()

    def waits():
        with turns.working(), turns.alone():
            raise AssertionError("never alone")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(works)
        began.wait(10)
        second = pool.submit(waits)
        time.sleep(0.02)
        turns.stop()
        for future in (first, second):
            with pytest.raises(StoppedError):
                future.result(timeout=10)


def test_who_is_away_disturbs_nobody_and_comes_back_in_turn():
    turns, order = Turns(), []
    away, come, timing, go = (threading.Event() for _ in range(4))

    def leaves():
        with turns.working():
            with turns.away():
                away.set()
                come.wait(10)
            order.append("back")

    def times():
        with turns.working(), turns.alone():
            timing.set()
            go.wait(10)
            order.append("timed")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(leaves)
        away.wait(10)
        second = pool.submit(times)
        assert timing.wait(10)  # though the first is inside `working`
        come.set()
        time.sleep(0.05)
        assert order == []
        go.set()
        for future in (first, second):
            future.result(timeout=10)
    assert order == ["timed", "back"]
    with turns.working(), turns.alone():  # all are counted
        pass

"""Ranks that work together, and what the others say when one of them does not."""

import pytest
import torch
from rank_processes import ended

from intact.errors import OptionError
from intact.simulate.ranks import ALONE, joined

BEGIN = """
import os, sys, time
import torch
from intact.errors import IntactError, OptionError, RankError
from intact.simulate.ranks import joined
open(f"ready{os.environ['RANK']}", "w").close()  # loading torch takes some longer than others
while not all(os.path.exists(f"ready{rank}") for rank in range(int(os.environ["WORLD_SIZE"]))):
    time.sleep(0.01)
try:
    with joined(4.0) as ranks:
"""
END = """
except RankError as error:
    print("lost" if error.is_lost else "told", error, flush=True)
    sys.exit(2)
except IntactError as error:
    print("own", error, flush=True)
    sys.exit(2)
sys.exit(status)
"""


def scripts(*bodies):
    made = []
    for body in bodies:
        lines = "\n".join(f"        {line}" for line in body.strip().splitlines())
        made.append(["-c", BEGIN + lines + END])
    return made


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with joined(1.0) as ranks:
        assert ranks is ALONE
    assert ranks.each(lambda n: (float(n), (torch.ones(2) * n,)), [1, 2], "cpu")[1][0] == 2
    assert (ranks.from_first(3), ranks.same_status(1)) == (3, 1)
    ranks.agree("a", lambda *_: "never")


EACH = """
def work(n):
    return n / 4, (None if n % 2 else torch.full((n, 2), float(n)), torch.tensor(float(n)))
for count in (0, 1, 3, 8):
    made = ranks.each(work, list(range(count)), "cpu")
    alone = [work(n) for n in range(count)]
    assert [m[0] for m in made] == [a[0] for a in alone]
    for (_, mine), (_, theirs) in zip(made, alone):
        assert all((a is None) == (b is None) and (a is None or (a.shape == b.shape and torch.equal(a, b)))
                   for a, b in zip(mine, theirs))
def lacking(n):
    if n == 1:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    return 0.0, ()
try:
    ranks.each(lacking, [0, 1, 2], "cpu")
    raise SystemExit("no MemoryError")
except MemoryError:
    pass
assert ranks.from_first({"rank": ranks.rank}) == {"rank": 0}
ranks.agree("same", lambda *_: "never")
print("done", flush=True)
status = ranks.same_status(1 if ranks.rank == 0 else 0)
"""


def test_each_item_is_computed_once_and_comes_in_its_order(tmp_path):
    assert ended(scripts(EACH, EACH, EACH), tmp_path) == [(1, "done\n", "")] * 3


AGREE = 'ranks.agree(str(ranks.rank // 2), lambda theirs, ours: f"{theirs} there, {ours} now")'


def test_ranks_that_disagree_are_named(tmp_path):
    said = "told rank 2 disagrees with rank 0: 1 there, 0 now\n"
    assert ended(scripts(AGREE, AGREE, AGREE), tmp_path) == [(2, said, "")] * 3


def test_what_one_rank_refuses_is_told_by_the_first(tmp_path):
    waits, refuses = "ranks.from_first(1)", 'raise OptionError("type something else")'
    first, second = ended(scripts(waits, refuses), tmp_path)
    assert first[:2] == (2, "told rank 1: type something else\n")
    assert second[:2] == (2, "own type something else\n")


@pytest.mark.parametrize(
    ("does", "said"), [("os._exit(3)", "another rank has died"), ("time.sleep(9)", "did not answer within 4 s")]
)
def test_a_rank_that_is_gone_or_silent_ends_the_others(does, said, tmp_path):
    first, _ = ended(scripts("ranks.from_first(1)\nranks.agree('', str)", f"ranks.from_first(1)\n{does}\nstatus = 0"), tmp_path)
    assert first[0] == 2
    assert first[1].startswith("lost another rank")
    assert said in first[1]


def test_a_rank_that_never_comes_is_not_waited_for(tmp_path):
    (tmp_path / "ready1").touch()
    first, _ = ended([scripts("status = 0")[0], ["-c", ""]], tmp_path)
    assert first[:2] == (2, "lost the 2 ranks did not find each other within 4 s\n")


def test_a_group_of_the_users_own_is_left_alone(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("intact.simulate.ranks.distributed.is_initialized", lambda: True)
    with pytest.raises(OptionError, match="destroy_process_group"), joined(1.0):
        pass

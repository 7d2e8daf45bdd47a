"""Processes that compute one thing together, as ``torchrun`` starts them: the same bytes for any number of them.

What is summed over a batch is summed from parts whose number and order no number of ranks changes: every rank computes some
of the parts, gets those of the others, and sums all of them itself. That is why the gradients are gathered and not reduced:
an all-reduce adds in an order of its own, which differs with the number of ranks.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from math import prod
from typing import Any, Final, TypeAlias, TypeVar, final

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from intact.errors import IntactError, OptionError, RankError
from intact.simulate.engine import one_per_core

Item = TypeVar("Item")
Value = TypeVar("Value")
#: One for each of some tensors, None where a tensor had no part in the result.
Gradients: TypeAlias = tuple[torch.Tensor | None, ...]
#: A number and gradients, float32 on the device of the work.
Made: TypeAlias = tuple[float, Gradients]
#: The same without the numbers in the gradients: what every rank is told first.
_Outline: TypeAlias = tuple[float, tuple[tuple[int, ...] | None, ...]]

#: Seconds that a rank lets the others read what it has to say before it ends.
_LAST_WORDS: Final = 5.0
_POLL: Final = 0.05
#: Keys of the store that the ranks share.
_FAILED: Final = "intact/failed"
_HEARD: Final = "intact/heard"
_STATUS: Final = "intact/status"
_DONE: Final = "intact/done"
_ROOM: Final = "intact/room"
#: What a process that has a rank finds in its environment.
_ENVIRONMENT: Final = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def _is_one_of_several() -> bool:
    return all(name in os.environ for name in _ENVIRONMENT) and int(os.environ["WORLD_SIZE"]) > 1


def is_out_of_memory(error: Exception) -> bool:
    """torch has a type for GPUs only; on a CPU its allocator's message says so."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


@final
@dataclass(frozen=True)
class Ranks:
    """``size`` processes of which this is number ``rank``; :func:`joined` makes it.

    All of them must call the same methods in the same order. Each raises RankError where another rank has died, failed or does
    not answer for ``timeout`` seconds.
    """

    rank: int = 0
    size: int = 1
    timeout: float = field(default=0.0, repr=False)
    store: Any = field(default=None, repr=False, compare=False)

    def each(self, work: Callable[[Item], Made], items: Sequence[Item], device: str) -> list[Made]:
        """``[work(item) for item in items]`` on every rank, each item computed by one of them.

        MemoryError on all ranks where one has too little.
        """
        if self.size == 1:
            return list(one_per_core(work, items, device))
        lacking = False
        try:
            mine = list(one_per_core(work, items[self.rank :: self.size], device))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            mine, lacking = [], True
        told = self._gathered((lacking, [_outline(made) for made in mine]))
        if any(lacks for lacks, _ in told):
            raise MemoryError
        outlines = [outline for _, outline in told]
        buffers = self._exchanged(mine, [_numbers(outline) for outline in outlines], device)
        by_rank = [_unpacked(*pair) for pair in zip(outlines, buffers, strict=True)]
        return [by_rank[n % self.size][n // self.size] for n in range(len(items))]

    def _exchanged(self, mine: Sequence[Made], sizes: Sequence[int], device: str) -> list[torch.Tensor]:
        """The gradients of every rank as one row of numbers."""
        longest = max(sizes)
        if not longest:
            return [torch.zeros(0)] * self.size
        row = torch.zeros(longest, device=device)
        flat = [x.reshape(-1) for _, gradients in mine for x in gradients if x is not None]
        if flat:
            torch.cat(flat, out=row[: sizes[self.rank]])
        rows = [torch.empty_like(row) for _ in range(self.size)]
        with self._answered():
            distributed.all_gather(rows, row)
        return rows

    def from_first(self, value: Value) -> Value:
        """What rank 0 has for ``value``."""
        if self.size == 1:
            return value
        held: list[Any] = [value if self.rank == 0 else None]
        with self._answered():
            distributed.broadcast_object_list(held, 0)
        first: Value = held[0]
        return first

    def agree(self, value: str, differs: Callable[[str, str], str]) -> None:
        """RankError on all ranks where one has another ``value`` than rank 0: ``differs(theirs, ours)`` says how."""
        if self.size == 1:
            return
        held = self._gathered(value)
        for rank, theirs in enumerate(held):
            if theirs != held[0]:
                raise RankError(f"rank {rank} disagrees with rank 0: {differs(theirs, held[0])}")

    def _gathered(self, value: Value) -> list[Value]:
        held: list[Any] = [None] * self.size
        with self._answered():
            distributed.all_gather_object(held, value)
        return held

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Around what takes all ranks: RankError where one has ended or does not answer."""
        try:
            yield
        except RuntimeError as error:
            self.raise_what_another_said(error)
            if "timed out" in str(error).lower() or "timeout" in str(error).lower():
                said = (
                    f"another rank did not answer within {self.timeout:g} s; if it only is slow, type a longer --rank-timeout"
                )
            else:
                said = "another rank has died"
            raise RankError(
                f"{said}. The same command goes on from here, as torchrun --max-restarts does", is_lost=True
            ) from error

    def raise_what_another_said(self, cause: BaseException) -> None:
        """RankError where another rank said why it ends."""
        try:
            said = self.store.get(_FAILED).decode() if self.store.check([_FAILED]) else ""
        except RuntimeError:  # the process that kept the store is gone
            return
        rank, _, message = said.partition(" ")
        if said and int(rank) != self.rank:
            raise RankError(f"rank {rank}: {message}") from cause

    def leave(self, error: IntactError) -> None:
        """Say to the others why this rank ends, and let rank 0 tell it before torchrun ends that one too."""
        _end_undisturbed()
        with contextlib.suppress(RuntimeError):  # the process that kept the store is gone
            if not self.store.check([_FAILED]):
                self.store.set(_FAILED, f"{self.rank} {error}")
            if self.rank == 0:
                self.store.set(_HEARD, "")
            else:
                self._wait_until(lambda: self.store.check([_HEARD]), _LAST_WORDS)

    def same_status(self, status: int) -> int:
        """The exit status of rank 0, for which the others wait as long as it takes."""
        if self.size == 1:
            return status
        with self._answered():
            if self.rank == 0:
                self.store.set(_STATUS, str(status))
            self._wait_until(lambda: self.store.check([_STATUS]) or self.store.check([_FAILED]))
            if not self.store.check([_STATUS]):
                raise RuntimeError("rank 0 has failed")
            status = int(self.store.get(_STATUS))
            _end_undisturbed()
            self.store.add(_DONE, 1)
            if self.rank == 0:  # whose store it may be
                self._wait_until(lambda: self.store.add(_DONE, 0) == self.size, _LAST_WORDS)
        return status

    @staticmethod
    def _wait_until(is_so: Callable[[], bool], seconds: float = float("inf")) -> None:
        end = time.monotonic() + seconds
        while not is_so() and time.monotonic() < end:
            time.sleep(_POLL)


#: The one process of a run that nobody started as several.
ALONE: Final = Ranks()


@contextmanager
def joined(timeout: float, device: str = "cpu") -> Iterator[Ranks]:
    """The ranks that ``torchrun`` started, of which this process is one; :data:`ALONE` where nobody did.

    gloo takes what is on the CPU and, for the ``device`` "cuda", NCCL what is on GPUs, of which each rank of a machine has its
    own: OptionError where there are too few. Raises RankError where they do not find each other within ``timeout`` seconds. An
    error inside is told to the other ranks, which then end too.
    """
    if not _is_one_of_several():
        yield ALONE
        return
    ranks = _found(timeout, device == "cuda")
    try:
        yield ranks
    except IntactError as error:
        ranks.leave(error)
        raise
    except BaseException as stopped:
        ranks.raise_what_another_said(stopped)
        raise
    finally:
        distributed.destroy_process_group()


def _found(timeout: float, on_gpus: bool) -> Ranks:
    if not distributed.is_available():
        raise OptionError("this torch was built without torch.distributed; start one process instead of torchrun's")
    if distributed.is_initialized():
        raise OptionError("torch.distributed is in use in this process; call destroy_process_group() before")
    gpus, local = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpus and local >= gpus:
        raise OptionError(f"each rank needs a GPU of its own, and here are {gpus}; type torchrun --nproc-per-node {gpus}")
    within = timedelta(seconds=timeout)
    try:
        found, rank, size = next(rendezvous("env://", timeout=within))
        store = PrefixStore(_room(found, rank, size, timeout), found)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpus else "gloo", store=store, rank=rank, world_size=size, timeout=within
        )
    except RuntimeError as error:
        raise RankError(
            f"the {os.environ['WORLD_SIZE']} ranks did not find each other within {timeout:g} s", is_lost=True
        ) from error
    if on_gpus:
        torch.cuda.set_device(local)
    return Ranks(rank, size, timeout, store)


def _room(store: Any, rank: int, size: int, timeout: float) -> str:
    """A prefix of keys that no rank of an earlier attempt has used: torchrun starts ranks again with the store that they had.

    Rank 0 names a new room, and once all are in it says who is; whoever finds the room of an earlier attempt is not among them.
    """
    name, end = secrets.token_hex(8), time.monotonic() + timeout
    if rank == 0:
        store.set(_ROOM, name)
        entries = [f"{_ROOM}/{name}/{other}" for other in range(1, size)]
        store.wait(entries, timedelta(seconds=timeout))
        store.set(f"{_ROOM}/{name}", " ".join(store.get(entry).decode() for entry in entries))
        return name
    while time.monotonic() < end:
        if store.check([_ROOM]):
            room = str(store.get(_ROOM).decode())
            store.set(f"{_ROOM}/{room}/{rank}", name)
            if store.check([f"{_ROOM}/{room}"]) and name in store.get(f"{_ROOM}/{room}").decode().split():
                return room
        time.sleep(_POLL)
    raise RuntimeError("rank 0 has not come")


def _end_undisturbed() -> None:
    """This process is about to end with a status of its own: what torchrun sends to those that are left changes nothing."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _outline(made: Made) -> _Outline:
    number, gradients = made
    return number, tuple(None if x is None else tuple(x.shape) for x in gradients)


def _numbers(outlines: Sequence[_Outline]) -> int:
    return sum(prod(shape) for _, shapes in outlines for shape in shapes if shape is not None)


def _unpacked(outlines: Sequence[_Outline], row: torch.Tensor) -> list[Made]:
    """What a rank made, of its row of numbers."""
    sizes = [prod(shape) for _, shapes in outlines for shape in shapes if shape is not None]
    pieces = iter(torch.split(row[: sum(sizes)], sizes))
    return [
        (number, tuple(None if shape is None else next(pieces).reshape(shape) for shape in shapes))
        for number, shapes in outlines
    ]

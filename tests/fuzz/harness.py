"""Runs mutants of one kind of input through the product, each in a bounded child; says what was not refused in a sentence.

A mutant is made from ``(seed, number)`` alone, so that any of them can be made again. Workers are forked from this process,
which has imported all that is slow; one that hangs, dies or takes too much costs its own mutant and no other. Linux only.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import json
import os
import pkgutil
import random
import re
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, final

import intact
from intact.errors import IntactError

#: Seconds of processor time that a mutant may take, and on the clock if it waits for something or the machine is busy.
SECONDS: Final = 10.0
PATIENCE: Final = 30.0
#: Bytes that a mutant may take above an idle worker, of memory and of address space.
BYTES: Final = 1 << 30
#: Mutants that one worker takes before a fresh one follows: what is left behind by one does not matter to thousands.
_BATCH: Final = 250
#: Of each site so many mutants are kept.
_KEPT: Final = 3
_PACKAGE: Final = Path(intact.__file__).parent
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: What changes a folder: the places of the paths among its arguments, each with that of the folder that it is relative to.
_CHANGES: Final = {
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.chmod": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.symlink": ((1, 2),),
}


@final
@dataclass(frozen=True)
class Kind:
    """One kind of input.

    ``seeds``: small sound files or folders, made or found, never over the network; one that is named twice is chosen twice as
    often. ``mutate``: (seed, random numbers, an empty folder) to the path of the mutant in that folder. ``take``: what the
    product does with it; IntactError is a refusal, and any other exception a fault.
    """

    name: str
    seeds: Callable[[], Sequence[Path]]
    mutate: Callable[[Path, random.Random, Path], Path]
    take: Callable[[Path], None]


@final
@dataclass(frozen=True)
class Fault:
    """What a mutant did wrong: ``what`` in a word, ``site`` where, so that those of one cause are told together."""

    number: int
    what: str
    site: str
    said: str = ""


@final
@dataclass(eq=False)
class Report:
    """What became of all mutants.

    ``translated``: refusals that stem from another's exception, by its site; they are sound, but the rule that would have found
    the cause in words is missing. ``most``: bytes above an idle worker. ``slowest``: seconds, of a mutant that ended.
    """

    kind: str
    count: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    most: int = 0
    faults: list[Fault] = field(default_factory=list)
    translated: Counter[str] = field(default_factory=Counter)

    def lines(self) -> Iterator[str]:
        """The report for people, worst first."""
        rate = self.count / self.seconds if self.seconds else 0.0
        share = 100 * len(self.faults) / max(self.count, 1)
        yield (
            f"{self.kind}: {self.count:,} mutants in {self.seconds:.0f} s ({rate:.1f}/s): {self.accepted:,} accepted, "
            f"{self.refused:,} refused, {len(self.faults):,} faults ({share:.3f} %); slowest {self.slowest:.1f} s, "
            f"most memory {self.most / 2**20:.0f} MiB above an idle worker"
        )
        sites = Counter((f.what, f.site) for f in self.faults)
        for (what, site), count in sites.most_common():
            first = next(f for f in self.faults if (f.what, f.site) == (what, site))
            yield f"  {count:5} {what}: {site}: {first.said} (mutant {first.number})"


def kinds() -> dict[str, Kind]:
    """Every kind there is, by name."""
    found = importlib.import_module("kinds")
    modules = (importlib.import_module(f"kinds.{module.name}") for module in pkgutil.iter_modules(found.__path__))
    return {module.KIND.name: module.KIND for module in modules}


def fuzz(
    kind: Kind,
    count: int,
    seed: int = 0,
    *,
    jobs: int = 1,
    keep: Path | None = None,
    tell: Callable[[Report], None] = lambda _: None,
) -> Report:
    """Take mutants 0 to ``count`` of ``kind``; those at fault are copied to ``keep``. ``tell`` hears of it by the minute."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        return _Run(kind, count, seed, keep, Path(folder)).all(jobs, tell)


def mutant(kind: Kind, seed: int, number: int, folder: Path) -> Path:
    """Mutant ``number``, made in the empty ``folder``."""
    return _mutant(kind, kind.seeds(), seed, number, folder)


def _mutant(kind: Kind, seeds: Sequence[Path], seed: int, number: int, folder: Path) -> Path:
    draw = random.Random(f"{kind.name} {seed} {number}")
    return kind.mutate(draw.choice(seeds), draw, folder)


# ---- the parent ---------------------------------------------------------------------------------------------------------


@final
class _Run:
    def __init__(self, kind: Kind, count: int, seed: int, keep: Path | None, folder: Path) -> None:
        self.kind, self.seed, self.keep, self.folder = kind, seed, keep, folder
        self.seeds = list(kind.seeds())
        self.numbers = iter(range(count))
        self.report = Report(kind.name)
        self.workers = 0

    def all(self, jobs: int, tell: Callable[[Report], None]) -> Report:
        if not self.seeds:
            raise ValueError(f"there is no seed of kind {self.kind.name}")
        gc.collect()
        gc.freeze()
        began = told = time.monotonic()
        with selectors.DefaultSelector() as ready:
            for _ in range(jobs):
                self._start(ready)
            while ready.get_map():
                for key, _ in ready.select(0.2):
                    key.data.receive()
                for key in list(ready.get_map().values()):
                    if key.data.over():
                        ready.unregister(key.fileobj)
                        self._end(key.data, ready)
                self.report.seconds = time.monotonic() - began
                if time.monotonic() - told > 60:
                    told = time.monotonic()
                    tell(self.report)
        return self.report

    def _start(self, ready: selectors.BaseSelector, left: Sequence[int] = ()) -> None:
        numbers = list(left) or list(islice(self.numbers, _BATCH))
        if numbers:
            self.workers += 1
            worker = _Worker(self, numbers, self.folder / f"worker{self.workers}")
            ready.register(worker.pipe, selectors.EVENT_READ, worker)

    def _end(self, worker: _Worker, ready: selectors.BaseSelector) -> None:
        worker.close()
        self._start(ready, worker.left)

    def note(self, said: dict[str, Any], path: Path | None) -> None:
        """What became of one mutant."""
        report = self.report
        report.count += 1
        report.slowest, report.most = max(report.slowest, said.get("seconds", 0.0)), max(report.most, said.get("bytes", 0))
        if "what" in said:
            fault = Fault(said["number"], said["what"], said["site"], said["said"])
            report.faults.append(fault)
            if path is not None and self.keep is not None and path.exists():
                self._keep(fault, path)
        elif said["accepted"]:
            report.accepted += 1
        else:
            report.refused += 1
            report.translated.update(said["translated"])

    def _keep(self, fault: Fault, path: Path) -> None:
        if self.keep is None or sum((f.what, f.site) == (fault.what, fault.site) for f in self.report.faults) > _KEPT:
            return
        self.keep.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.]+", "_", f"{self.kind.name}_{fault.what}_{fault.site}")[:120]
        out = self.keep / f"{name}_{fault.number}{path.suffix}"
        if path.is_dir():
            shutil.copytree(path, out, dirs_exist_ok=True, symlinks=True)
        else:
            shutil.copyfile(path, out)


@final
class _Worker:
    """A forked child that takes some mutants one after the other, as its parent sees it."""

    def __init__(self, run: _Run, numbers: Sequence[int], folder: Path) -> None:
        self.run, self.left, self.folder = run, list(numbers), folder
        (folder / "scratch").mkdir(parents=True)
        (folder / "here").mkdir()
        self.pipe, out = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:  # the child; it never returns
            try:
                os.close(self.pipe)
                _work(run, numbers, folder, out)
            finally:
                os._exit(0)
        os.close(out)
        self.text = b""
        self.began, self.spent = time.monotonic(), 0.0
        self.path: Path | None = None
        self.closed = False

    def receive(self) -> None:
        data = os.read(self.pipe, 1 << 16)
        self.closed = not data
        *lines, self.text = (self.text + data).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if "mutant" in said:
                self.path = Path(said["mutant"])
                continue
            self._note(said)

    def over(self) -> bool:
        """Whether nothing more will come: it is done, dead, or has taken too long."""
        if self.closed:
            return True
        if self.left and (time.monotonic() - self.began > PATIENCE or _busy(self.pid) - self.spent > SECONDS):
            os.kill(self.pid, signal.SIGUSR1)  # it writes its stack
            time.sleep(0.2)
            site = _hung(self.folder / "stack")
            self._note({"number": self.left[0], "what": "hang", "site": site, "said": f"more than {SECONDS:.0f} s"})
            return True
        return False

    def close(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.pipe)
        _, status = os.waitpid(self.pid, 0)
        if self.closed and self.left:
            said = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
            self._note({"number": self.left[0], "what": "death", "site": said, "said": "the worker died"})
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note(self, said: dict[str, Any]) -> None:
        self.run.note(said, self.path)
        self.left = self.left[1:]
        self.began, self.spent, self.path = time.monotonic(), said.get("until", 0.0), None


def _busy(pid: int) -> float:
    """Seconds of processor time that a process has taken; proc_pid_stat(5), fields 14 and 15."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _hung(stack: Path) -> str:
    """The innermost line of Intact in what faulthandler wrote."""
    found = re.findall(rf'File "{re.escape(str(_PACKAGE))}/([^"]+)", line (\d+)', stack.read_text())
    return ":".join(found[0]) if found else "nowhere in Intact"


# ---- the worker ---------------------------------------------------------------------------------------------------------


def _work(run: _Run, numbers: Sequence[int], folder: Path, out: int) -> None:
    os.setsid()
    scratch, here = folder / "scratch", folder / "here"
    os.chdir(here)
    tempfile.tempdir = str(scratch)
    os.environ |= {"TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    faulthandler.disable()
    faulthandler.register(signal.SIGUSR1, (folder / "stack").open("w"), all_threads=False)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    used = kib("VmSize") << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    outside = list[str]()
    _watch(scratch, outside)

    def say(**said: Any) -> None:
        os.write(out, json.dumps(said).encode() + b"\n")

    for number in numbers:
        place = scratch / f"{number}"
        place.mkdir()
        began, idle = time.process_time(), reset_peak()
        try:
            path = _mutant(run.kind, run.seeds, run.seed, number, place)
            say(mutant=str(path))
            said = _taken(run.kind, path)
        except Exception as error:  # of the mutator: the fuzzer's own fault, told as one
            said = _fault("mutator", error)
        said |= {
            "number": number,
            "until": time.process_time(),
            "seconds": time.process_time() - began,
            "bytes": (kib("VmHWM") << 10) - idle,
        }
        if said["bytes"] > BYTES:
            said |= {"what": "memory", "site": said.get("site", "peak"), "said": f"{said['bytes']:,} bytes"}
        if outside or any(here.iterdir()) or {p.name for p in folder.iterdir()} != {"scratch", "here", "stack"}:
            said |= {"what": "wrote outside", "site": outside[0] if outside else "its working folder", "said": str(outside[:3])}
            outside.clear()
        say(**said)
        if "what" not in said:
            shutil.rmtree(place, ignore_errors=True)


def _taken(kind: Kind, path: Path) -> dict[str, Any]:
    try:
        kind.take(path)
    except IntactError as error:
        causes = list(_causes(error))
        if any(_is_lack_of_memory(cause) for cause in causes):
            return _fault("memory", causes[-1])
        foreign = [cause for cause in causes if not isinstance(cause, IntactError)]
        return {"accepted": False, "translated": [_site(foreign[-1])] if foreign else []}
    except Exception as error:  # whatever it is, it is a fault
        return _fault("memory" if _is_lack_of_memory(error) else "foreign", error)
    return {"accepted": True}


def _fault(what: str, error: BaseException) -> dict[str, Any]:
    return {"what": what, "site": _site(error), "said": f"{error}"[:200]}


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception, and what it stems from, that last."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _is_lack_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error) or "std::bad_alloc" in str(error)


def _site(error: BaseException) -> str:
    """The innermost line of Intact, and what was raised there or below."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(_PACKAGE)]
    if not frames:
        last = traceback.extract_tb(error.__traceback__)[-1:]
        return f"{last[0].filename if last else '?'}:{last[0].lineno if last else 0} {type(error).__name__}"
    return f"{Path(frames[-1].filename).relative_to(_PACKAGE)}:{frames[-1].lineno} {type(error).__name__}"


def _watch(scratch: Path, outside: list[str]) -> None:
    """Note in ``outside`` every path beyond ``scratch`` that Python writes to."""
    allowed = (str(scratch), os.devnull, "/proc/self/")

    def note(path: Any, folder: int = -1) -> None:
        if isinstance(path, (str, bytes, os.PathLike)):
            above = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else ""  # noqa: PTH115  # in a hook, plain calls only
            full = os.path.abspath(os.path.join(above, os.fsdecode(path)))  # noqa: PTH100, PTH118
            if not full.startswith(allowed):
                outside.append(full)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[2], int) and args[2] & _WRITES:
            note(args[0])
        for path, folder in _CHANGES.get(event, ()):
            note(args[path], args[folder])

    sys.addaudithook(hook)


def kib(entry: str) -> int:
    """A row of this process's status: ``VmHWM`` is the most memory so far."""
    return int(re.search(rf"{entry}:\s+(\d+)", Path("/proc/self/status").read_text())[1])  # type: ignore[index]


def reset_peak() -> int:
    """Bytes of memory in use, from where ``VmHWM`` counts again."""
    Path("/proc/self/clear_refs").write_text("5")
    return kib("VmRSS") << 10

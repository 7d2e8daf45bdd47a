"""What must hold whenever a run is disturbed, and the disturbances."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from errno import EDQUOT, EIO, ENOSPC, EROFS
from pathlib import Path

import numpy as np
from faults import Fault, forked, typed

QUIET = Fault()
#: What a finished run's folder holds, and of that what depends on nothing but what went in.
HELD = {"details.json", "job.json", "model.tflite", "plan.json", "result.json", "result.md", "samples.npz"}
SAME = ("model.tflite", "plan.json", "plan.npz", "job.json")
#: Seconds that any run may take, and that a killed process's children have to end.
LONGEST, ORPHANED = 120, 5.0
#: What a case may end with when it is told to end, by signal.
CODES = {signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGINT: 130}


@dataclass(frozen=True)
class Job:
    """A command that writes into ``out``, without its folder."""

    name: str
    args: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its code (less than 0: by a signal), what it said, and the files and processes that it changed."""

    code: int
    said: str
    printed: str
    steps: tuple[tuple[str, str], ...]
    seconds: float


@dataclass(frozen=True)
class Case:
    """One disturbance of one job."""

    name: str
    job: Job
    fault: Fault = Fault()
    signal: int = 0
    after: float = 0.0
    overwrites: bool = False
    kind: str = "kill"
    real: bool = False


@dataclass
class Report:
    """What came of a case."""

    case: Case
    wrong: list[str] = field(default_factory=list)
    told: str = ""
    code: int = 0
    stages: int = 0
    seconds: float = 0.0


class Place:
    """Folders of one case: the run's, that for temporary files, and the records of what happened."""

    def __init__(self, root):
        self.root, self.out, self.tmp = root, root / "run", root / "tmp"
        self.tmp.mkdir(parents=True)
        self.count = 0

    def start(self, job, fault=QUIET, *, overwrite=False, real=False):
        """Start the command; what waits for its end."""
        self.count += 1
        log, out, err = (self.root / f"{self.count}.{name}" for name in ("log", "out", "err"))
        log.touch()
        args = [*job.args, "--out", str(self.out), *(["--overwrite"] if overwrite else [])]
        environment = {"TMPDIR": str(self.tmp)}
        began = time.monotonic()
        if real:
            with out.open("wb") as printed, err.open("wb") as said:
                started = subprocess.Popen(typed(fault, log, args), stdout=printed, stderr=said, env=os.environ | environment)
            process = started.pid
        else:
            process = forked(fault, log, args, environment, (out, err))
        return process, lambda: self._ended(process, log, out, err, began)

    def run(self, *args, **options):
        return self.start(*args, **options)[1]()

    def _ended(self, process, log, out, err, began):
        while (found := os.waitpid(process, os.WNOHANG))[0] == 0:
            if time.monotonic() - began > LONGEST:
                os.kill(process, signal.SIGKILL)
            time.sleep(0.005)
        code = os.waitstatus_to_exitcode(found[1])
        steps = tuple(tuple(line.split("\t", 1)) for line in log.read_text(errors="replace").splitlines() if "\t" in line)
        return Ended(code, err.read_text(errors="replace"), out.read_text(errors="replace"), steps, time.monotonic() - began)

    def orphans(self):
        """Processes that still have this place's folder for temporary files a while after their parent's end."""
        until = time.monotonic() + ORPHANED
        while found := [p for p in Path("/proc").iterdir() if p.name.isdigit() and self._is_here(p)]:
            if time.monotonic() > until:
                return found
            time.sleep(0.05)
        return []

    def _is_here(self, process):
        try:
            return int(process.name) != os.getpid() and f"TMPDIR={self.tmp}".encode() in (process / "environ").read_bytes()
        except OSError:
            return False

    def stages(self):
        """Finished steps by name, as they are."""
        folder = self.out / ".stages"
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        return {p.name: p.read_bytes() for p in paths if not p.name.endswith(".draft")}


def whole(place, reference, old):
    """What is broken under its final name, in words."""
    if not place.out.is_dir():
        return
    for name in SAME:
        path = place.out / name
        if path.exists() and path.read_bytes() not in {reference[name], old.get(name)}:
            yield f"{name} is there and not whole"
    result = place.out / "result.json"
    if result.exists():
        json.loads(result.read_bytes())
        if missing := HELD - {p.name for p in place.out.iterdir()}:
            yield f"it passes for finished without {', '.join(sorted(missing))}"
    for name in place.stages():
        if name.endswith(".npz"):
            with np.load(place.out / ".stages" / name) as arrays:
                list(arrays.values())


def check(report, place, ended, reference, old):
    """What must hold after ``ended``, and after the same command once more."""
    case = report.case
    if "Traceback" in ended.said:
        report.wrong.append(f"a traceback: {ended.said.strip().splitlines()[-1]}")
    if ended.code == 2 and ended.said.count("error: ") != 1:
        report.wrong.append(f"not one sentence: {ended.said!r}")
    report.wrong += whole(place, reference, old)
    if orphans := place.orphans():
        report.wrong.append(f"{len(orphans)} processes outlive it")
    if ended.code >= 0 and (left := sorted(p.name for p in place.tmp.iterdir())):
        report.wrong.append(f"it leaves {', '.join(left)} though it was not killed")
    before = place.stages()
    finished = (place.out / "result.json").exists() and (place.out / "model.tflite").read_bytes() == reference["model.tflite"]
    report.stages = len(before)
    again = place.run(case.job, overwrite=case.overwrites and not finished, real=case.real)
    if finished:
        if again.code != 2 or "holds a finished run" not in again.said:
            report.wrong.append(f"finished before, and then {again.code}: {again.said.strip()}")
    elif again.code != 0:
        report.wrong.append(f"the same command ends with {again.code}: {again.said.strip()}")
    remade = {Path(path).name for what, path in again.steps if what == "os.rename" and path.startswith(f"{place.out}/.stages/")}
    if lost := sorted(name for name in before if name in remade and not name.endswith((".pt", ".txt", ".sha256"))):
        report.wrong.append(f"finished before and made again: {', '.join(lost)}")
    held = {p.name for p in place.out.iterdir()} if place.out.is_dir() else set()
    if held != {*HELD, *(n for n in SAME if n in reference)}:
        report.wrong.append(f"the folder holds {', '.join(sorted(held))}")
    report.wrong += [f"{name} differs" for name in SAME if name in reference and not _same(place.out / name, reference[name])]
    if left := sorted(str(p.relative_to(place.tmp)) for p in place.tmp.rglob("*")):
        report.wrong.append(f"left among temporary files: {', '.join(left[:5])}")


def _same(path, data):
    return path.is_file() and path.read_bytes() == data


def results(folder):
    return {name: (folder / name).read_bytes() for name in SAME if (folder / name).exists()}


def disturbed(case, root, reference, other):
    """Let ``case`` happen in ``root``. ``reference``: what an undisturbed run writes. ``other``: another job, to overwrite."""
    began, place, report, old = time.monotonic(), Place(root), Report(case), {}
    if case.overwrites:
        shutil.copytree(other, place.out)
        old = results(other)
    process, end = place.start(case.job, case.fault, overwrite=case.overwrites, real=case.real)
    if case.kind == "two":
        time.sleep(case.after)
        second = place.run(case.job, overwrite=case.overwrites, real=case.real)
        # One that overwrites may come just as the first is done: then it runs, after it.
        refused = any(says in second.said for says in ("another run works in", "holds a finished run"))
        if not (second.code == 0 and case.overwrites) and not (second.code == 2 and refused):
            report.wrong.append(f"the second run ends with {second.code}: {second.said.strip()}")
    elif case.signal:
        time.sleep(case.after)
        with suppress(ProcessLookupError):
            os.kill(process, case.signal)
    ended = end()
    report.code, report.told = ended.code, ended.said.strip()
    if case.signal and ended.code not in {0, CODES[case.signal], -case.signal}:
        report.wrong.append(f"ended with {ended.code} at signal {case.signal}: {ended.said.strip()}")
    if case.kind == "full" and ended.code == 2 and not any(os.strerror(n) in ended.said for n in (case.fault.number, ENOSPC)):
        report.wrong.append(f"does not say what is the matter: {ended.said.strip()}")
    if case.kind in {"two", "clock"} and ended.code != 0:
        report.wrong.append(f"ended with {ended.code}: {ended.said.strip()}")
    check(report, place, ended, reference, old)
    report.seconds = time.monotonic() - began
    if not report.wrong:
        shutil.rmtree(root)
    return report


def small_disk(case, root, reference, size):
    """The run's folder, or that of temporary files, on a real disk of ``size`` bytes, and later on one with room."""
    began, place, report = time.monotonic(), Place(root), Report(case)
    where = place.tmp if case.fault.at else place.out
    where.mkdir(exist_ok=True)
    with mounted(where, size):
        ended = place.run(case.job)
        report.code, report.told = ended.code, ended.said.strip()
        if ended.code not in {0, 2} or (ended.code == 2 and "space" not in ended.said):
            report.wrong.append(f"ended with {ended.code}: {ended.said.strip()}")
        saved = root / "saved"
        shutil.copytree(where, saved)
    shutil.rmtree(where)
    shutil.move(saved, where)
    check(report, place, ended, reference, {})
    report.seconds = time.monotonic() - began
    if not report.wrong:
        shutil.rmtree(root)
    return report


@contextmanager
def mounted(folder, size):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


def can_mount(root):
    folder = root / "disk"
    folder.mkdir()
    try:
        with mounted(folder, 65536):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def cases(job, quiet, other_steps, draw, share):
    """Disturbances of ``job``, of which ``quiet`` is the undisturbed run: a ``share`` of every kind's moments.

    ``other_steps``: how many changes it takes to overwrite another run.
    """

    def moments(count):
        wanted = max(2, round(share * count))
        return sorted(draw.sample(range(1, count + 1), min(wanted, count)))

    steps, children = len(quiet.steps), sum(what == "subprocess.Popen" for what, _ in quiet.steps)
    synced = [n for n, (what, _) in enumerate(quiet.steps, 1) if what == "fsync"]
    for n in moments(steps):
        yield Case(f"killed before change {n} of {steps}: {' '.join(quiet.steps[n - 1])[-60:]}", job, Fault("kill", n))
    for n in sorted(draw.sample(synced, min(len(synced), max(2, round(share * len(synced)))))):
        yield Case(f"killed with half of a file written, change {n}", job, Fault("half", n))
    for n in moments(other_steps):
        yield Case(f"killed while it overwrites, before change {n}", job, Fault("kill", n), overwrites=True)
    for n in moments(children):
        for seconds in (0.0, 0.3, draw.uniform(0.3, 1.5)):
            yield Case(
                f"child {n} of {children} killed after {seconds:.2f} s", job, Fault("child", n, 0, seconds), kind="child"
            )
    for n in moments(steps):
        number = draw.choice((ENOSPC, ENOSPC, EDQUOT, EIO, EROFS))
        yield Case(f"{os.strerror(number)} from change {n} on", job, Fault("full", n, number), kind="full")
    for number in CODES:
        for _ in range(max(2, round(8 * share))):
            after = draw.uniform(0, 1.1 * quiet.seconds)
            name = f"{signal.Signals(number).name} after {after:.2f} s"
            yield Case(name, job, signal=number, after=after, kind="signal")
    for overwrite in (False, True):
        for _ in range(max(1, round(4 * share))):
            after = draw.uniform(0.1, 0.6 * quiet.seconds)
            yield Case(f"two runs at once, {after:.2f} s apart", job, after=after, kind="two", overwrites=overwrite)
    yield Case("the clock runs backwards", job, Fault("clock"), kind="clock")

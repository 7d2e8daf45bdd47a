"""A Ray cluster as a place to measure and compute: each call is a task, and files travel through Ray's object store.

A task runs :func:`intact.runtime.child.call` or a function of Intact on its node, which needs Intact and the same Ray and
Python as here. What timing is about takes a whole node for itself, always the same one.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import shutil
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import urlsplit

import numpy as np

from intact import files, scratch
from intact.errors import ChildError, IntactError, MissingExtraError, OptionError, PlaceError
from intact.installed import __version__ as version
from intact.progress import StepProgress
from intact.runtime import ray_node
from intact.runtime.confinement import Confinement
from intact.runtime.places import HERE, answered, below, paths_in
from intact.runtime.ray_node import Content, Task
from intact.runtime.workers import TICK, Asked

#: What a cluster is called that has no address in its name.
_NAME: Final = "ray"
_SCHEME: Final = "ray://"
#: The port of Ray's client server unless it is said.
_PORT: Final = 10001
#: Says where a cluster is, to Ray itself.
_ADDRESS: Final = "RAY_ADDRESS"
#: Seconds for a cluster to take a connection.
_CONNECTING: Final = 10.0
#: What a cluster says whose process for a new client did not begin in time, as on a busy machine: it is asked again.
_LATE: Final = "Starting Ray client server failed"
#: How often a task is made anew whose worker or node was lost.
_RETRIES: Final = 3
#: Bytes of the object store of a cluster on this machine; what is more, Ray puts on disk.
_STORE: Final = 512 << 20
#: Bytes of files that stay in the store for the next call that takes them.
_KEPT: Final = 256 << 20
#: What ``litert_profile.py`` is asked for that takes times or memory.
_TIMED: Final = frozenset({"latency", "throughput", "memory"})
#: The longest folder that leaves room for the names of Ray's sockets.
_LONGEST: Final = 40
#: No reports on usage to Ray's makers, and no warning of devices that nobody asks for. A task whose node has no memory for it
#: is made anew once, not for ever.
_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_task_oom_retries": "1"}
#: For a cluster of this machine's own: Ray listens on loopback alone, as it does where it has no clusters, and its workers are
#: as urgent as our own children, by which times would differ.
_OWN: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}


@final
class Cluster:
    """A Ray cluster, as a :class:`~intact.runtime.places.Place`; use it with ``with``.

    ``name``: "ray" for the cluster that ``RAY_ADDRESS`` names, else for one of this machine's cores that ends with this object;
    "ray://host:port" for one by Ray's client. Where a program has called ``ray.init``, that cluster is taken, and left running.

    MissingExtraError without Ray; OptionError for an address that is none; PlaceError where no cluster is there, where it has
    another Ray or Python, and where its nodes lack Intact or LiteRT or have different ones.
    """

    piece_bytes: Final = 32 << 20
    cores: Final = 1
    is_here: Final = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.at_once, self.memory = 1, 0
        self.machine: Mapping[str, Any] = {}
        self._put: dict[str, tuple[Any, int]] = {}
        self._lasts: dict[Path, Any] = {}
        self._versions: tuple[Mapping[str, str | None], ...] = ()
        self._most = 0
        self._putting = threading.Lock()
        self._node, self._node_cores = "", 1
        self._ray: Any = None
        self._work: Any = None
        self._compute: Any = None
        self._ending = contextlib.ExitStack()

    def __enter__(self) -> Cluster:
        address = _address(self.name)
        with contextlib.ExitStack() as stack:
            variables = dict(_QUIET)
            if address is None:
                variables |= {**_OWN, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
            stack.enter_context(_variables(variables))
            self._ray = _imported()
            if not self._ray.is_initialized():
                self._start(address, stack)
            self._work = self._ray.remote(ray_node.work)  # once, as Ray sends it to all workers each time
            self._compute = self._ray.remote(ray_node.compute)
            self._look()
            self._ending = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._put.clear()
        self._lasts.clear()
        self._ending.close()

    def call(  # noqa: PLR0913  # as the protocol has it
        self,
        script: str,
        request: Mapping[str, Any],
        *,
        what: str,
        timeout: float,
        on_progress: StepProgress | None = None,
        confinement: Confinement | None = None,
    ) -> dict[str, Any]:
        """See :class:`~intact.runtime.places.Place`. ``timeout`` counts from the start of the task on its node, and progress is
        told once it is done.
        """
        paths = list(dict.fromkeys(paths_in(request)))
        names = tuple(path for path in paths if not path.is_dir())
        folder = next((path for path in paths if path.is_dir()), None)
        task = Task(script, request, names, folder, f"{what} on {self.name}", timeout, confinement or Confinement())
        answer, made = self._done(task, request.get("task") in _TIMED, what)
        if folder is not None:
            for name, content in made.items():
                content.tofile(below(folder, name, self.name))
            answer = answered(answer, str(folder), lambda name: str(below(folder, name, self.name)))
        if on_progress is not None and "count" in answer:
            on_progress(answer["count"], answer["count"])
        return answer

    def lacking(self) -> str:
        """See :class:`~intact.runtime.workers.Computer`."""
        for name, here in ray_node.computing().items():
            others = {there[name] for there in self._versions} - {here}
            if others:
                said = " and ".join(sorted(each or "none" for each in others))
                return f"the nodes of {self.name} have {name} {said}, and {here} is here; install the same on each"
        return ""

    def compute(self, asked: Asked) -> bytes:
        """See :class:`~intact.runtime.workers.Computer`. A task of one core, on a node that has the ``memory`` free; progress
        is not told. Each file is put into the store once, for as long as the cluster is used.
        """
        contents = [self._lasting(path) for path in asked.files.values()]
        held = tuple(zip(asked.files, (content.hex() for content in contents), strict=True))
        task = self._compute.options(num_cpus=1, memory=min(asked.memory, self._most), max_retries=_RETRIES)
        reference = task.remote(asked.function, asked.request, held, *contents)
        try:
            while not self._ray.wait([reference], timeout=TICK)[0]:
                asked.check()
            answer: bytes = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            raise self._told(error, asked.what) from None
        except BaseException:
            with contextlib.suppress(Exception):
                self._ray.cancel(reference, force=True)
            raise
        return answer

    def _done(self, task: Task, timed: bool, what: str) -> tuple[dict[str, Any], dict[str, Content]]:
        """The answer of a task and the files that it made, by name."""
        exceptions = self._ray.exceptions
        while True:
            room = self._whole_node() if timed else {"num_cpus": 1}
            contents = [self._content(path) for path in task.names]
            reference = self._work.options(max_retries=_RETRIES, **room).remote(task, *contents)
            try:
                found: tuple[dict[str, Any], dict[str, Content]] = self._ray.get(reference)
            except exceptions.TaskUnschedulableError:
                if not timed:
                    raise self._lost(what) from None
                self._look()  # the node for times is gone: another one takes its place
            except exceptions.RayError as error:
                raise self._told(error, what) from None
            except BaseException:
                with contextlib.suppress(Exception):
                    self._ray.cancel(reference, force=True)
                raise
            else:
                return found

    # ---- the cluster ------------------------------------------------------------------------------------------------------

    def _start(self, address: str | None, stack: contextlib.ExitStack) -> None:
        """Connect to the cluster at ``address``, or begin one on this machine."""
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
        if address is None:
            options |= {"address": "local", "num_cpus": HERE.cores, "include_dashboard": False, "object_store_memory": _STORE}
            folder = scratch.place() / "ray"
            if len(str(folder)) <= _LONGEST:
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                options["_temp_dir"] = str(folder)
        else:
            _reach(self.name, address)
            options["address"] = address
        stack.callback(self._ray.shutdown)
        for left in reversed(range(_RETRIES)):
            try:
                with _own_signals():
                    self._ray.init(**options)
            except (RuntimeError, ConnectionError, ValueError, TimeoutError, OSError) as error:
                if left == 0 or _LATE not in str(error):
                    raise _refused(self.name, str(error)) from None
                self._ray.shutdown()
            else:
                break

    def _look(self) -> None:
        """See that the nodes are alike, and choose the one for times: the first, by their numbers."""
        nodes = sorted(
            (n for n in self._ray.nodes() if n["Alive"] and n["Resources"].get("CPU")), key=lambda n: str(n["NodeID"])
        )
        if not nodes:
            raise PlaceError(f"{self.name} has no node with a core for work; start one: ray start --address=…")
        seen = [self._ray.remote(ray_node.seen).options(num_cpus=0, **self._pinned(node["NodeID"])).remote() for node in nodes]
        looked = [(node, there) for node, one in zip(nodes, seen, strict=True) if (there := self._seen(one)) is not None]
        if not looked:
            raise self._lost("a look at its nodes")
        nodes, found = [node for node, _ in looked], [there for _, there in looked]
        _check(self.name, found)
        self._node, self._node_cores = nodes[0]["NodeID"], int(nodes[0]["Resources"]["CPU"])
        cores = [max(int(node["Resources"]["CPU"]), 1) for node in nodes]
        self.machine = {**found[0], "cores": self._node_cores}
        self._versions = tuple(there["computing"] for there in found)
        self._most = max(int(node["Resources"].get("memory", 0)) for node in nodes)
        self.at_once, self.memory = sum(cores), min(f["memory"] // n for f, n in zip(found, cores, strict=True))

    def _seen(self, reference: Any) -> dict[str, Any] | None:
        """What a node says of itself; None where it is gone, as Ray names a node for seconds after it died."""
        exceptions = self._ray.exceptions
        try:
            found: dict[str, Any] = self._ray.get(reference)
        except (exceptions.RayTaskError, exceptions.OutOfMemoryError) as error:
            raise self._told(error, "a look at its nodes") from None
        except exceptions.RayError:
            return None
        return found

    def _whole_node(self) -> dict[str, Any]:
        return {"num_cpus": self._node_cores, **self._pinned(self._node)}

    def _pinned(self, node: str) -> dict[str, Any]:
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        return {"scheduling_strategy": strategies.NodeAffinitySchedulingStrategy(node, soft=False)}

    def _content(self, path: Path) -> Any:
        """A file in the store, where it is put once for all calls that take the same bytes."""
        digest, size = files.sha256(path), path.stat().st_size
        with self._putting:
            if digest not in self._put:
                self._put[digest] = self._ray.put(np.fromfile(path, np.uint8)), size
            while len(self._put) > 1 and sum(size for _, size in self._put.values()) > _KEPT:
                oldest = next(iter(self._put))
                if oldest == digest:
                    break
                del self._put[oldest]
            return self._put[digest][0]

    def _lasting(self, path: Path) -> Any:
        """A file in the store that does not change, put there once."""
        with self._putting:
            if path not in self._lasts:
                self._lasts[path] = self._ray.put(np.fromfile(path, np.uint8))
            return self._lasts[path]

    def _told(self, error: Exception, what: str) -> IntactError:
        """What Ray's error means."""
        exceptions = self._ray.exceptions
        match error:
            case exceptions.RayTaskError():
                cause = error.cause
                if isinstance(cause, IntactError):
                    return cause
                if "failed to import" in str(cause) or isinstance(cause, ImportError):
                    return PlaceError(f"the nodes of {self.name} cannot import Intact; {_install()}")
                said = f"{type(cause).__name__}: {' '.join(str(cause).split())[-300:]}"
                return ChildError(f"{what} on {self.name} failed ({said})")
            case exceptions.OutOfMemoryError():
                return ChildError(
                    f"{what} ran out of memory on a node of {self.name}; give its nodes more memory, or fewer cores "
                    "(ray start --num-cpus), so that fewer tasks share it"
                )
        return self._lost(what)

    def _lost(self, what: str) -> PlaceError:
        return PlaceError(
            f"{what} was not done on {self.name}: its workers or nodes were lost {_RETRIES + 1} times; type: ray status"
        )


def _address(name: str) -> str | None:
    """Where the cluster is; None for one of this machine's own."""
    if name == _NAME:
        return os.environ.get(_ADDRESS) or None
    try:
        parts = urlsplit(name)
        host, port = parts.hostname, parts.port or _PORT
    except ValueError:
        host, port = None, _PORT
    if host is None or parts.path not in {"", "/"}:
        raise OptionError(f"--on {name} is no address of a Ray cluster; type --on ray, or --on ray://head:{_PORT}")
    return f"{_SCHEME}{f'[{host}]' if ':' in host else host}:{port}"


def _reach(name: str, address: str) -> None:
    """PlaceError at once where nothing answers, which Ray would try for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname is None or parts.port is None:
        return  # "auto", or another word of Ray's
    try:
        socket.create_connection((parts.hostname, parts.port), _CONNECTING).close()
    except OSError as error:
        raise _refused(name, error.strerror or str(error)) from None


def _refused(name: str, said: str) -> PlaceError:
    """The error for a cluster that does not take us."""
    if "ersion" in said and ("ismatch" in said or "differ" in said or "incompatible" in said):
        words = " ".join(said.split())
        return PlaceError(
            f"the cluster of {name} has another Ray or Python than is here ({words[:300]}); install the same there, or here: "
            "pip install 'ray==…'"
        )
    where = f"{os.environ[_ADDRESS]} ({_ADDRESS})" if name == _NAME and os.environ.get(_ADDRESS) else name
    if where == _NAME:
        return PlaceError(f"Ray could not be started on this machine ({' '.join(said.split())[:300]}); type --workers instead")
    return PlaceError(
        f"no Ray cluster answers at {where} ({' '.join(said.split())[:300]}); type there: "
        f"ray start --head --ray-client-server-port {_PORT}"
    )


def _check(name: str, found: list[dict[str, Any]]) -> None:
    """PlaceError for nodes without LiteRT, or with different ones, whose figures would be no one's."""
    for what, said in (
        ("LiteRT", [node["versions"]["ai-edge-litert"] for node in found]),
        ("Intact", [node["intact"] for node in found]),
    ):
        if None in said:
            raise PlaceError(f"{what} is not installed on all nodes of {name}; {_install()}")
        if len(set(said)) > 1:
            there = " and ".join(sorted(set(said)))
            raise PlaceError(f"the nodes of {name} have {what} {there}, and figures would be mixed; install the same on each")


def _install() -> str:
    return f"type on each: pip install 'intact[ray]=={version}'"


def _imported() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtraError("Ray", "ray") from error


@contextlib.contextmanager
def _variables(wanted: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for as long as Ray runs, which hands them to its processes; the user's own come first."""
    new = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; what this process does at it stays as it was."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

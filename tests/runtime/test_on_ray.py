"""A Ray cluster as a place to measure: two nodes on this machine, of which one is killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import computing
import numpy as np
import pytest
from nets import images, mobile

import intact
from intact.errors import ChildError, MissingExtraError, ModelError, OptionError, OutputError, PlaceError
from intact.formats import tflite
from intact.installed import __version__
from intact.measure import machine
from intact.progress import silent
from intact.runtime import anywhere, litert, on_ray
from intact.runtime.confinement import Confinement
from intact.runtime.places import HERE, Place
from intact.runtime.workers import Asked, Computer

pytestmark = [
    pytest.mark.xdist_group("ray"),
    # Ray leaves the logs of its client server open.
    pytest.mark.filterwarnings("ignore:.*ray_client_server:pytest.PytestUnraisableExceptionWarning"),
]
#: A worker script that notes that it began, and takes a while.
SLOW = """
import os, time
from pathlib import Path

def main(request, progress):
    (Path(request["noted"]) / f"{request['number']}-{os.getpid()}").write_text("")
    time.sleep(request["seconds"])
    content = Path(request["given"]).read_bytes()
    made = Path(request["folder"]) / "made.bin"
    made.write_bytes(content[::-1])
    return {"made": str(made), "count": len(content)}
"""
NODE = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """Ray as Intact starts it, though here tests do."""
    pytest.importorskip("ray", reason="needs Ray; pip install 'intact[ray]'")
    # A short folder: sockets' paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-") as folder, pytest.MonkeyPatch.context() as patch:
        ours = {"RAY_AUTH_MODE": "disabled", "RAY_TMPDIR": folder, "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120"}
        for name, value in {**on_ray._QUIET, **ours}.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def port():
    """One that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(port):
    utils = pytest.importorskip("ray.cluster_utils")
    found = utils.Cluster(initialize_head=True, head_node_args={**NODE, "ray_client_server_port": port})
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def two(cluster):
    """The cluster with a node beside the first, and that node."""
    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    cluster.wait_for_nodes()
    return cluster, node


@pytest.fixture
def place(two, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", two[0].address)
    with anywhere.opened("ray") as found:
        yield found


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite.write(mobile()))
    return path


# ---- what comes back ------------------------------------------------------------------------------------------------------


def test_a_cluster_is_a_place_that_says_what_it_is(place):
    assert isinstance(place, Place)
    assert (place.name, place.at_once, place.cores) == ("ray", 2, 1)
    assert 0 < place.memory <= HERE.memory
    said = machine.document(place)
    assert (said["place"], said["cores"], said["runtimes"]["LiteRT"]) == ("ray", 1, machine.version("ai-edge-litert"))
    assert "on ray, LiteRT" in str(machine.cpu(place))


def test_outputs_are_those_of_this_machine_byte_for_byte(place, net):
    x = {"image": images(50)}
    told = []
    there = litert.run(net, x, place=place, progress=lambda done, total: told.append((done, total)))
    here = litert.run(net, x)
    assert there.keys() == here.keys() == {"scores"}
    np.testing.assert_array_equal(there["scores"].view(np.int32), here["scores"].view(np.int32))
    assert told[-1] == (50, 50)


def test_a_client_of_a_cluster_elsewhere_gets_the_same(two, port, net):
    assert two
    x = {"image": images(50)}
    with anywhere.opened(f"ray://127.0.0.1:{port}") as place:
        assert place.at_once == 2
        there = litert.run(net, x, place=place)
    np.testing.assert_array_equal(there["scores"].view(np.int32), litert.run(net, x)["scores"].view(np.int32))


@pytest.mark.parametrize("late", [2, 3])
def test_a_cluster_too_busy_for_a_client_is_asked_again(port, two, monkeypatch, late):
    assert two
    import ray  # noqa: PLC0415

    asked, real = [], ray.init

    def init(*args, **options):
        asked.append(options)
        if len(asked) <= late:
            raise RuntimeError("Initialization failure from server: Starting Ray client server failed. See the log")
        return real(*args, **options)

    monkeypatch.setattr(ray, "init", init)
    if late == 3:
        with pytest.raises(PlaceError, match=r"^no Ray cluster answers at ray://.*Starting Ray client server failed"):
            on_ray.Cluster(f"ray://127.0.0.1:{port}").__enter__()
    else:
        with anywhere.opened(f"ray://127.0.0.1:{port}") as place:
            assert place.at_once == 2
    assert len(asked) == 3


def test_a_file_is_put_into_the_store_once(place, net, monkeypatch):
    put, real = [], place._ray.put
    monkeypatch.setattr(place._ray, "put", lambda content: put.append(content.size) or real(content))
    copy = net.with_name("copy.tflite")
    copy.write_bytes(net.read_bytes())
    x = {"image": images(8)}
    for path in (net, copy, net):
        litert.run(path, x, place=place)
    assert put.count(net.stat().st_size) == 1
    assert len(put) == 2  # the model and the samples


def test_times_take_a_whole_node_and_others_a_core(place, net, monkeypatch):
    asked, real = [], place._work.options
    monkeypatch.setattr(place._work, "options", lambda **given: asked.append(given) or real(**given))
    assert litert.latency({"net": net}, rounds=5, max_seconds=1, place=place)["net"].samples_ms
    assert litert.memory(net, place=place).peak > 0
    litert.describe(net, place=place)
    pinned = [given["scheduling_strategy"].node_id if "scheduling_strategy" in given else None for given in asked]
    assert pinned == [place._node, place._node, None]
    assert [given["num_cpus"] for given in asked] == [1, 1, 1]


def test_what_fails_there_is_what_fails_here(place, tmp_path):
    wrong = tmp_path / "wrong.tflite"
    wrong.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"wrong\.tflite: LiteRT cannot load it"):
        litert.describe(wrong, place=place)
    script = tmp_path / "script.py"
    script.write_text("def main(request, progress):\n    raise ValueError('boom')\n")
    with pytest.raises(ChildError, match=r"Work on ray failed \(ValueError: boom\)") as caught:
        place.call(str(script), {}, what="Work", timeout=20)
    assert "Traceback" in caught.value.__notes__[0]


def test_a_node_that_is_killed_costs_its_tasks_only(place, two, tmp_path):
    """Four tasks on two nodes, one of which goes while it works: its task is made anew, the others are not."""
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    noted = tmp_path / "noted"
    noted.mkdir()

    def call(number):
        given, folder = tmp_path / f"given{number}", tmp_path / f"made{number}"
        given.write_bytes(bytes([number, 1, 2]))
        folder.mkdir()
        request = {"number": number, "seconds": 2.0, "noted": str(noted), "given": given, "folder": folder}
        held = Confinement((folder, noted))
        answer = place.call(str(script), request, what="Work", timeout=30, confinement=held)
        assert answer == {"made": str(folder / "made.bin"), "count": 3}
        return (folder / "made.bin").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(call, number) for number in range(4)]
        deadline = time.monotonic() + 30
        while len(list(noted.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        cluster, second = two
        cluster.remove_node(second, allow_graceful=False)
        assert [one.result() for one in pending] == [bytes([2, 1, number]) for number in range(4)]
    begun = [path.name.split("-")[0] for path in noted.iterdir()]
    assert set(begun) == {"0", "1", "2", "3"}
    assert len(begun) == 5
    assert litert.latency({"net": _written(tmp_path)}, rounds=5, max_seconds=1, place=place)["net"].samples_ms


def test_a_node_that_ray_still_names_after_it_died_is_left_out(cluster, monkeypatch):
    """For seconds Ray takes a killed node for alive, and a task for it is lost."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    cluster.wait_for_nodes()
    with anywhere.opened("ray") as place:
        before = [{**one} for one in place._ray.nodes() if one["Alive"]]
        cluster.remove_node(node, allow_graceful=False)
        monkeypatch.setattr(place._ray, "nodes", lambda: before)
        place._look()
        assert len(before) == place.at_once + 1
        assert place._node in {one["NodeID"] for one in before} - {node.node_id}
        monkeypatch.setattr(place._ray, "nodes", lambda: [one for one in before if one["NodeID"] == node.node_id])
        with pytest.raises(PlaceError, match=r"^a look at its nodes was not done on ray: its workers or nodes were lost"):
            place._look()


def _written(folder):
    path = folder / "net.tflite"
    path.write_bytes(tflite.write(mobile()))
    return path


def test_a_function_is_computed_on_a_node_also_for_a_client(two, port, tmp_path):
    assert two
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    cloudpickle.register_pickle_by_value(computing)  # nodes have Intact, not what tests compute
    (tmp_path / "one").write_bytes(b"1")
    how = {"what": "Work", "memory": 1, "progress": silent, "check": lambda: None}
    with anywhere.opened(f"ray://127.0.0.1:{port}") as place:
        assert isinstance(place, Computer)
        assert (place.is_here, place.lacking()) == (False, "")
        for request in (b"abc", b"de"):
            answer = place.compute(Asked(computing.backwards, request, {"one": tmp_path / "one"}, **how))
            assert answer == b"1" + request[::-1]
        with pytest.raises(OutputError, match=r"^net\.tflite: cannot be written$"):
            place.compute(Asked(computing.fails, b"disk", {}, **how))
        with pytest.raises(ChildError, match=rf"Work on ray://127\.0\.0\.1:{port} failed \(ZeroDivisionError: of nothing\)"):
            place.compute(Asked(computing.fails, b"", {}, **how))

        def check():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            place.compute(Asked(computing.waits, b"60", {}, **(how | {"check": check})))
        assert place.compute(Asked(computing.backwards, b"ab", {}, **how)) == b"ba"  # the core is free again


@pytest.fixture
def studied(cluster, tmp_path, monkeypatch):
    """A study of two runs in a cluster with a node beside the first, and the node."""
    monkeypatch.setattr("intact.measure.figures._LATENCY_SECONDS", 0.2)
    monkeypatch.setattr("intact.measure.figures._ROUNDS", 6)
    monkeypatch.setattr("intact.run.conduct.throughput", lambda *_: ())
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    np.savez(tmp_path / "val.npz", x=images(200), y=np.arange(200) % 4)
    node = cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    cluster.wait_for_nodes()

    def study(**asked):
        asked = {"schemes": "int8,float16", "calibration_samples": 50, "remedies": "plain"} | asked
        return intact.study(_written(tmp_path), tmp_path / "val.npz", **asked)

    yield study, node
    if node in cluster.worker_nodes:
        cluster.remove_node(node)


TIMED = {"latency", "speed-up", "resident memory"}


def untimed(path):
    """What is in the folder of a run, by name, but for times and where they are of."""
    record, details = (json.loads((path / name).read_bytes()) for name in ("result.json", "details.json"))
    del record["machine"], record["versions"]["cpu"], record["settings"]["on"]
    record["measurements"] = [m for m in record["measurements"] if m["name"] not in TIMED]
    record["findings"] = [f for f in record["findings"] if f["kind"] not in {"slower than float", "what helps"}]
    details["latency"] = None
    for op in details["ops"]:
        op["ms"] = None
    return {
        "result.json": record,
        "details.json": details,
        **{name: (path / name).read_bytes() for name in ("model.tflite", "plan.json", "samples.npz")},
    }


def test_a_study_whose_runs_are_computed_on_nodes_survives_the_loss_of_one_with_the_figures_of_this_machine(
    studied, cluster, monkeypatch
):
    study, lost = studied
    here, put, began, timers, counting = study(), [], [], [], threading.Lock()
    lasting, compute = on_ray.Cluster._lasting, on_ray.Cluster.compute

    def puts(self, path):
        with counting:
            known = len(self._lasts)
            reference = lasting(self, path)
            put.extend([path] * (len(self._lasts) - known))
        return reference

    def computes(self, asked):
        began.append(dict(asked.files))
        if len(began) == 2:
            timers.append(threading.Timer(2.0, cluster.remove_node, (lost,), {"allow_graceful": False}))
            timers[0].start()
        return compute(self, asked)

    monkeypatch.setattr(on_ray.Cluster, "_lasting", puts)
    monkeypatch.setattr(on_ray.Cluster, "compute", computes)
    there = study(on="ray")
    timers[0].join()
    assert there.document["machine"]["place"] == "ray"
    assert [row["status"] for row in there.rows] == ["done", "done"]
    for ours, theirs in zip(there.rows, here.rows, strict=True):
        assert untimed(there.folder / ours["runs"][0]) == untimed(here.folder / theirs["runs"][0])
        assert ours["figures"]["latency"]["value"] > 0
    assert lost not in cluster.worker_nodes
    assert len(began) == 2
    names = [path.name for path in put]
    assert names.count("float.tflite") == names.count("outputs of float.npz") == names.count("calibration.npz") == 1
    assert names.count("samples") == names.count("data-0.npy") == 1
    assert len(put) == len(set(put))
    assert {name for files in began for name in files} >= {"samples", "data-0.npy"}


def test_nodes_with_another_pytorch_compute_no_runs_and_that_is_said(studied, monkeypatch):
    study, _ = studied
    monkeypatch.setattr(on_ray.ray_node, "computing", lambda: {"PyTorch": "0.9", "NumPy": np.__version__})
    monkeypatch.setattr(on_ray.Cluster, "compute", lambda *_, **__: pytest.fail("nothing is computed there"))
    said = []
    found = study(on="ray", schemes="float16,float32", tell=said.append)
    assert [row["status"] for row in found.rows] == ["done", "done"]
    assert said == [
        f"cells are computed in this process: the nodes of ray have PyTorch {version('torch')}, and 0.9 is here; install the "
        "same on each"
    ]


# ---- what may be wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ray://", "ray://head:port", "ray://head:10001/path"])
def test_no_address_is_refused(name):
    said = "no address of a Ray cluster; type --on ray, or --on ray://head:10001"
    with pytest.raises(OptionError, match=said), anywhere.opened(name):
        pass


def test_no_cluster_is_said_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = rf"no Ray cluster answers at ray://127\.0\.0\.1:{port} \(Connection refused\); type there: ray start --head"
        with pytest.raises(PlaceError, match=said), anywhere.opened(f"ray://127.0.0.1:{port}"):
            pass


def test_another_ray_on_the_cluster_is_said(cluster, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    monkeypatch.setattr("ray.__version__", "1.0")
    said = r"the cluster of ray has another Ray or Python than is here \(.*Ray: 1\.0.*\); install the same"
    with pytest.raises(PlaceError, match=said), anywhere.opened("ray"):
        pass


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"Ray needs packages .* pip install 'intact\[ray\]'"), anywhere.opened("ray"):
        pass


def test_ends_of_tasks_are_told_in_a_sentence():
    exceptions = pytest.importorskip("ray.exceptions")
    found = on_ray.Cluster("ray")
    found._ray = pytest.importorskip("ray")

    def told(error):
        made = found._told(error, "LiteRT")
        return type(made), str(made)

    kind, said = told(exceptions.OutOfMemoryError("killed"))
    assert kind is ChildError
    assert said.startswith("LiteRT ran out of memory on a node of ray; give its nodes more memory, or fewer cores")
    lost = "LiteRT was not done on ray: its workers or nodes were lost 4 times; type: ray status"
    for error in (
        exceptions.WorkerCrashedError(),
        exceptions.NodeDiedError("gone"),
        exceptions.ObjectLostError("0" * 56, None, ""),
    ):
        assert told(error) == (PlaceError, lost)
    missing = exceptions.RayTaskError("_work", "", ModuleNotFoundError("No module named 'intact'"))
    install = f"the nodes of ray cannot import Intact; type on each: pip install 'intact[ray]=={__version__}'"
    assert told(missing) == (PlaceError, install)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"versions": {"ai-edge-litert": None}}, "LiteRT is not installed on all nodes of ray; type on each: pip install"),
        ({"versions": {"ai-edge-litert": "2.0"}}, r"the nodes of ray have LiteRT 2\.0 and 2\.1, and figures would be mixed"),
        ({"intact": "0.0"}, r"the nodes of ray have Intact 0\.0 and 1\.0"),
    ],
)
def test_nodes_that_are_not_alike_are_refused(changed, said):
    node = {"versions": {"ai-edge-litert": "2.1"}, "intact": "1.0"}
    on_ray._check("ray", [node, node])
    with pytest.raises(PlaceError, match=said):
        on_ray._check("ray", [node, {**node, **changed}])


# ---- a cluster of one's own -----------------------------------------------------------------------------------------------

ALONE = """
import os, sys
sys.path.insert(0, {helpers!r})
from pathlib import Path
import numpy as np
from nets import images
from intact.runtime import anywhere, litert

before = dict(os.environ)
with anywhere.opened("ray") as place:
    here = litert.run(Path({net!r}), {{"image": images(40)}})
    there = litert.run(Path({net!r}), {{"image": images(40)}}, place=place)
    print(here["scores"].tobytes() == there["scores"].tobytes(), os.environ["RAY_USAGE_STATS_ENABLED"], flush=True)
    input()
print({{name for name in os.environ.keys() ^ before.keys() if name != "RAY_CLIENT_MODE"}}, flush=True)
"""


def _family(pid):
    """Processes that descend from one."""
    parents = {}
    for line in subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout.splitlines()[1:]:
        child, parent = map(int, line.split())
        parents[child] = parent
    found, more = {pid}, True
    while more:
        more = {child for child, parent in parents.items() if parent in found} - found
        found |= more
    return found - {pid}


#: 127.0.0.1, the same as IPv6 has it, and ::1, as /proc/net writes them.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def _listening():
    """The TCP sockets that listen on more than loopback, as /proc/*/fd calls them."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[1].rpartition(":")[0] not in LOOPBACK:
                inodes.add(f"socket:[{words[9]}]")
    return inodes


def _sockets(pid):
    found = set()
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            found.add(str(entry.readlink()))
    return found


def _works(pid):
    """Whether a process may still work or listen for work: one that has not ended, and is none of Ray's agents, which look for
    the rest of their cluster for a while.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" and "Agent" not in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_cluster_of_this_machine_listens_on_loopback_and_ends_with_us(net, request):
    helpers = str(request.config.rootpath / "tests" / "helpers")
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE.format(helpers=helpers, net=str(net))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
    )
    try:
        assert process.stdout.readline() == "True 0\n"
        family = _family(process.pid)
        assert len(family) > 3
        beyond = _listening()
        assert not [pid for pid in {process.pid, *family} if _sockets(pid) & beyond]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
    deadline = time.monotonic() + 30
    while (left := [pid for pid in family if _works(pid)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left

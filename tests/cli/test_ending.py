"""How the command ends: outputs that are full, closed or unread, and signals."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from nets import mobile

from intact.cli import signals
from intact.formats import tflite

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and signals as Linux has them")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("ending") / "net.tflite"
    path.write_bytes(tflite.write(mobile()))
    return str(path)


def typed(line, *args):
    """A line of the shell, in which ``intact`` is the command; the exit code of its first command, and what was said."""
    command = f"{sys.executable} -m intact"
    script = line.replace("intact", command, 1) + "; exit ${PIPESTATUS[0]}"
    ran = subprocess.run(["bash", "-c", script, "bash", *args], capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran.returncode, ran.stdout, ran.stderr


FULL = "error: standard output cannot be written (No space left on device); send it to a place that has room"


@pytest.mark.parametrize("command", ["inspect $1", "inspect $1 --json", "--help", "quantize --help", "--version"])
def test_a_full_output_is_one_sentence(net, command):
    code, _, said = typed(f"intact {command} > /dev/full", net)
    assert code == 2
    assert said.strip() == FULL


@pytest.mark.parametrize("line", ["intact inspect $1 --json | true", "intact inspect $1 | head -n 1", "intact inspect $1 >&-"])
def test_an_output_that_nobody_reads_changes_nothing(net, line):
    code, _, said = typed(line, net)
    assert code == 0
    assert said.strip() == ""


@pytest.mark.parametrize("where", ["2> /dev/full", "2>&-", "> /dev/full 2>&1", ">&- 2>&-", "<&- >&- 2>&-"])
def test_an_error_that_nobody_hears_keeps_its_exit_code(where):
    assert typed(f"intact inspect nothing.tflite {where}")[0] == 2


def test_a_device_as_the_output_folder_is_one_sentence(net, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((8, 8, 8, 3), np.float32))
    code, _, said = typed("intact quantize $1 --data $2 --out /dev/full", net, str(tmp_path / "x.npz"))
    assert code == 2
    assert said.strip() == "error: /dev/full cannot be used as a folder (File exists); type --out with another"


WAITS = """
import sys, time
from intact.cli import shared, signals, streams
import typer
signals.unwind()
try:
    with streams.guarded(), shared.reported(False):
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            sys.stderr.write("unwound\\n")
            time.sleep(float(sys.argv[1]))
except typer.Exit as ended:
    sys.exit(ended.exit_code)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_signals_unwind_as_at_ctrl_c(number, code):
    with subprocess.Popen([sys.executable, "-c", WAITS, "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "ready\n"
        run.send_signal(number)
        assert run.wait(30) == code
        assert run.stderr.read() == "unwound\ninterrupted; the same command goes on from here\n"


EARLY = """
import sys, time
from intact.cli import app
def waits(version):
    print("ready", flush=True)
    time.sleep(60)
app.app.registered_callback.callback = lambda version=None: waits(version)
app.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_signals_end_as_well_while_options_are_read(number, code):
    command = [sys.executable, "-c", EARLY, "inspect", "model.tflite"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == "ready\n"
        run.send_signal(number)
        assert run.wait(30) == code
        assert run.stderr.read() == ""


IN_DEL = """
import os, sys, time
from intact.cli import signals
signals.unwind()
class Held:
    def __del__(self):
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(0.01)
with signals.outside():
    held = Held()
    del held
    time.sleep(60)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_in_a_destructor_is_not_lost(number, code):
    run = subprocess.run(
        [sys.executable, "-c", IN_DEL, str(int(number))], capture_output=True, text=True, timeout=30, check=False
    )
    assert (run.returncode, run.stderr) == (code, "")


def test_a_second_signal_at_once_is_the_same_wish():
    with subprocess.Popen(
        [sys.executable, "-c", WAITS, "0.6"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout.readline() == "ready\n"
        run.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        run.send_signal(signal.SIGHUP)
        assert run.wait(30) == 143


def test_an_ignored_signal_stays_ignored(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        signals.unwind()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])

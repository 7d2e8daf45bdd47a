"""A handful of what ``make chaos`` does: whatever disturbs a run, nothing finished is lost and nothing is left behind."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
#: Kinds that need nothing of the machine; real disks, which root alone can mount, come on top.
KINDS = ("child", "clock", "full", "kill", "signal", "two")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, watched and told apart as Linux has them")
def test_a_disturbed_run_loses_nothing():
    """One moment of each kind, which the seed draws: the same command ends in the same bytes."""
    command = [sys.executable, str(RUN), "--each", "1", "--seed", "7"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    done = {line.split()[0]: int(line.split()[1]) for line in ran.stdout.splitlines() if " disturbed, " in line}
    assert {kind: done.get(kind) for kind in KINDS} == dict.fromkeys(KINDS, 1)
    assert ran.stdout.rstrip().endswith(": 0 wrong")

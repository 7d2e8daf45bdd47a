"""An Android device for tests: a folder behind a stand-in for adb's client, and stand-ins for benchmark_model.

None of it has met a phone: both are written from what adb and the program are documented to do.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import pytest

_SCRIPTS = Path(__file__).with_name("android")
SERIAL = "R5CT10ABCDE"
PROPERTIES = {
    "ro.product.manufacturer": "Google",
    "ro.product.model": "Pixel 8",
    "ro.soc.manufacturer": "Google",
    "ro.soc.model": "Tensor G3",
    "ro.board.platform": "zuma",
    "ro.product.cpu.abilist": "arm64-v8a",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
}
CPUINFO = "".join(
    f"processor\t: {n}\nBogoMIPS\t: 49.15\nFeatures\t: fp asimd aes atomics fphp asimdhp asimddp i8mm bf16\n"
    "CPU implementer\t: 0x41\nCPU part\t: 0xd46\n\n"
    for n in range(9)
)
THERMAL = """IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 1
Thermal Status: {status}
Cached temperatures:
\tTemperature{{mValue=99.0, mType=0, mName=BIG, mStatus=3}}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{{mValue=41.5, mType=0, mName=BIG, mStatus=0}}
\tTemperature{{mValue=36.25, mType=3, mName=VIRTUAL-SKIN, mStatus=0}}
\tTemperature{{mValue=4200.0, mType=6, mName=vbat, mStatus=0}}
Current cooling devices from HAL:
\tCoolingDevice{{mValue=0, mType=2, mName=thermal-cpufreq-0}}
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: {powered}
  Wireless powered: false
  status: 2
  present: true
  level: {level}
  scale: 100
  temperature: 312
"""


@final
@dataclass(frozen=True)
class Handset:
    """The folder of one device: ``root`` is its file system, ``state.json`` what adb has to say of it."""

    folder: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def tell(self, **changed: Any) -> None:
        """Change what adb's client meets."""
        file = self.folder / "state.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changed))

    def be(self, state: str) -> None:
        self.tell(devices=[{"serial": SERIAL, "state": state, "model": "Pixel 8"}])

    def say(self, command: str, text: str) -> None:
        """What a command of the device prints."""
        program = self.root / "bin" / command
        (self.root / "bin" / f"{command}.txt").write_text(text)
        program.write_text(f"#!/bin/sh\ncat {program}.txt\n")
        program.chmod(0o755)

    def clocks(self, mhz: int = 1800, cap: int = 2900, top: int = 2900) -> None:
        for n in range(9):
            folder = self.root / f"sys/devices/system/cpu/cpu{n}/cpufreq"
            folder.mkdir(parents=True, exist_ok=True)
            for name, value in (("cur", mhz), ("max", cap)):
                (folder / f"scaling_{name}_freq").write_text(f"{value * 1000}\n")
            (folder / "cpuinfo_max_freq").write_text(f"{top * 1000}\n")
            (folder / "scaling_governor").write_text("sched_pixel\n")

    def hold(self, *, status: int = 0, level: int = 87, powered: bool = True, saver: str = "0") -> None:
        """How warm and how charged it is."""
        self.say("dumpsys", "")
        (self.root / "bin/thermalservice").write_text(THERMAL.format(status=status))
        (self.root / "bin/battery").write_text(BATTERY.format(powered=str(powered).lower(), level=level))
        (self.root / "bin/dumpsys").write_text(f'#!/bin/sh\ncat "{self.root}/bin/$1"\n')
        self.say("settings", saver)

    def files(self) -> list[str]:
        """What lies in its folder for files."""
        return [str(path) for path in (self.root / "data/local/tmp").rglob("*")]

    def pushed(self) -> list[str]:
        file = self.folder / "pushed"
        return file.read_text().split() if file.exists() else []

    def processes(self) -> list[str]:
        """The programs that run on it."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                owner = (process / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if f"ADB_STAND_IN={self.folder}\0" in owner and "--graph=" in " ".join(words):
                found.append(" ".join(words))
        return found


def handset(folder: Path, patch: pytest.MonkeyPatch) -> Handset:
    """A device that is well, with ``adb`` on the path."""
    if sys.platform != "linux":
        pytest.skip("the stand-in for a device needs Linux")
    tools, made = folder / "tools", Handset(folder / "phone")
    tools.mkdir(parents=True)
    for path in ("bin", "data/local/tmp", "proc/sys/kernel/random", "sys/class/thermal/thermal_zone0"):
        (made.root / path).mkdir(parents=True)
    (tools / "adb").write_text(f"#!{sys.executable} -IS\n{(_SCRIPTS / 'adb_client.py').read_text()}")
    (tools / "adb").chmod(0o755)
    shutil.copy(_SCRIPTS / "benchmark_model.py", tools)
    (made.folder / "state.json").write_text("{}")
    made.be("device")
    (made.root / "bin/getprop").write_text(
        "#!/bin/sh\ncase $1 in\n" + "".join(f"{name}) echo '{value}';;\n" for name, value in PROPERTIES.items()) + "esac\n"
    )
    (made.root / "bin/getprop").chmod(0o755)
    (made.root / "proc/cpuinfo").write_text(CPUINFO)
    (made.root / "proc/meminfo").write_text("MemTotal:        7654321 kB\nMemFree: 1 kB\n")
    (made.root / "proc/loadavg").write_text("9.81 9.60 9.50 2/4000 1234\n")
    (made.root / "proc/sys/kernel/random/boot_id").write_text("first\n")
    (made.root / "sys/class/thermal/thermal_zone0/type").write_text("cpu\n")
    (made.root / "sys/class/thermal/thermal_zone0/temp").write_text("40000\n")
    made.clocks()
    made.hold()
    patch.setenv("ADB_STAND_IN", str(made.folder))
    patch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return made


def program(path: Path, how: str = "fixed", machine: int = 183, **more: Any) -> Path:
    """A benchmark_model for a device: the head of an ELF file, and how the stand-in behaves that is run for it."""
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack("<HH", 3, machine)
    path.write_bytes(head + json.dumps({"how": how, **more}).encode())
    return path

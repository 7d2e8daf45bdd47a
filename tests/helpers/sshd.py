"""A real sshd on loopback, with a user of its own as whom commands run: a machine elsewhere, for tests."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pytest

from intact.runtime.devices import Device

_NUMBER = itertools.count()


@final
@dataclass(frozen=True)
class Server:
    """``config``: what ``ssh -F`` takes, in which the machine is called ``device``. ``home``: of its user."""

    folder: Path
    user: str
    home: Path
    config: Path
    port: int
    python: Path

    def device(self, name: str = "pi", **changed: str) -> Device:
        """A row for it."""
        told = {"ssh": "device", "config": str(self.config), "python": str(self.python)} | changed
        return Device(name, folder=str(self.home / "intact"), **told)

    def processes(self) -> list[str]:
        """The commands that run as its user, those of sshd itself left out."""
        return list(self.running().values())

    def running(self) -> dict[int, str]:
        """The same by the numbers of their processes."""
        owner, found = pwd.getpwnam(self.user).pw_uid, {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().split(b"\0")
                if process.stat().st_uid == owner and words[0] and not words[0].startswith(b"sshd"):
                    found[int(process.name)] = b" ".join(words).decode()
        return found

    def cut(self) -> None:
        """End every connection, as a machine does that loses its network."""
        subprocess.run(["pkill", "-KILL", "-u", self.user, "sshd"], check=False)

    def files(self) -> list[str]:
        """What lies in its sessions."""
        return [str(path) for path in (self.home / "intact" / "sessions").rglob("*") if path.is_file()]


def skip_reason() -> str:
    """Why there can be none here; empty where there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a server for another user needs Linux and root"
    missing = [tool for tool in ("/usr/sbin/sshd", "/usr/sbin/useradd", "/usr/bin/python3") if not Path(tool).exists()]
    if missing or shutil.which("ssh") is None:
        return f"needs openssh-server and python3 of the system (no {', '.join(missing) or 'ssh'})"
    return ""


@contextlib.contextmanager
def running(folder: Path, address: str = "127.0.0.1", within: tuple[str, ...] = ()) -> Iterator[Server]:
    """A server at ``address``; ``within``: a command to start it by, such as ``ip netns exec name``."""
    if reason := skip_reason():
        pytest.skip(reason)
    folder.mkdir(exist_ok=True)
    user = f"intact-{os.getpid()}-{next(_NUMBER)}"  # tests run side by side
    home = _user(folder, user)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = _free_port()
    keys = home / ".ssh"
    keys.mkdir(mode=0o700)
    (keys / "authorized_keys").write_text((folder / "user.pub").read_text())
    for path in (keys, keys / "authorized_keys"):
        shutil.chown(path, user, user)
    settings = folder / "sshd_config"
    settings.write_text(
        f"ListenAddress {address}\nPort {port}\nHostKey {folder / 'host'}\nPidFile {folder / 'pid'}\nUsePAM no\n"
        f"PasswordAuthentication no\nAuthorizedKeysFile {keys / 'authorized_keys'}\nStrictModes no\nAllowUsers {user}\n"
        "MaxStartups 50\nUseDNS no\n"
    )
    host_key = (folder / "host.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"[{address}]:{port} {' '.join(host_key)}\n")
    config = folder / "ssh_config"
    config.write_text(
        f"Host device\n  HostName {address}\n  Port {port}\n  User {user}\n  IdentityFile {folder / 'user'}\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder / 'known_hosts'}\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([*within, "/usr/sbin/sshd", "-D", "-e", "-f", str(settings)], stderr=subprocess.DEVNULL)
    try:
        made = Server(folder, user, home, config, port, _python(folder))
        _until_it_answers(made)
        yield made
    finally:
        server.terminate()
        server.wait()
        subprocess.run(["pkill", "-KILL", "-u", user], check=False)
        subprocess.run(["/usr/sbin/userdel", user], capture_output=True, check=False)


def _user(folder: Path, user: str) -> Path:
    """A fresh user with a home of its own, who may enter ``folder``."""
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and path not in {Path("/"), Path("/tmp")}:  # as the system has it
            path.chmod(path.stat().st_mode | 0o711)
    home = folder / "home"
    with contextlib.suppress(KeyError):
        pwd.getpwnam(user)
        subprocess.run(["/usr/sbin/userdel", user], capture_output=True, check=False)
    subprocess.run(
        ["/usr/sbin/useradd", "-m", "-p", "*", "-k", "/dev/null", "-d", str(home), "-s", "/bin/bash", user], check=True
    )
    return home


def _python(folder: Path) -> Path:
    """The system's Python with the packages of this environment, which another user cannot enter through its own."""
    environment = folder / "python"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(environment)], check=True)
    version = subprocess.run(
        [str(environment / "bin/python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    Path(version, "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin/python"


def _until_it_answers(server: Server) -> None:
    for _ in range(100):
        tried = subprocess.run(["ssh", "-F", str(server.config), "device", "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError(tried.stderr.decode())


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])

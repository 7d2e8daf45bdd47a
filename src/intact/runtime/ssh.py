"""A line to another machine by OpenSSH's own client: keys, configuration, jump hosts and known hosts are the user's."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from intact import scratch
from intact.errors import LineLostError, MissingToolError, OptionError, PlaceError

#: Nothing is asked for; a line that says nothing for a quarter of a minute is given up.
_OPTIONS: Final = (
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "LogLevel=ERROR",
    "ForwardX11=no",
    "ForwardAgent=no",
    "RequestTTY=no",
)
#: Seconds that a shared connection outlives its last user.
_IDLE: Final = 30
#: Seconds for a connection to stand, keys and jump hosts included.
_CONNECTING: Final = 90
#: Exit status by which the client says that the connection failed, and not the command.
FAILED: Final = 255
#: The longest path of a socket on any system is 104 bytes, and ssh appends 17 while it makes one.
_LONGEST_SOCKET: Final = 80

#: What the client prints, and what to do about it.
_REFUSED: Final = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed",
        "the key of {host} is not the one known; if the machine was set up anew, type: ssh-keygen -R {name}, then: ssh {host}",
    ),
    (r"Host key verification failed", "the key of {host} is not known yet; look at it and confirm it once, type: ssh {host}"),
    (
        r"Permission denied|Too many authentication failures|no mutual signature",
        "{host} does not let this user in without a password; type: ssh-copy-id {host}",
    ),
    (r"Could not resolve hostname|Name or service not known", "no machine is called {host}; type the name or address of one"),
    (r"Bad configuration option|no such file|Can't open user config file", "ssh does not take its configuration ({said})"),
)
#: What it prints where the machine may come back.
_LOST: Final = (
    (r"Connection refused", "{host} takes no ssh connections; is sshd running there?"),
    (r"timed out|Timeout, server", "{host} does not answer; is it on, and in this network?"),
    (r"No route to host|Network is unreachable|Host is down", "there is no way to {host}; is it on, and in this network?"),
)


@final
class Ssh:
    """One machine, as ``ssh`` calls it: ``user@host``, an alias of the configuration, or ``ssh://user@host:port``.

    ``config``: a file to read instead of the user's configuration. Commands share one connection from :meth:`open` on.
    """

    def __init__(self, host: str, config: Path | None = None) -> None:
        if not host.strip() or host.startswith("-") or any(c.isspace() or not c.isprintable() for c in host):
            raise OptionError(f"{host!r} names no machine; type --ssh user@host, as ssh takes it")
        self.host = host
        self._config = config
        self._socket: Path | None = None

    def open(self) -> None:
        """Connect; PlaceError says why not and what to do."""
        if shutil.which("ssh") is None:
            raise MissingToolError("OpenSSH's client is not installed; type: sudo apt install openssh-client")
        if sys.platform == "win32":  # whose client shares no connections
            return
        if self._socket is None:
            socket = scratch.lasting() / "s"
            if len(str(socket)) > _LONGEST_SOCKET:
                return
            self._socket = socket
        if self._is_open():
            return
        shared = ["-M", "-N", "-f", "-o", f"ControlPersist={_IDLE}"]
        with (self._socket.parent / "said").open("w+b") as said:  # a pipe would be held open by what stays behind
            try:
                ended = subprocess.run(
                    [*self._client(), *shared, "--", self.host],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    timeout=_CONNECTING,
                    check=False,
                    start_new_session=True,
                )
            except subprocess.TimeoutExpired:
                raise LineLostError(f"{self.host} does not answer; is it on, and in this network?") from None
            said.seek(0)
            if ended.returncode:
                raise self.refusal(said.read().decode(errors="replace"))

    def close(self) -> None:
        """End the shared connection; twice is once."""
        if self._socket is not None:
            self._control("exit")

    def command(self, words: Sequence[str]) -> list[str]:
        """What to start here for ``words`` to run there."""
        return [*self._client(), "--", self.host, shlex.join(words)]

    def refusal(self, printed: str) -> PlaceError:
        """The error for what the client printed."""
        said = " ".join(printed.split())[-300:]
        name = re.sub(r"^ssh://", "", self.host).rpartition("@")[2].partition(":")[0]
        for error, table in ((PlaceError, _REFUSED), (LineLostError, _LOST)):
            for pattern, words in table:
                if re.search(pattern, printed, re.IGNORECASE):
                    return error(words.format(host=self.host, name=name, said=said))
        return LineLostError(f"the line to {self.host} broke ({said or 'ssh said nothing'})")

    def _client(self) -> list[str]:
        config = [] if self._config is None else ["-F", str(self._config)]
        shared = [] if self._socket is None else ["-S", str(self._socket)]
        return ["ssh", *config, *shared, *(word for option in _OPTIONS for word in ("-o", option))]

    def _is_open(self) -> bool:
        return self._control("check") == 0

    def _control(self, word: str) -> int:
        command = [*self._client(), "-O", word, "--", self.host]
        try:
            return subprocess.run(command, capture_output=True, timeout=_CONNECTING, check=False).returncode
        except subprocess.TimeoutExpired:
            return FAILED

"""What a child process may still do, said to the kernel before anything of a stranger is read; standard library only.

Linux takes all of it: limits (``setrlimit``), no writes but below given paths and no TCP (Landlock), no socket of any kind
(a seccomp filter). macOS takes the limits on CPU time and file size. What a system does not have is left out and not an error:
:func:`confine` says what holds. Both rule sets bind the thread that asks for them and what that starts, so they come before
any other thread. Sources: linux/landlock.h, linux/seccomp.h, linux/filter.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import importlib
import os
import platform
import signal
import stat
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

try:
    resource: Any = importlib.import_module("resource")
except ImportError:  # Windows
    resource = None

_PR_SET_NO_NEW_PRIVS: Final = 38
#: Address space that libraries reserve and never touch: arenas of malloc, thread stacks, the code itself.
_RESERVED: Final = 64 << 30

# Landlock's accesses by the version that brought them: those that change something, and reading of files. Others stay allowed.
_WRITE_FILE, _READ_FILE, _TRUNCATE, _IOCTL_DEV = 1 << 1, 1 << 2, 1 << 14, 1 << 15
_ON_FILES: Final = _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
#: remove_dir, remove_file, make_char, make_dir, make_reg, make_sock, make_fifo, make_block, make_sym
_CHANGES: Final = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
_NEWER: Final = ((2, 1 << 13), (3, _TRUNCATE), (5, _IOCTL_DEV))  # refer (links and moves between folders) is bit 13
_TCP, _TCP_SINCE = 0b11, 4  # bind, connect
_SCOPES, _SCOPES_SINCE = 0b11, 6  # abstract unix sockets, and signals to others
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every processor
_VERSION: Final = 1  # of landlock_create_ruleset: only say the version
_PATH_BENEATH: Final = 1

#: By processor: its name to audit, and its numbers of ``prlimit64``, ``socket``, ``setsid`` and ``setpgid``; io_uring makes
#: sockets too, and has one number on all.
_PROCESSORS: Final[Mapping[str, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, 302, 41, 112, 109),
    "aarch64": (0xC00000B7, 261, 198, 157, 154),
}
_IO_URING_SETUP: Final = 425
_SECCOMP, _SET_MODE_FILTER = {"x86_64": 317, "aarch64": 277}, 1
#: Without it, kernels before 5.16 slow a filtered process down to keep it from guessing at memory.
_SPEC_ALLOW: Final = 1 << 2
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EACCES
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_X32: Final = 0x40000000


def confine(rules: Mapping[str, Any]) -> list[str]:
    """Hold this process to ``rules``: ``writes`` (paths), ``memory``, ``file_bytes`` (bytes), ``cpu_seconds``.

    What holds from now on, of "memory", "cpu", "files", "writes", "network".
    """
    holds = _limit(rules)
    if sys.platform == "linux":
        system = ctypes.CDLL(None, use_errno=True)
        if system.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            holds += ["writes"] * _deny_writes(system, rules["writes"]) + ["network"] * _deny_calls(system)
    return holds


def renew(rules: Mapping[str, Any]) -> None:
    """Count CPU time from now on."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + rules["cpu_seconds"]) + 1, hard=False)


def _limit(rules: Mapping[str, Any]) -> list[str]:
    if resource is None:
        return []
    with contextlib.suppress(ValueError, OSError):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and native code may not look at what it wrote
    _lower(resource.RLIMIT_CORE, 0)
    renew(rules)
    holds = ["cpu"] + ["files"] * _lower(resource.RLIMIT_FSIZE, rules["file_bytes"])
    if sys.platform == "linux":  # macOS takes the call and does nothing
        mapped = rules["memory"] + rules["file_bytes"] + _RESERVED
        holds += ["memory"] * (_lower(resource.RLIMIT_DATA, rules["memory"]) and _lower(resource.RLIMIT_AS, mapped))
    return holds


def _lower(limit: int, value: int, *, hard: bool = True) -> bool:
    """Set a limit, or keep a lower one that holds already."""
    had = resource.getrlimit(limit)[1]
    value = value if had == resource.RLIM_INFINITY else min(value, had)
    try:
        resource.setrlimit(limit, (value, value if hard else had))
    except (ValueError, OSError):
        return False
    return True


def _deny_writes(system: ctypes.CDLL, writes: Iterable[str]) -> bool:
    """No change to the file system but below ``writes`` and in /dev/null; no TCP and no signals to others besides.

    Nothing is read of other processes either: the environment variables of those that started this one are among it.
    """
    version = system.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    if version < 1:
        return False
    changes = _CHANGES + sum(bit for since, bit in _NEWER if version >= since)
    handled = [changes | _READ_FILE] + [_TCP] * (version >= _TCP_SINCE) + [_SCOPES] * (version >= _SCOPES_SINCE)
    packed = struct.pack(f"={len(handled)}Q", *handled)
    rules = system.syscall(_CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0)
    if rules < 0:
        return False
    try:
        for path in (*writes, os.devnull):
            _allow(system, rules, path, changes)
        for path in _readable():
            _allow(system, rules, path, _READ_FILE)
        return bool(system.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)


def _readable() -> list[str]:
    """All that lies in the root folder, and of /proc what is the system's or this process's own."""
    try:
        system = [path for path in Path("/proc").iterdir() if not path.name.isdecimal()]
        return [str(path) for path in (*Path("/").iterdir(), Path("/proc/self"), *system) if path != Path("/proc")]
    except OSError:  # where there is no /proc there is nothing to hide
        return ["/"]


def _allow(system: ctypes.CDLL, rules: int, path: str, changes: int) -> None:
    """Let ``path``, and all that lies below it, be changed. One that is not there cannot be."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            allowed = changes if stat.S_ISDIR(os.fstat(opened).st_mode) else changes & (_ON_FILES | _READ_FILE)
            system.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", allowed, opened), 0)
        finally:
            os.close(opened)


def _deny_calls(system: ctypes.CDLL) -> bool:
    """No new socket, of a family that Landlock does not know either: UDP, and unix sockets of services that do more.

    ``socketpair``, which libraries talk to themselves with, is another call. Nor does anything leave the process group, which
    is ended as a whole, or set the limits of another process.
    """
    machine = platform.machine()
    if machine not in _PROCESSORS:
        return False
    audit, limits, *denied = _PROCESSORS[machine]
    last = 8 + len(denied) + 1  # where it says deny
    program = [
        (_LOAD, 0, 0, 4),  # the processor that the call is for: a 64-bit one takes calls of its 32-bit kind too
        (_IF_EQUAL, 0, last - 2, audit),  # else deny
        (_LOAD, 0, 0, 0),  # the number of the call
        (_IF_AT_LEAST, last - 4, 0, _X32),  # the same calls by other numbers: deny
        *((_IF_EQUAL, last - at, 0, call) for at, call in enumerate((*denied, _IO_URING_SETUP), 5)),
        (_IF_EQUAL, 0, 2, limits),
        (_LOAD, 0, 0, 16),  # its first argument: whose limits
        (_IF_EQUAL, 0, 1, 0),  # those of the process itself; else deny
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    whole = struct.pack("HP", len(program), ctypes.addressof(code))
    return bool(system.syscall(_SECCOMP[machine], _SET_MODE_FILTER, _SPEC_ALLOW, whole) == 0)

"""A stand-in for adb's client, for tests: one device that is a folder, run by a daemon that outlives the client, as adbd does.

``$ADB_STAND_IN`` is the folder: ``state.json`` says what there is to see, ``root`` is the device's file system. It was written
from what adb is documented to do, and has met no phone.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HOME = Path(os.environ["ADB_STAND_IN"])
ROOT = HOME / "root"
TOOL = Path(__file__).with_name("benchmark_model.py")


def state():
    return json.loads((HOME / "state.json").read_text())


def fail(said):
    sys.stderr.write(f"{said}\n")
    raise SystemExit(1)


def there(text):
    """Paths of the device as those of this machine."""
    return re.sub(r"(?<![\w.])/(data/local|proc|sys)/", lambda found: f"{ROOT}/{found[1]}/", text)


def devices():
    print("* daemon not running; starting now at tcp:5037\n* daemon started successfully\nList of devices attached")
    for row in state()["devices"]:
        model = f" product:p model:{row['model'].replace(' ', '_')} device:d" if row["state"] == "device" else ""
        print(f"{row['serial']:<22} {row['state']} usb:1-1{model} transport_id:1")
    print()


def meet(serial):
    """End as adb does where the device cannot be used."""
    gone = HOME / "gone"
    if gone.exists() and time.time() < float(gone.read_text()):
        fail(f"adb: device '{serial}' not found")
    row = next((row for row in state()["devices"] if row["serial"] == serial), None)
    if row is None:
        fail(f"adb: device '{serial}' not found")
    if row["state"] == "unauthorized":
        fail("adb: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set")
    if row["state"] != "device":
        fail(f"adb: device {row['state']}")


def push(source, target):
    if state().get("full"):
        fail(f"adb: error: failed to copy '{source}' to '{target}': remote couldn't create file: No space left on device")
    if not Path(there(target)).parent.is_dir():
        fail(f"adb: error: failed to copy '{source}' to '{target}': remote couldn't create file: Permission denied")
    with (HOME / "pushed").open("a") as file:
        file.write(f"{Path(source).name}\n")
    shutil.copyfile(source, there(target))
    if state().get("short"):
        Path(there(target)).write_bytes(Path(source).read_bytes()[:-1])
    print(f"{source}: 1 file pushed, 0 skipped. 30.0 MB/s ({Path(source).stat().st_size} bytes in 0.001s)")


def shell(serial, script):
    if "--graph=" in script and "lose" in state():
        told = state()
        told["lose"] -= 1
        if told["lose"] == 0:
            del told["lose"]
            if told.pop("reboots", None):
                (ROOT / "proc/sys/kernel/random/boot_id").write_text("another\n")
            (HOME / "gone").write_text(str(time.time() + told.get("gone_for", 1)))
        (HOME / "state.json").write_text(json.dumps(told))
        meet(serial)
    ours, theirs = socket.socketpair()
    script = re.sub(r"(?m)^\./(\w+) ", lambda found: f"{sys.executable} -IS {TOOL} ./{found[1]} ", there(script))
    if os.fork() == 0:
        os.setsid()
        ours.close()
        for descriptor in range(3):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        daemon(theirs, script)
        os._exit(0)
    theirs.close()
    threading.Thread(target=feed, args=(ours,), daemon=True).start()
    told = ours.makefile("rb")
    for line in told:
        answer = json.loads(line)
        if "status" in answer:
            os._exit(answer["status"])
        stream = sys.stdout if answer["stream"] == "out" else sys.stderr
        stream.write(answer["text"])
        stream.flush()
    fail("error: closed")


def feed(line):
    """What comes in at our standard input goes to the shell there; its end is told as well."""
    while chunk := os.read(0, 1 << 16):
        line.sendall(chunk)
    line.shutdown(socket.SHUT_WR)


def daemon(line, script):
    """Run a script as adbd does: input and output are one socket, whose end it waits for, and it kills nothing itself."""
    ours, theirs = socket.socketpair()
    path = f"{ROOT / 'bin'}:{os.environ['PATH']}"
    process = subprocess.Popen(
        ["/bin/sh", "-c", script], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env={**os.environ, "PATH": path}
    )
    theirs.close()

    def put():
        while chunk := line.recv(1 << 16):
            ours.sendall(chunk)
        ours.shutdown(socket.SHUT_WR)

    threading.Thread(target=put, daemon=True).start()
    sent = threading.Lock()

    def say(answer):
        with sent, contextlib.suppress(OSError):
            line.sendall(json.dumps(answer).encode() + b"\n")

    def relay(read, stream):
        while chunk := read():
            say({"stream": stream, "text": chunk.decode(errors="replace")})

    errors = threading.Thread(target=relay, args=(lambda: process.stderr.read1(1 << 16), "err"), daemon=True)
    errors.start()
    relay(lambda: ours.recv(1 << 16), "out")
    say({"status": process.wait()})


match sys.argv[1:]:
    case ["start-server"]:
        if state().get("no_server"):
            fail("adb: failed to start daemon\nadb: error: cannot connect to daemon")
    case ["devices", "-l"]:
        devices()
    case ["-s", serial, "push", source, target]:
        meet(serial)
        push(source, target)
    case ["-s", serial, "shell", script]:
        meet(serial)
        shell(serial, script)
    case words:
        fail(f"adb: unknown command {words}")

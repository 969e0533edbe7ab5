"""Envoy's own parent: a small shell script in a session of its own, so that Envoy outlives the agent.

Covers starting, finding again and stopping it. Does not cover what Envoy is configured with (bootstrap), nor when it
ought to run (host). Blocking calls: for a thread.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import psutil

PID_FILE = "supervisor.pid"
SCRIPT_FILE = "supervisor.sh"
LOG_FILE = "envoy.log"

_STOP_S = 10.0  # Envoy closes its connections and ends within a second; after this it is killed


def start(envoy: Path, run_dir: Path, arguments: Sequence[str] = ()) -> None:
    """Start the supervisor, detached; returns when it has written its pid file. OSError when it did not."""
    # A copy beside the state: sh reads a script while it runs, and an update of the package would change it underneath.
    copy = run_dir / SCRIPT_FILE
    fresh = run_dir / f"{SCRIPT_FILE}.new"
    fresh.write_text(script())
    fresh.replace(copy)
    (run_dir / PID_FILE).unlink(missing_ok=True)
    with (run_dir / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            ["/bin/sh", str(copy), str(envoy), str(run_dir), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    _children[process.pid] = process
    deadline = time.monotonic() + 5
    while find(run_dir) is None:
        if process.poll() is not None or time.monotonic() > deadline:
            raise OSError(f"Envoy's supervisor did not start (see {run_dir / LOG_FILE})")
        time.sleep(0.01)


def script() -> str:
    """What keeps Envoy; another one is a reason to start Envoy again."""
    return resources.files(__package__).joinpath(SCRIPT_FILE).read_text()


# The ones that this process started: they must be reaped, else a dead one looks alive.
_children: dict[int, subprocess.Popen[bytes]] = {}


def find(run_dir: Path) -> int | None:
    """The process id of the supervisor that serves this folder, whoever started it; None when none runs."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]
    try:
        pid, started = (int(word) for word in (run_dir / PID_FILE).read_text().split())
        return pid if _start_ticks(pid) == started else None
    except (OSError, ValueError):
        return None


def envoy_pid(run_dir: Path) -> int | None:
    """The Envoy that the supervisor runs now; None between two of them."""
    parent = find(run_dir)
    if parent is None:
        return None
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        pid = int((run_dir / "envoy.pid").read_text())
        if psutil.Process(pid).ppid() == parent:
            return pid
    return None


def restart_envoy(run_dir: Path) -> None:
    """End this Envoy; its supervisor starts the next one at once."""
    pid = envoy_pid(run_dir)
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def stop(run_dir: Path) -> bool:
    """End the supervisor and its Envoy, within about ten seconds. False when none ran."""
    pid = find(run_dir)
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while find(run_dir) == pid:
        if time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # it leads its own session: only itself and its Envoy are in the group
            break
        time.sleep(0.02)
    (run_dir / PID_FILE).unlink(missing_ok=True)
    return True


def _start_ticks(pid: int) -> int:
    """Field 22 of /proc/PID/stat; the name in field 2 may hold spaces, so count from its closing parenthesis."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(f"process {pid} has ended")
    return int(fields[19])

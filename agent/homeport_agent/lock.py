"""One agent per state directory: two would stop each other's containers.

Covers the lock. The kernel lets go of it when the process ends, however it ends.
"""

import fcntl
import os
from pathlib import Path


class AlreadyRunning(Exception):
    """One line: who holds the directory."""


def take(state_dir: Path) -> int:
    """Lock the directory for this process; keep the returned file descriptor open. Raises AlreadyRunning, OSError."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(handle)
        raise AlreadyRunning(f"another agent runs with {state_dir} (pid {pid}); stop it, or give --state-dir") from None
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


def release(handle: int) -> None:
    os.close(handle)

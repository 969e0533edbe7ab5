"""What the processes of a stack take, looked at from outside: memory, files, threads, disk, how late their loops are.

Covers finding them (the Envoys are children of their supervisors, which are nobody's), and one look at a time. When to look
and what to make of it: bench/soak.py. Numbers are by name, "server rss_mib": process, then what.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from homeport_agent.envoy import supervisor
from rig.stack import Stack, lag_file

MIB = 1024 * 1024
FIND_EACH = 10  # looks: a further Envoy may come


class StackProcesses:
    """`more`: further processes to look at, by name; of the stack itself all are found."""

    def __init__(self, stack: Stack, more: Mapping[str, int]) -> None:
        self._stack = stack
        self._more = dict(more)
        self._known: dict[str, psutil.Process] = {}
        self._counts: dict[str, list[int]] = {}
        self._looks = 0
        self.changed: list[str] = []  # processes that are others than before, in words

    def look(self) -> dict[str, float]:
        """All numbers that can be had now. Blocking, some ms."""
        found: dict[str, float] = {}
        if self._looks % FIND_EACH == 0 or not all(process.is_running() for process in self._known.values()):
            self._find()
        self._looks += 1
        for name, process in self._known.items():
            with suppress(psutil.Error), process.oneshot():
                found[f"{name} rss_mib"] = process.memory_info().rss / MIB
                found[f"{name} fds"] = process.num_fds()
                found[f"{name} threads"] = process.num_threads()
                found[f"{name} cpu_s"] = sum(process.cpu_times()[:2])
        for name in ("server", "agent"):
            found |= self._lag(name)
        return found | self._disk()

    def lag_counts(self, name: str) -> list[int]:
        """Of all the time since its start; see homeport_protos.lag."""
        return self._counts.get(name, [])

    def _find(self) -> None:
        now: dict[str, psutil.Process] = {}
        for name, pid in {"server": self._stack.server.pid, "agent": self._stack.agent.pid, **self._more}.items():
            with suppress(psutil.Error):
                now[name] = psutil.Process(pid)
        for run_dir in run_dirs(self._stack.agent_state):
            pids = {"supervisor": supervisor.find(run_dir), "envoy": supervisor.envoy_pid(run_dir)}
            for name, pid in pids.items():
                if pid is not None:
                    with suppress(psutil.Error):
                        now[f"{name} {run_dir.name}"] = psutil.Process(pid)
        for name, process in self._known.items():
            if now.get(name) != process:
                self.changed.append(f"{name} ({process.pid}) ended")
        self._known = now

    def _lag(self, name: str) -> dict[str, float]:
        try:
            told = json.loads(lag_file(self._stack.folder, name).read_text())
        except (OSError, ValueError):
            return {}
        self._counts[name] = told["counts"]
        return {f"{name} lag_ms": told["worst_ms"]}

    def _disk(self) -> dict[str, float]:
        server, agent = self._stack.folder / "server", self._stack.agent_state
        sizes = {
            "database file_mib": size(server / "homeport.db"),
            "database wal_mib": size(server / "homeport.db-wal"),
            "server disk_mib": tree(server, lambda name: not name.startswith("homeport.db")),
            "agent disk_mib": tree(agent, lambda name: not name.startswith("access.log"), skip=("logs",)),
            "agent access_logs_mib": tree(agent, lambda name: name.startswith("access.log"), skip=("logs",)),
            "agent kept_logs_mib": tree(agent / "logs", lambda name: True),
        }
        return {name: bytes_ / MIB for name, bytes_ in sizes.items()}


def run_dirs(state_dir: Path) -> list[Path]:
    """Where the Envoys of this agent run."""
    return sorted(file.parent for file in state_dir.rglob(supervisor.PID_FILE))


def size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def tree(folder: Path, counts: Callable[[str], bool], skip: tuple[str, ...] = ()) -> int:
    """Bytes of the files in it whose names count; without its folders `skip`."""
    total = 0
    for here, folders, files in os.walk(folder):
        if Path(here) == folder:
            folders[:] = [name for name in folders if name not in skip]
        total += sum(size(Path(here) / name) for name in files if counts(name))
    return total

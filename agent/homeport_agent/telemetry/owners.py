"""Whose a process is: from its control group to its container, and from there to our replica, another's container, or none.

Covers the reading of /proc. Paths of both control group versions, as Docker, containerd, CRI-O and podman write them, hold
the container's id as 64 hex digits; nothing else on a system's path does.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from homeport_agent.gpus.model import GpuProcess

_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
MOST_KNOWN = 4096
SHORT = 12  # digits of an id that people know


def container_of(cgroup: str) -> str:
    """The id in the text of /proc/PID/cgroup; empty: in no container. Of nested ones the innermost."""
    found = _ID.findall(cgroup)
    return found[-1] if found else ""


class Owners:
    """`replicas`: replica ids by the ids of our containers. Looks at each process once in its life.

    Children of this process are left out: the check that proves a GPU is nobody who holds it.
    """

    def __init__(
        self, replicas: Callable[[], Mapping[str, str]], proc: Path = Path("/proc"), own_pid: int | None = None
    ) -> None:
        self._replicas = replicas
        self._proc = proc
        self._own_pid = str(own_pid or os.getpid())
        self._known: dict[tuple[int, str], str | None] = {}  # container by pid and start time; None: a child of ours

    def named(self, processes: Iterable[GpuProcess]) -> tuple[GpuProcess, ...]:
        """The same, each with its replica or its container."""
        ours = self._replicas()
        return tuple(named for it in processes if (named := self._named(it, ours)) is not None)

    def _named(self, process: GpuProcess, ours: Mapping[str, str]) -> GpuProcess | None:
        container = self._container(process.pid)
        if container is None:
            return None
        if container in ours:
            return replace(process, replica_id=ours[container])
        return replace(process, container=container[:SHORT]) if container else process

    def _container(self, pid: int) -> str | None:
        try:
            # A pid is used again; with its start time (field 22, after the name's last bracket) it is not.
            stat = (self._proc / str(pid) / "stat").read_text()
            fields = stat.rpartition(")")[2].split()
            key = (pid, fields[19])
            if key not in self._known:
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                cgroup = (self._proc / str(pid) / "cgroup").read_text()
                self._known[key] = None if fields[1] == self._own_pid else container_of(cgroup)
            return self._known[key]
        except (OSError, IndexError, UnicodeDecodeError):
            return ""  # it has ended, or it is another PID namespace's

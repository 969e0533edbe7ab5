"""Readings of the host: processor, memory, swap, network, from /proc directly: psutil costs ten times as much."""

import os
import re
import time
from pathlib import Path

from homeport_agent.telemetry.model import HostReading

MOST_BYTES = 65536
_MEMORY = re.compile(r"^(MemTotal|MemAvailable|SwapTotal|SwapFree):\s*(\d+)", re.MULTILINE)


class HostReader:
    """Rates and shares are of the time since the last `read`. What cannot be read is 0."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._files: dict[str, int] = {}  # kept open: to open them costs more than to read them
        self._cpu = (0, 0)  # busy, all; in ticks
        self._net = (0, 0)
        self._at_s = 0.0

    def read(self, docker: str, disk_used_mib: int, clock_offset_s: float | None) -> HostReading:
        now_s = time.monotonic()
        busy, every = self._ticks()
        received, sent = self._bytes()
        passed_s = now_s - self._at_s if self._at_s else 0.0
        ticks = every - self._cpu[1]
        memory = self._memory()
        reading = HostReading(
            cpu=round(max(0.0, (busy - self._cpu[0]) / ticks), 3) if passed_s and ticks > 0 else 0.0,
            load=tuple(round(it, 2) for it in os.getloadavg()),
            memory_used_mib=(memory.get("MemTotal", 0) - memory.get("MemAvailable", 0)) // 1024,
            swap_used_mib=(memory.get("SwapTotal", 0) - memory.get("SwapFree", 0)) // 1024,
            swap_total_mib=memory.get("SwapTotal", 0) // 1024,
            disk_used_mib=disk_used_mib,
            network_received_bytes_s=max(0, received - self._net[0]) / passed_s if passed_s else 0.0,
            network_sent_bytes_s=max(0, sent - self._net[1]) / passed_s if passed_s else 0.0,
            docker=docker,
            clock_offset_s=clock_offset_s,
        )
        self._cpu, self._net, self._at_s = (busy, every), (received, sent), now_s
        return reading

    def _ticks(self) -> tuple[int, int]:
        """Busy and all, since boot: the first line of /proc/stat, of which the fourth and fifth number are idle."""
        numbers = [int(it) for it in self._text("stat").partition("\n")[0].split()[1:9]]
        return sum(numbers) - sum(numbers[3:5]), sum(numbers)

    def _bytes(self) -> tuple[int, int]:
        received = sent = 0
        for line in self._text("net/dev").splitlines()[2:]:
            name, _, rest = line.partition(":")
            numbers = rest.split()
            if name.strip() != "lo" and len(numbers) >= 9:
                received, sent = received + int(numbers[0]), sent + int(numbers[8])
        return received, sent

    def _memory(self) -> dict[str, int]:
        """KiB by name."""
        return {name: int(kib) for name, kib in _MEMORY.findall(self._text("meminfo"))}

    def _text(self, name: str) -> str:
        try:
            if name not in self._files:
                self._files[name] = os.open(self._proc / name, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._files[name], MOST_BYTES, 0).decode()
        except OSError:
            return ""

"""XIDs in the kernel's log: what the driver writes when it has no more GPU to send an event for. Not everybody may read it.

Lines as NVIDIA's catalogue shows them: "NVRM: Xid (PCI:0000:17:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off
the bus."
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_XID = re.compile(r"NVRM: Xid \(PCI:(?P<bus>[0-9a-fA-F:.]+)\): (?P<xid>\d+)(?:,|$|\s)")
_BUS = re.compile(r"(?:([0-9a-f]+):)?([0-9a-f]{2}):([0-9a-f]{2})(?:\.[0-9a-f])?")
RECORD_BYTES = 8192  # the kernel's own bound of one record
MOST_RECORDS = 1000  # of one look
LINE_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class LoggedXid:
    bus: str  # as `bus_key` gives it
    xid: int
    line: str


def bus_key(bus_id: str) -> str:
    """One way to write a PCI device: "0000:17:00.0" and "00000000:17:00" are the same."""
    match = _BUS.fullmatch(bus_id.lower())
    return f"{int(match[1] or '0', 16):04x}:{match[2]}:{match[3]}" if match else ""


def parse(record: str) -> LoggedXid | None:
    """A record of /dev/kmsg: its head, ";", and the line."""
    line = record.partition(";")[2].partition("\n")[0]
    match = _XID.search(line)
    return LoggedXid(bus_key(match["bus"]), int(match["xid"]), line[:LINE_CHARACTERS]) if match else None


class KernelLog:
    """From now on; what was before has been told by others. `is_readable`: this process may read it."""

    def __init__(self, path: Path = Path("/dev/kmsg")) -> None:
        self._file: int | None = None
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with suppress(OSError):  # a pipe has nothing from before
                os.lseek(self._file, 0, os.SEEK_END)
        except OSError:
            self.close()

    @property
    def is_readable(self) -> bool:
        return self._file is not None

    def read(self) -> list[LoggedXid]:
        """What came since the last time. Never waits."""
        found: list[LoggedXid] = []
        for _ in range(MOST_RECORDS):
            if self._file is None:
                break
            try:
                record = os.read(self._file, RECORD_BYTES)
            except BlockingIOError:
                break
            except BrokenPipeError:
                continue  # records were overwritten before they were read: the next ones are there
            except OSError:
                self.close()
                break
            if not record:
                break
            # One record a time from the kernel; a file has more of them, and a record has lines that tell nothing.
            found += [it for it in map(parse, record.decode("utf-8", "replace").split("\n")) if it is not None]
        return found

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

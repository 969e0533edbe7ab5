"""Which TCP ports a process' network listens on, as /proc shows it.

Covers reading; only a hint for a person, so whatever cannot be read is simply not said.
"""

from pathlib import Path

_LISTEN = "0A"


def listening_ports(pid: int) -> tuple[int, ...]:
    """Sorted ports that something in the network namespace of `pid` listens on; empty when that cannot be seen."""
    ports: set[int] = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:] if pid else []
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if len(columns) > 3 and columns[3] == _LISTEN:
                ports.add(int(columns[1].rpartition(":")[2], 16))
    return tuple(sorted(ports))

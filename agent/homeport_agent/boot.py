"""Which start of this machine it is: after another one, nothing runs of what ran.

The kernel's boot id (random(4)) alone would not do: a machine that is a container itself starts anew under the same kernel,
with another first process.
"""

from pathlib import Path

PROC = Path("/proc")
_STARTTIME = 22 - 3  # of proc(5) stat, counted from the field after the name


def machine_boot_id(proc: Path = PROC) -> str:
    """Empty when it cannot be told."""
    try:
        kernel = (proc / "sys/kernel/random/boot_id").read_text().strip()
        first = (proc / "1/stat").read_text().rpartition(")")[2].split()
        return f"{kernel}/{first[_STARTTIME]}"
    except (OSError, IndexError):
        return ""

"""A clock on the wall that tests move, for chosen processes: compiles shift.c and writes the number that it adds.

    clock = Clock(folder)
    ... a process with {**environment, **clock.environment()}
    clock.jump(hours=1)         # at once, for all of them, and for what they start; monotonic clocks go on as they are
    clock.jump()                # as before

Processes that are started inside a container do not have it, nor static programs.
"""

import mmap
import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("shift.c")


class Clock:
    """Needs gcc; one file and one library in `folder`, which is there as long as the processes are."""

    def __init__(self, folder: Path) -> None:
        self._library, self._file = folder / "clock.so", folder / "clock"
        command = [
            "gcc",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-shared",
            "-fPIC",
            "-o",
            str(self._library),
            str(SOURCE),
        ]
        subprocess.run([*command, "-ldl"], check=True, timeout=60, capture_output=True, text=True)
        self._file.write_bytes(struct.pack("=q", 0))

    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "HOMEPORT_TEST_CLOCK": str(self._file)}

    def jump(self, *, hours: float = 0.0) -> None:
        """So far from the true time; written in place, for it is mapped."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as mapped:
            mapped[:] = struct.pack("=q", round(hours * 3_600_000_000_000))

"""What `doctor --host` looks at on the machine itself: slots, kernel modules, disk, clock, kernel log.

Covers reading, under a root that tests choose. Does not cover what it means (checks).
"""

import ctypes
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from homeport_agent.preflight.checks import PciGpu

NVIDIA, DISPLAY_CLASS = "0x10de", "0x03"  # PCI: vendor; VGA, 3D and other display controllers
_TIME_ERROR, _STA_UNSYNC = 5, 0x0040  # linux/timex.h
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Machine:
    root: Path = Path("/")

    def gpu_slots(self) -> tuple[PciGpu, ...]:
        found = []
        for device in sorted((self.root / "sys/bus/pci/devices").glob("*")):
            if _text(device / "vendor") == NVIDIA and _text(device / "class").startswith(DISPLAY_CLASS):
                driver = device / "driver"
                found.append(PciGpu(device.name, os.path.basename(os.readlink(driver)) if driver.is_symlink() else ""))
        return tuple(found)

    def driver_version(self) -> str:
        """Of the loaded kernel module; empty: there is none. Its open variant calls itself "Open Kernel Module"."""
        said = _text(self.root / "proc/driver/nvidia/version")
        match = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s", said + "\n")
        return match.group(1) if match else ""

    def has_nouveau(self) -> bool:
        modules = _text(self.root / "proc/modules").splitlines()
        return any(line.startswith("nouveau ") for line in modules)

    def kernel_log_problem(self) -> str:
        """Empty: it can be read."""
        try:
            os.close(os.open(self.root / "dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
        except OSError as error:
            return (error.strerror or str(error)).lower()
        return ""


def disk(path: str) -> tuple[int, int]:
    """Free and total MiB. Raises OSError."""
    usage = shutil.disk_usage(path)
    return usage.free // _MIB, usage.total // _MIB


def is_clock_synchronised() -> bool | None:
    """As the kernel knows it from whatever keeps it right (NTP, chrony, PTP); None where it cannot be asked."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        ask = libc.adjtimex
    except AttributeError:
        return None
    # struct timex: modes (4 bytes, padded), offset, freq, maxerror, esterror (longs), status (int), and more
    buffer = ctypes.create_string_buffer(512)
    state = ask(buffer)
    if state < 0:
        return None
    at = 5 * ctypes.sizeof(ctypes.c_long)
    status = ctypes.c_int.from_buffer(buffer, at).value
    return state != _TIME_ERROR and not status & _STA_UNSYNC


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""

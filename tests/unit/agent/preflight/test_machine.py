"""A made-up /sys and /proc, and this very machine."""

from pathlib import Path

from homeport_agent.preflight import machine
from homeport_agent.preflight.checks import PciGpu
from homeport_agent.preflight.machine import Machine

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (dvs-builder@U16)\nGCC version: 12"
CLOSED = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC version: gcc 12.2.0"
)


def slot(root: Path, address: str, vendor: str = "0x10de", kind: str = "0x030200", driver: str = "") -> None:
    folder = root / "sys/bus/pci/devices" / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")
    if driver:
        (folder / "driver").symlink_to(f"../../../../bus/pci/drivers/{driver}")


def test_only_nvidias_display_controllers_are_gpus(tmp_path: Path) -> None:
    slot(tmp_path, "0000:3b:00.0", driver="nvidia")
    slot(tmp_path, "0000:3b:00.1", kind="0x040300")  # its sound
    slot(tmp_path, "0000:00:02.0", vendor="0x8086", kind="0x030000")
    slot(tmp_path, "0000:af:00.0", kind="0x030000")
    assert Machine(tmp_path).gpu_slots() == (PciGpu("0000:3b:00.0", "nvidia"), PciGpu("0000:af:00.0", ""))


def test_the_version_of_either_kernel_module_is_read(tmp_path: Path) -> None:
    assert Machine(tmp_path).driver_version() == ""
    file = tmp_path / "proc/driver/nvidia/version"
    file.parent.mkdir(parents=True)
    for text, version in ((OPEN, "570.86.15"), (CLOSED, "550.54.14"), ("something else", "")):
        file.write_text(text)
        assert Machine(tmp_path).driver_version() == version


def test_nouveau_is_found_among_the_modules(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    modules = tmp_path / "proc/modules"
    modules.write_text("nvidia 1 0 - Live\nvideo 1 1 nouveau, Live\n")
    assert not Machine(tmp_path).has_nouveau()
    modules.write_text("nouveau 2 0 - Live\n")
    assert Machine(tmp_path).has_nouveau()


def test_a_kernel_log_that_is_not_there_says_why(tmp_path: Path) -> None:
    assert Machine(tmp_path).kernel_log_problem() == "no such file or directory"
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").touch()
    assert Machine(tmp_path).kernel_log_problem() == ""


def test_this_machine_tells_its_disk_and_its_clock() -> None:
    free_mib, total_mib = machine.disk("/")
    assert 0 < free_mib < total_mib
    assert machine.is_clock_synchronised() in (True, False)

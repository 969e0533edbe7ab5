import subprocess
import sys
from pathlib import Path

from homeport_agent.boot import machine_boot_id


def test_it_is_the_same_for_every_process_of_this_machine() -> None:
    command = [sys.executable, "-c", "from homeport_agent.boot import machine_boot_id as it; print(it())"]
    other = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert machine_boot_id() == other != ""


def proc(folder: Path, boot_id: str, started: int) -> Path:
    kernel = folder / "sys/kernel/random"
    kernel.mkdir(parents=True, exist_ok=True)
    (kernel / "boot_id").write_text(f"{boot_id}\n")
    (folder / "1").mkdir(exist_ok=True)
    # proc(5): the name may hold spaces and brackets; starttime is the 22nd field
    (folder / "1/stat").write_text(f"1 (an) init) S 0 1 1 0 -1 4194560 {' '.join(['7'] * 12)} {started} 999 888\n")
    return folder


def test_another_kernel_or_another_first_process_is_another_boot(tmp_path: Path) -> None:
    first = machine_boot_id(proc(tmp_path, "aaa", 55))
    assert first == "aaa/55"
    assert machine_boot_id(proc(tmp_path, "aaa", 56)) == "aaa/56"
    assert machine_boot_id(proc(tmp_path, "bbb", 55)) == "bbb/55"


def test_where_it_cannot_be_told_it_is_empty(tmp_path: Path) -> None:
    assert machine_boot_id(tmp_path) == ""
    (proc(tmp_path, "aaa", 1) / "1/stat").write_text("1 (init) S")
    assert machine_boot_id(tmp_path) == ""

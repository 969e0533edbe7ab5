"""The rig itself: each fault does what it says, and nothing is left of a machine when it goes."""

import subprocess
import time
from pathlib import Path

import pytest
from rig.hosts import hosts
from rig.machine import FAULTS_SH, HOSTS, Machine, run_script

pytestmark = [pytest.mark.slow, pytest.mark.docker]

NAMES = ("rig-1", "rig-2")
DISK_MIB = 200


# Like units of systemd's own that a race at boot can fail: they may be started, never restarted.
FAILS_AT_BOOT = """[Unit]
RefuseManualStop=yes
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'test -e /run/second || { touch /run/second; exit 1; }'
[Install]
WantedBy=multi-user.target
"""


def small_disk(machine: Machine) -> None:
    if machine.name == "rig-2":
        run_script(FAULTS_SH, "disk", machine.name, str(DISK_MIB))


def unit_that_fails_at_boot(machine: Machine) -> None:
    units = machine.root / "etc/systemd/system"
    (units / "late.service").write_text(FAILS_AT_BOOT)
    (units / "multi-user.target.wants/late.service").symlink_to("../late.service")


def connect(machine: Machine, timeout_s: int = 2) -> str:
    """How an attempt to reach its sshd ends, in the words of the kernel; empty: it answers."""
    done = subprocess.run(
        ["timeout", str(timeout_s), "bash", "-c", f"exec 3<>/dev/tcp/{machine.address}/22 && head -c 3 <&3"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "timeout" if done.returncode == 124 else "" if done.stdout == "SSH" else done.stderr


def left() -> set[str]:
    """What the kernel still has of our machines."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    groups = [path for name in NAMES for path in Path("/sys/fs/cgroup").glob(f"**/homeport-test-{name}")]
    found = {path for path in mounts if any(path.startswith(f"{HOSTS}/{name}/") for name in NAMES)}
    found |= {name for name in NAMES if f"hpt-{name}" in links or (HOSTS / name).exists()}
    return found | {str(path) for path in groups}


def test_each_fault_does_what_it_says_and_nothing_is_left(tmp_path: Path) -> None:
    with hosts(tmp_path, NAMES, 70, small_disk) as made:
        first, second = made.machines
        assert left()
        assert first.shell(f"timeout 3 bash -c 'head -c 3 </dev/tcp/{second.address}/22'") == "SSH", (
            "they reach one another"
        )

        assert connect(first) == ""
        first.fault("cut")
        assert connect(first) == "timeout"
        assert first.shell("timeout 3 bash -c 'head -c 3 </dev/tcp/127.0.0.1/22'") == "SSH", "it serves itself"
        first.fault("mend")
        assert connect(first) == ""
        first.fault("unplug")
        assert "No route to host" in connect(first, 10)
        first.fault("plug")
        assert connect(first, 10) == ""

        first.fault("slow", 1000)
        began_s = time.monotonic()
        assert made.ssh(first, "head -c 250000 /dev/zero").returncode == 0
        assert time.monotonic() - began_s > 1.0, "2 Mbit at 1 Mbit/s take two seconds"
        first.fault("fast")

        first.fault("memory", 300)
        hungry = first.run("python3", "-c", "x = bytearray(600 << 20)", check=False)
        assert hungry.returncode == -9 or hungry.returncode == 137, hungry.returncode
        first.fault("memory", 20000)
        assert connect(first) == "", "the machine lives"

        full = second.shell(f"dd if=/dev/zero of=/var/lib/docker/x bs=1M count={DISK_MIB * 2} 2>&1 || true")
        assert "No space left on device" in full

        first.shell("echo kept >/root/note; sync")
        first.power_loss()
        assert first.shell("cat /root/note") == "kept\n"
        first.off()
        assert "No route to host" in connect(first, 10)
        first.boot()
        assert connect(first, 10) == ""
    assert left() == set()


def test_what_failed_at_boot_is_started_before_the_machine_counts_as_up(tmp_path: Path) -> None:
    with hosts(tmp_path, NAMES[:1], 70, unit_that_fails_at_boot) as made:
        [machine] = made.machines
        assert machine.shell("systemctl is-active late; systemctl --failed --plain --no-legend") == "active\n"

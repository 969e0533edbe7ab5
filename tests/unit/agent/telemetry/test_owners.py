"""Whose a process is, over /proc files as the systems write them, and over a real one."""

import os
from pathlib import Path

import pytest
from homeport_agent.gpus.model import GpuProcess
from homeport_agent.telemetry.owners import Owners, container_of

ID = "0123456789abcdef" * 4
OTHER = "f" * 64


@pytest.mark.parametrize(
    "cgroup",
    [
        f"12:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n",
        f"0::/system.slice/docker-{ID}.scope\n",
        f"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n",
        f"0::/machine.slice/libpod-{ID}.scope/container\n",
        f"0::/docker/{OTHER}/docker/{ID}\n",
    ],
)
def test_every_engines_path_gives_the_innermost_container(cgroup: str) -> None:
    assert container_of(cgroup) == ID


@pytest.mark.parametrize("cgroup", ["", "0::/user.slice/session-1.scope\n", f"0::/a{ID}\n"])
def test_what_is_in_no_container_has_none(cgroup: str) -> None:
    assert container_of(cgroup) == ""


def process(proc: Path, pid: int, cgroup: str, *, started: int = 5, parent: int = 1) -> GpuProcess:
    folder = proc / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup").write_text(cgroup)
    (folder / "stat").write_text(f"{pid} (a) b) S {parent} " + "0 " * 17 + f"{started} 0\n")
    return GpuProcess(pid, "python3", 100)


def test_a_process_is_a_replicas_anothers_or_nobodys(tmp_path: Path) -> None:
    owners = Owners(lambda: {ID: "r1"}, tmp_path, own_pid=99)
    seen = owners.named(
        [
            process(tmp_path, 10, f"0::/docker/{ID}"),
            process(tmp_path, 11, f"0::/docker/{OTHER}"),
            process(tmp_path, 12, "0::/user.slice"),
            GpuProcess(13, "gone", 5),
        ]
    )
    assert [(it.replica_id, it.container) for it in seen] == [("r1", ""), ("", "f" * 12), ("", ""), ("", "")]


def test_a_pid_that_is_used_again_is_looked_at_again(tmp_path: Path) -> None:
    owners = Owners(lambda: {ID: "r1"}, tmp_path, own_pid=99)
    assert owners.named([process(tmp_path, 10, f"0::/docker/{ID}")])[0].replica_id == "r1"
    assert owners.named([process(tmp_path, 10, "0::/", started=6)])[0].replica_id == ""


def test_our_own_check_of_a_gpu_holds_nothing(tmp_path: Path) -> None:
    owners = Owners(dict, tmp_path, own_pid=99)
    assert owners.named([process(tmp_path, 10, "0::/", parent=99)]) == ()


def test_a_real_process_is_read() -> None:
    (seen,) = Owners(dict).named([GpuProcess(os.getpid(), "pytest")])
    assert seen.replica_id == ""

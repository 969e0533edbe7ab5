"""`homeport_agent doctor` as its own process: on this machine without a GPU, and with GPUs that a fake library shows."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from homeport_agent.preflight.examine import within
from rig.gpu_docker import gpu_docker
from rig.nvml.gpus import FakeGpus, compile_library

VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Feb 22 01:44:30 UTC 2024\n"
GPU_CHECKS = {"driver", "NVML", "compute mode", "persistence", "kernel log", "containers"}


def doctor(folder: Path, **environment: str) -> tuple[dict[str, dict[str, str]], int]:
    """The checks by what they are about, and the exit code."""
    command = [sys.executable, "-P", "-m", "homeport_agent", "doctor", "--json", "--root", str(folder / "root")]
    command += ["--state-dir", str(folder / "state")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HOMEPORT_", "DOCKER_"))}
    env = {**clean, **environment}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=env, check=False)
    assert done.stderr == ""
    assert not (folder / "state").exists()
    return {it["what"]: it for it in map(json.loads, done.stdout.splitlines())}, done.returncode


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    compile_library(folder)
    return folder


@pytest.fixture
def gpus(library: Path, tmp_path: Path) -> FakeGpus:
    """Two GPUs in their slots, driven by NVIDIA's module of the library's version."""
    slots(tmp_path, "0000:3b:00.0", "0000:af:00.0")
    version = tmp_path / "root/proc/driver/nvidia/version"
    version.parent.mkdir(parents=True)
    version.write_text(VERSION)
    return FakeGpus(library)


def slots(folder: Path, *addresses: str) -> None:
    for address in addresses:
        device = folder / "root/sys/bus/pci/devices" / address
        device.mkdir(parents=True)
        (device / "vendor").write_text("0x10de\n")
        (device / "class").write_text("0x030200\n")


def fake(gpus: FakeGpus) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(gpus.library_folder), "FAKE_NVML": str(gpus.path)}


def test_a_machine_without_gpus_passes_and_says_so(tmp_path: Path) -> None:
    found, code = doctor(tmp_path)
    assert found["GPUs"] == {"state": "ok", "what": "GPUs", "why": "none in this machine", "do": ""}
    assert not GPU_CHECKS & found.keys()
    assert {"clock", "ports"} <= found.keys()
    assert code == any(it["state"] == "fail" for it in found.values())


def test_gpus_without_a_driver_fail_with_what_to_install(tmp_path: Path) -> None:
    slots(tmp_path, "0000:3b:00.0")
    found, code = doctor(tmp_path)
    assert (found["driver"]["state"], found["NVML"]["state"], code) == ("fail", "fail", 1)
    assert "1 GPUs and no NVIDIA driver loaded" in found["driver"]["why"]
    assert "containers" not in found


def test_gpus_that_answer_are_named_and_judged(gpus: FakeGpus, tmp_path: Path) -> None:
    found, _ = doctor(tmp_path, **fake(gpus), DOCKER_HOST="unix:///nowhere/docker.sock")
    assert found["GPUs"]["why"].startswith("2 in this machine: NVIDIA H100 80GB HBM3 (80GB)")
    assert found["driver"]["why"] == "NVIDIA 570.86.15 is loaded"
    assert found["NVML"]["state"] == "ok"
    assert found["kernel log"]["state"] == "warn"  # the made-up root has none
    assert "Docker does not answer at /nowhere/docker.sock" in found["Docker"]["why"]
    assert "containers" not in found


def test_a_gpu_that_fell_off_the_bus_fails(gpus: FakeGpus, tmp_path: Path) -> None:
    gpus.set(gpu1__lost=1)
    found, code = doctor(tmp_path, **fake(gpus), DOCKER_HOST="unix:///nowhere/docker.sock")
    assert (found["NVML"]["state"], code) == ("fail", 1)
    assert found["NVML"]["why"].startswith("1 of 2 GPUs")


def test_a_library_of_another_version_fails_with_a_reboot(gpus: FakeGpus, tmp_path: Path) -> None:
    gpus.set(driver="575.57.08")
    found, _ = doctor(tmp_path, **fake(gpus), DOCKER_HOST="unix:///nowhere/docker.sock")
    assert found["NVML"]["state"] == "fail"
    assert "575.57.08" in found["NVML"]["why"]
    assert "reboot" in found["NVML"]["do"]


def test_a_driver_that_hangs_is_told_and_does_not_hold_the_end(gpus: FakeGpus, tmp_path: Path) -> None:
    gpus.set(delay__Count=60_000)
    began_s = time.monotonic()
    found, code = doctor(tmp_path, **fake(gpus), DOCKER_HOST="unix:///nowhere/docker.sock")
    assert time.monotonic() - began_s < 40
    assert (found["NVML"]["state"], code) == ("fail", 1)
    assert "hang" in found["NVML"]["why"]
    assert "reboot" in found["NVML"]["do"]


@pytest.mark.docker
@pytest.mark.skipif(os.environ.get("HOMEPORT_TEST_NO_DOCKER") == "1", reason="HOMEPORT_TEST_NO_DOCKER=1")
def test_a_container_is_tried_on_the_first_gpu(gpus: FakeGpus, tmp_path: Path) -> None:
    with gpu_docker(gpus.uuid(0)) as rig:
        found, _ = doctor(tmp_path, **fake(gpus), HOMEPORT_DOCKER_SOCKET=rig.socket)
        assert found["containers"] == {
            "state": "ok",
            "what": "containers",
            "why": f"a container gets {gpus.uuid(0)}",
            "do": "",
        }
        rig.know()
        found, code = doctor(tmp_path, **fake(gpus), HOMEPORT_DOCKER_SOCKET=rig.socket)
        assert (found["containers"]["state"], code) == ("fail", 1)


@pytest.fixture
def hanging() -> Iterator[list[float]]:
    until_s = [time.monotonic() + 3]
    yield until_s
    until_s[0] = 0


def test_a_look_that_hangs_is_left_to_itself(hanging: list[float]) -> None:
    def look() -> None:
        while time.monotonic() < hanging[0]:
            time.sleep(0.01)

    began_s = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.05 s"):
        within(0.05, look)
    assert time.monotonic() - began_s < 2

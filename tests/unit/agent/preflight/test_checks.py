"""What is said of each thing that may be found on a host."""

import pytest
from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Gpu, GpuTrouble
from homeport_agent.preflight import checks
from homeport_agent.preflight.checks import Check, PciGpu

SLOT, NOUVEAU, AWAY = (PciGpu(f"0000:0{i}:00.0", driver) for i, driver in enumerate(("nvidia", "nouveau", "vfio-pci")))
GPU = Gpu("GPU-1", "A5000", 24576, 0, driver_version="550.54.14", cuda_version="12.4", compute_mode="default")


def state(check: Check) -> tuple[str, str]:
    return check.state, check.what


def test_a_machine_without_gpus_is_fine() -> None:
    assert str(checks.gpus((), GpuSample())) == "ok    GPUs           — none in this machine"


def test_instances_of_a_gpu_are_not_counted_as_gpus() -> None:
    cut = GpuSample((GPU, Gpu("MIG-1", "A5000 MIG 1g", 6000, 0, mig_parent="GPU-1")))
    assert checks.gpus((), cut).why == "1 in this machine: A5000 (24GB)"
    assert checks.nvml((SLOT,), cut, "550.54.14").state == "ok"


@pytest.mark.parametrize(
    ("slots", "version", "has_nouveau", "expected", "says"),
    [
        ((SLOT,), "550.54.14", False, "ok", "NVIDIA 550.54.14 is loaded"),
        ((SLOT,), "550.54.14", True, "ok", "NVIDIA 550.54.14 is loaded"),  # loaded, and holds none
        ((SLOT, NOUVEAU), "550.54.14", True, "fail", "blacklist nouveau"),
        ((NOUVEAU,), "", True, "fail", "blacklist nouveau"),
        ((PciGpu("0000:00:00.0"),), "", False, "fail", "apt install nvidia-driver"),
        ((AWAY,), "", False, "warn", "virtual machines"),
        ((AWAY, PciGpu("0000:00:00.0")), "", False, "fail", "no NVIDIA driver loaded"),
    ],
)
def test_the_driver_is_judged_by_what_holds_the_slots(
    slots: tuple[PciGpu, ...], version: str, has_nouveau: bool, expected: str, says: str
) -> None:
    found = checks.driver(slots, version, has_nouveau=has_nouveau)
    assert found.state == expected
    assert says in str(found)


@pytest.mark.parametrize(
    ("slots", "sample", "module", "says"),
    [
        (
            (SLOT,),
            GpuSample(unavailable="Driver/library version mismatch", driver_trouble="mismatch"),
            "550.1",
            "reboot: the driver was updated",
        ),
        ((SLOT,), GpuSample(unavailable="NVML hangs", driver_trouble="hung"), "550.1", "NVML hangs"),
        ((SLOT,), GpuSample(unavailable="no NVIDIA driver: libnvidia-ml.so.1 not found"), "550.1", "libraries"),
        ((SLOT,), GpuSample((GPU,)), "550.1", "the library is of 550.54.14, the module of 550.1"),
        ((SLOT, SLOT), GpuSample((GPU,)), "550.54.14", "1 of 2 GPUs"),
        ((SLOT,), GpuSample((GPU,), troubles=(GpuTrouble("", "lost", "GPU is lost"),)), "", "GPU is lost"),
    ],
)
def test_a_library_that_does_not_answer_for_every_gpu_fails(
    slots: tuple[PciGpu, ...], sample: GpuSample, module: str, says: str
) -> None:
    found = checks.nvml(slots, sample, module)
    assert found.state == "fail"
    assert says in str(found)
    assert found.do


def test_gpus_of_virtual_machines_are_not_expected_to_answer() -> None:
    assert checks.nvml((SLOT, AWAY), GpuSample((GPU,)), "550.54.14") == Check(
        "ok", "NVML", "answers, 1 GPUs, CUDA 12.4"
    )


def test_modes_that_bar_or_slow_replicas_are_told() -> None:
    def found(mode: str, persistence: bool | None) -> list[tuple[str, str]]:
        gpu = Gpu("GPU-1", "A5000", 24576, 0, compute_mode=mode, persistence_mode=persistence)
        return [state(it) for it in checks.modes([gpu])]

    assert found("default", True) == [("ok", "compute mode"), ("ok", "persistence")]
    assert found("PROHIBITED", False) == [("fail", "compute mode"), ("warn", "persistence")]
    assert found("exclusive-process", None) == [("warn", "compute mode")]
    assert found("", None) == []


@pytest.mark.parametrize(
    ("version", "storage", "expected"),
    [
        ("20.10.24+dfsg1", "overlay2", "ok"),
        ("28.5.0", "overlay2", "ok"),
        ("19.03.15", "overlay2", "fail"),
        ("28.5.0", "vfs", "warn"),
    ],
)
def test_a_docker_that_is_old_or_slow_is_told(version: str, storage: str, expected: str) -> None:
    found = checks.docker({"ServerVersion": version, "Driver": storage, "CgroupVersion": "2"})
    assert found.state == expected
    assert f"{version}, storage {storage}, cgroup v2" in found.why


@pytest.mark.parametrize(("free_mib", "expected"), [(1024, "fail"), (10 * 1024, "warn"), (100 * 1024, "ok")])
def test_a_disk_is_judged_by_what_images_need(free_mib: int, expected: str) -> None:
    found = checks.disk("/var/lib/docker", free_mib, 500 * 1024)
    assert found.state == expected
    assert ("docker system prune" in found.do) is (expected != "ok")


def test_a_clock_that_nothing_keeps_right_is_told() -> None:
    assert [checks.clock(it).state for it in (True, False, None)] == ["ok", "warn", "warn"]


def test_a_port_is_free_or_ours_or_in_the_way() -> None:
    place = ("0.0.0.0", 80)  # noqa: S104 - a value
    assert checks.port(None, "", is_ours=False).state == "ok"
    assert checks.port(place, "", is_ours=False).state == "ok"
    assert checks.port(place, "", is_ours=True).state == "ok"
    assert checks.port(place, "port 80 is taken by nginx", is_ours=False).state == "fail"


def test_a_kernel_log_that_cannot_be_read_and_a_container_without_its_gpu_are_told() -> None:
    assert state(checks.kernel_log("operation not permitted")) == ("warn", "kernel log")
    assert checks.kernel_log("").state == "ok"
    assert checks.containers("", "GPU-1").why == "a container gets GPU-1"
    assert checks.containers("Docker has no NVIDIA support", "GPU-1").state == "fail"

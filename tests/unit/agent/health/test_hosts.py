"""What is seen of the host."""

import pytest
from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Gpu, GpuTrouble, Severity
from homeport_agent.health.hosts import of_host
from homeport_agent.health.model import HostLook

GIB = 1024
NO_GPU = GpuSample()


def codes(host: HostLook, sample: GpuSample = NO_GPU, known: int = 0) -> list[str]:
    return [it.code for it in of_host(sample, host, known)]


@pytest.mark.parametrize(
    ("total_gib", "free_gib", "is_found"),
    [(100, 10, 0), (100, 9, True), (4000, 21, 0), (4000, 19, True), (0, 0, 0)],
)
def test_a_disk_is_nearly_full_below_a_tenth_or_one_large_image(total_gib: int, free_gib: int, is_found: bool) -> None:
    host = HostLook(disk_total_mib=total_gib * GIB, disk_free_mib=free_gib * GIB)
    assert codes(host) == (["disk"] if is_found else [])


@pytest.mark.parametrize(("offset_s", "is_found"), [(None, 0), (4.9, 0), (-5.1, True), (5.1, True)])
def test_a_clock_is_wrong_beyond_five_seconds(offset_s: float | None, is_found: bool) -> None:
    assert codes(HostLook(clock_offset_s=offset_s)) == (["clock"] if is_found else [])


def test_the_reason_says_which_clock_is_ahead() -> None:
    (behind,) = of_host(GpuSample(), HostLook(clock_offset_s=-61.2), 0)
    assert behind.reason == "its clock is 61 s behind the server's: certificates may fail"


def test_docker_that_does_not_answer_fails_the_host() -> None:
    (sign,) = of_host(GpuSample(), HostLook(docker_unavailable="no socket"), 0)
    assert (sign.code, sign.severity, sign.reason) == ("docker", Severity.FAILING, "Docker does not answer: no socket")


def test_a_driver_that_is_not_loaded_is_no_news_on_a_host_without_gpus() -> None:
    sample = GpuSample(unavailable="no driver", driver_trouble="not-loaded")
    assert codes(HostLook(), sample, known=0) == []
    assert codes(HostLook(), sample, known=2) == ["driver-not-loaded"]


def test_a_trouble_of_the_driver_that_has_no_name_here_is_told_all_the_same() -> None:
    sample = GpuSample(unavailable="it burns", driver_trouble="on-fire")
    assert codes(HostLook(), sample) == ["driver-on-fire"]


def test_a_gpu_that_never_answered_is_told_of_the_host_unless_it_is_one_that_is_missed() -> None:
    nameless = GpuTrouble("", "lost", "GPU at index 1: GPU is lost")
    sample = GpuSample(gpus=(Gpu("GPU-0", "H100", 1, 0),), troubles=(nameless,))
    assert codes(HostLook(), sample, known=2) == []
    (sign,) = of_host(sample, HostLook(), 1)
    assert (sign.code, sign.reason) == ("gpu-unknown", "1 GPU has never answered: GPU at index 1: GPU is lost")

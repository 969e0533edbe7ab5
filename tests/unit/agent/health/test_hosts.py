"""What is seen of the host."""

import pytest
from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Severity
from homeport_agent.health.hosts import of_host
from homeport_agent.health.model import HostLook

GIB = 1024
NO_GPU = GpuSample()


def codes(host: HostLook, sample: GpuSample = NO_GPU, knows_gpus: bool = False) -> list[str]:
    return [it.code for it in of_host(sample, host, knows_gpus)]


@pytest.mark.parametrize(
    ("total_gib", "free_gib", "is_found"),
    [(100, 10, False), (100, 9, True), (4000, 21, False), (4000, 19, True), (0, 0, False)],
)
def test_a_disk_is_nearly_full_below_a_tenth_or_one_large_image(total_gib: int, free_gib: int, is_found: bool) -> None:
    host = HostLook(disk_total_mib=total_gib * GIB, disk_free_mib=free_gib * GIB)
    assert codes(host) == (["disk"] if is_found else [])


@pytest.mark.parametrize(("offset_s", "is_found"), [(None, False), (4.9, False), (-5.1, True), (5.1, True)])
def test_a_clock_is_wrong_beyond_five_seconds(offset_s: float | None, is_found: bool) -> None:
    assert codes(HostLook(clock_offset_s=offset_s)) == (["clock"] if is_found else [])


def test_the_reason_says_which_clock_is_ahead() -> None:
    (behind,) = of_host(GpuSample(), HostLook(clock_offset_s=-61.2), False)
    assert behind.reason == "its clock is 61 s behind the server's: certificates may fail"


def test_docker_that_does_not_answer_fails_the_host() -> None:
    (sign,) = of_host(GpuSample(), HostLook(docker_unavailable="no socket"), False)
    assert (sign.code, sign.severity, sign.reason) == ("docker", Severity.FAILING, "Docker does not answer: no socket")


def test_a_driver_that_is_not_loaded_is_no_news_on_a_host_without_gpus() -> None:
    sample = GpuSample(unavailable="no driver", driver_trouble="not-loaded")
    assert codes(HostLook(), sample, knows_gpus=False) == []
    assert codes(HostLook(), sample, knows_gpus=True) == ["driver-not-loaded"]


def test_a_trouble_of_the_driver_that_has_no_name_here_is_told_all_the_same() -> None:
    sample = GpuSample(unavailable="it burns", driver_trouble="on-fire")
    assert codes(HostLook(), sample) == ["driver-on-fire"]

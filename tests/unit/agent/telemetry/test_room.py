"""telemetry/room: what of the newest readings the server does not know yet, and who holds more than it reserved."""

from dataclasses import replace

import pytest
from fakes.agent import replica
from homeport_agent.gpus.base import GpuSample
from homeport_agent.gpus.model import Gpu, GpuProcess, GpuReading
from homeport_agent.model import AssignedReplica, HostFacts
from homeport_agent.telemetry.room import TelemetryRoom

FACTS = HostFacts(hostname="box", disk_total_mib=1000, disk_free_mib=400)
SHARED = replica("r1", gpu_uuids=("GPU-1",), gpus_shared=True, gpu_memory_mib=1000)


class Told:
    def __init__(self) -> None:
        self.running: dict[str, tuple[AssignedReplica, str]] = {"r1": (SHARED, "c" * 64)}
        self.news = self.findings = 0

    def has_news(self) -> None:
        self.news += 1

    def has_findings(self) -> None:
        self.findings += 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def room(told: Told) -> TelemetryRoom:
    return TelemetryRoom(lambda: told.running, told.has_news, told.has_findings)


def sample(mib: int, **reading: object) -> GpuSample:
    process = GpuProcess(7, "python3", mib, "r1")
    one = GpuReading("GPU-1", memory_used_mib=mib, processes=(process,), **reading)  # type: ignore[arg-type]
    return GpuSample(gpus=(Gpu("GPU-1", "A100", 81920, mib),), readings=(one,))


def test_the_first_news_are_all_of_it_and_the_next_what_is_another(room: TelemetryRoom, told: Told) -> None:
    room.looked(sample(500), FACTS)
    assert told.news == 1
    first = room.news()
    assert first is not None
    assert (first.full, [it.uuid for it in first.gpus]) == (True, ["GPU-1"])
    assert (first.host is not None and first.host.disk_used_mib, first.replicas[0].gpu_memory_mib) == (600, 500)
    room.looked(sample(500, utilisation=0.5), FACTS)
    second = room.news()
    assert second is not None
    assert (second.full, [it.utilisation for it in second.gpus], second.replicas) == (False, [0.5], ())
    assert (room.news(anew=True) or second).full, "a new session's server knows nothing"


def test_the_state_of_docker_goes_along(room: TelemetryRoom) -> None:
    room.looked(sample(1), replace(FACTS, docker_unavailable="Docker does not answer"))
    news = room.news()
    assert news is not None
    assert news.host is not None
    assert news.host.docker == "Docker does not answer"


def test_one_that_holds_more_than_it_reserved_is_found_once_and_over_when_it_is(
    room: TelemetryRoom, told: Told
) -> None:
    for mib, findings in ((900, 0), (1200, 1), (1300, 1), (900, 2)):
        room.looked(sample(mib), FACTS)
        assert told.findings == findings, mib
        assert [it.code for it in room.findings] == (["over-reservation"] if mib > 1000 else [])


def test_a_process_gets_its_owner(room: TelemetryRoom) -> None:
    process = GpuProcess(1, "init", 5)
    reading = GpuReading("GPU-1", processes=(process,))
    owned = room.owned(GpuSample(gpus=(Gpu("GPU-1", "A100", 1, 1, processes=(process,)),), readings=(reading,)))
    assert owned.gpus[0].processes == owned.readings[0].processes == (process,), "it is nobody's container"

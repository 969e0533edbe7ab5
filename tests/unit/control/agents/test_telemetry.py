"""What hosts sampled: merged, bounded, forgotten with the session."""

import pytest
from homeport_control.agents.telemetry import MOST_GPUS, MOST_INTERVAL_S, Telemetry, interval_s
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import host_pb2


def gpu(uuid: str, mib: int) -> host_pb2.GpuReading:
    return host_pb2.GpuReading(uuid=uuid, memory_used_mib=mib)


def told(*gpus: host_pb2.GpuReading, full: bool = False, cpu: float | None = None) -> agent_pb2.Telemetry:
    message = agent_pb2.Telemetry(full=full, gpus=gpus)
    if cpu is not None:
        message.host.CopyFrom(host_pb2.HostReading(cpu=cpu))
    return message


def test_changes_are_laid_over_what_was_and_a_full_one_replaces_it() -> None:
    telemetry = Telemetry()
    telemetry.take("h1", told(gpu("A", 1), gpu("B", 2), full=True, cpu=0.5))
    telemetry.take("h1", told(gpu("A", 9)))
    known = telemetry.of("h1")
    assert known is not None
    assert {uuid: it.memory_used_mib for uuid, it in known.gpus.items()} == {"A": 9, "B": 2}
    assert known.host is not None
    assert known.host.cpu == 0.5
    telemetry.take("h1", told(gpu("B", 3), full=True))
    known = telemetry.of("h1")
    assert known is not None
    assert list(known.gpus) == ["B"]
    assert known.host is not None, "the host's own numbers are told only when they are others"


def test_a_session_that_ends_takes_its_readings_with_it() -> None:
    telemetry = Telemetry()
    telemetry.take("h1", told(gpu("A", 1)))
    with telemetry.watch() as news:
        telemetry.forget("h1")
        assert news.is_set()
    assert telemetry.of("h1") is None


def test_a_host_cannot_fill_the_memory() -> None:
    telemetry = Telemetry()
    telemetry.take("h1", told(*(gpu(f"GPU-{number}", 1) for number in range(MOST_GPUS + 5))))
    known = telemetry.of("h1")
    assert known is not None
    assert len(known.gpus) == MOST_GPUS
    telemetry.take("h1", told(gpu("GPU-0", 7)))
    assert known.gpus["GPU-0"].memory_used_mib == 7


def test_who_watches_is_woken_and_what_replicas_hold_is_passed_on() -> None:
    heard: list[tuple[str, tuple[host_pb2.ReplicaReading, ...]]] = []
    telemetry = Telemetry(lambda host_id, readings: heard.append((host_id, readings)))
    reading = host_pb2.ReplicaReading(replica_id="r1", gpu_memory_mib=5, gpu_memory_peak_mib=9)
    with telemetry.watch() as news:
        telemetry.take("h1", agent_pb2.Telemetry(replicas=[reading]))
        assert news.is_set()
    assert heard == [("h1", (reading,))]
    assert telemetry.replicas(["r1", "r2"], "h1") == {"r1": reading}


@pytest.mark.parametrize("host_id", ["h1", "nobody"])
def test_a_host_that_said_nothing_has_none(host_id: str) -> None:
    assert Telemetry().of(host_id) is None
    assert Telemetry().replicas(["r1"], host_id) == {}


@pytest.mark.parametrize(("hosts", "expected_s"), [(0, 1.0), (300, 1.0), (600, 2.0), (100_000, MOST_INTERVAL_S)])
def test_a_large_fleet_sends_readings_less_often(hosts: int, expected_s: float) -> None:
    assert interval_s(hosts) == expected_s

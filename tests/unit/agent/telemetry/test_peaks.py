from homeport_agent.gpus.model import GpuProcess, GpuReading, Severity
from homeport_agent.model import AssignedReplica, Wanted
from homeport_agent.telemetry.model import ReplicaReading
from homeport_agent.telemetry.peaks import Held, held, over


def assigned(replica_id: str, *uuids: str, shared_mib: int = 0) -> AssignedReplica:
    return AssignedReplica(
        replica_id, "chat", 1, 0, Wanted.RUN, "image",
        gpu_uuids=uuids, gpus_shared=bool(shared_mib), gpu_memory_mib=shared_mib,
    )  # fmt: skip


def reading(uuid: str, used_mib: int, *processes: GpuProcess) -> GpuReading:
    return GpuReading(uuid, memory_used_mib=used_mib, processes=processes)


def holds(replica_id: str, mib: int | None) -> GpuProcess:
    return GpuProcess(1, "python3", mib, replica_id)


def test_a_replica_holds_what_its_processes_hold_on_all_its_gpus() -> None:
    running = {"r1": (assigned("r1", "A", "B"), "c1")}
    looks = (reading("A", 900, holds("r1", 500), holds("r2", 300)), reading("B", 50, holds("r1", 40)), reading("C", 9))
    known, told = held({}, running, looks)
    assert told == (ReplicaReading("r1", 540, 540),)
    known, told = held(known, running, (reading("A", 0), reading("B", 0)))
    assert told == (ReplicaReading("r1", 0, 540),)
    assert held(known, {"r1": (running["r1"][0], "c2")}, looks[:1])[1] == (ReplicaReading("r1", 500, 500),), (
        "a new container begins anew"
    )


def test_where_the_driver_does_not_say_a_gpu_of_its_own_is_all_its() -> None:
    looks = (reading("A", 900, holds("r1", None)),)
    assert held({}, {"r1": (assigned("r1", "A"), "c1")}, looks)[1] == (ReplicaReading("r1", 900, 900),)
    shared = {"r1": (assigned("r1", "A", shared_mib=5), "c1")}
    assert held({}, shared, looks)[1] == (ReplicaReading("r1", 0, 0),), "beside others nothing can be said"


def test_a_replica_without_gpus_has_no_reading() -> None:
    assert held({"r0": Held("c", 5)}, {"r1": (assigned("r1"), "c1")}, (reading("A", 5),)) == ({}, ())


def test_a_shared_replica_that_takes_more_than_it_reserved_is_told_with_both_numbers() -> None:
    running = {"r1": (assigned("r1", "A", shared_mib=24 * 1024), "c1")}
    (found,) = over(running, (ReplicaReading("r1", int(26.1 * 1024), 0),), 7.0)
    assert (found.severity, found.gpu_uuid, found.since_s) == (Severity.WARNING, "A", 7.0)
    assert found.reason == "replica 0 of chat holds 26.1GB, it reserved 24GB"
    (later,) = over(running, (ReplicaReading("r1", 30 * 1024, 0),), 9.0, (found,))
    assert later.since_s == 7.0
    assert over(running, (ReplicaReading("r1", 24 * 1024 + 100, 0),), 9.0) == (), "the context of a program is on top"
    assert over({"r1": (assigned("r1", "A"), "c1")}, (ReplicaReading("r1", 99999, 0),), 9.0) == ()

from homeport_agent import convert, model
from homeport_protos.agent.v1 import agent_pb2 as wire


def test_every_phase_travels_as_itself() -> None:
    for phase in model.Phase:
        sent = convert.replica_to_wire(model.ReplicaObserved("r1", phase)).phase
        assert wire.Phase.Name(sent) == f"PHASE_{phase.name}"


def test_an_exit_code_of_zero_is_one_and_none_is_none() -> None:
    assert not convert.replica_to_wire(model.ReplicaObserved("r1", model.Phase.READY)).HasField("exit_code")
    report = convert.replica_to_wire(model.ReplicaObserved("r1", model.Phase.STOPPED, exit_code=0))
    assert report.HasField("exit_code")


def test_a_wish_that_this_agent_does_not_know_ends_no_service() -> None:
    message = wire.Assignment(replicas=[wire.AssignedReplica(replica_id="r1", wanted=wire.WANTED_STATE_UNSPECIFIED)])
    assert convert.assignment_from_wire(message, "s").replicas[0].wanted is model.Wanted.RUN


def test_a_probe_without_numbers_gets_defaults() -> None:
    message = wire.AssignedReplica(replica_id="r1", probes=[wire.Probe(url="/h", method="post")])
    (probe,) = convert.assignment_from_wire(wire.Assignment(replicas=[message]), "s").replicas[0].probes
    assert probe == model.Probe("/h", "POST", timeout_s=10, interval_s=15, ready_after=1)


def test_a_replica_without_credentials_has_none() -> None:
    with_some = wire.AssignedReplica(replica_id="r1", registry_auth=wire.RegistryAuth(username="u", password="p"))
    both = wire.Assignment(replicas=[wire.AssignedReplica(replica_id="r0"), with_some])
    first, second = convert.assignment_from_wire(both, "s").replicas
    assert first.registry_auth is None
    assert second.registry_auth == model.RegistryAuth("u", "p")
    assert "'p'" not in repr(second)


def test_the_whole_of_the_facts_travels() -> None:
    gpu = model.Gpu("GPU-1", "A5000", 24564, 12, "570", "12.8", "8.6")
    facts = model.HostFacts("h", "Debian", "6.1", "x86_64", 4, 10, 9, 8, 7, "20.10", "", (gpu,), "")
    sent = convert.facts_to_wire(facts)
    for name in model.HostFacts.__slots__:
        if name not in {"gpus", "images"}:
            assert getattr(sent, name) == getattr(facts, name)
    told = (
        "uuid",
        "name",
        "memory_total_mib",
        "memory_used_mib",
        "driver_version",
        "cuda_version",
        "compute_capability",
    )
    assert all(getattr(sent.gpus[0], name) == getattr(gpu, name) for name in told)
    assert not sent.gpus[0].HasField("persistence_mode"), "not told is not off"


def test_the_code_of_a_replica_travels() -> None:
    message = wire.AssignedReplica(replica_id="r1", code_id="c" * 64, code_bytes=5)
    (read,) = convert.assignment_from_wire(wire.Assignment(replicas=[message]), "s").replicas
    assert (read.code_id, read.code_bytes) == ("c" * 64, 5)


def test_numbers_that_a_driver_does_not_give_are_not_zero() -> None:
    gpus = (model.GpuUsage("GPU-1", 5, 10, 0.0), model.GpuUsage("GPU-2"))
    row = model.ReplicaUsage("r1", "", 9.5, model.Usage(1.5, 20, 30), gpus)
    (sent,) = convert.stats_to_wire(3, [row]).stats.replicas
    assert (sent.cpu_s, sent.at_s, sent.memory_mib, sent.memory_limit_mib) == (1.5, 9.5, 20, 30)
    assert (sent.gpus[0].HasField("utilisation"), sent.gpus[0].memory_total_mib) == (True, 10)
    assert not any(sent.gpus[1].HasField(it) for it in ("utilisation", "memory_used_mib", "memory_total_mib"))
    assert (
        convert.stats_to_wire(3, [model.ReplicaUsage("r2", "no container")]).stats.replicas[0].error == "no container"
    )

"""agents/convert: every phase of the wire has its word, and a new one is never ready by accident."""

from homeport_control.agents.convert import facts_from, findings_from, observation_from
from homeport_control.domain.hosts import GpuNear, GpuProcess, Health
from homeport_control.domain.replicas import Phase
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import host_pb2


def test_every_phase_that_an_agent_can_say_has_its_own_word() -> None:
    said = [value for name, value in agent_pb2.Phase.items() if name != "PHASE_UNSPECIFIED"]
    read = [observation_from(agent_pb2.ReplicaReport(replica_id="r", phase=value)).phase for value in said]
    assert len(set(read)) == len(said)
    assert set(read) == set(Phase) - {Phase.QUEUED}


def test_a_phase_of_a_newer_agent_counts_as_waiting() -> None:
    report = agent_pb2.ReplicaReport(replica_id="r")
    report.MergeFromString(b"\x10\x63")  # field 2, phase: 99
    assert observation_from(report).phase is Phase.WAITING


def test_an_exit_code_of_zero_is_not_no_exit_code() -> None:
    assert observation_from(agent_pb2.ReplicaReport(exit_code=0)).exit_code == 0
    assert observation_from(agent_pb2.ReplicaReport()).exit_code is None


def test_facts_keep_gpus_and_why_there_are_none() -> None:
    gpu = host_pb2.Gpu(uuid="GPU-1", name="A100", memory_total_mib=81920, driver_version="580", cuda_version="12.8")
    facts = facts_from(host_pb2.HostFacts(hostname="box", cpus=4, gpus=[gpu]))
    assert [(g.uuid, g.memory_total_mib) for g in facts.gpus] == [("GPU-1", 81920)]
    assert (facts.driver_version, facts.cuda_version) == ("580", "12.8")
    none = facts_from(host_pb2.HostFacts(gpus_unavailable="no driver"))
    assert (none.gpus, none.gpus_unavailable, none.driver_version) == ((), "no driver", "")


def test_all_of_a_gpu_is_read_and_what_is_not_told_stays_unknown() -> None:
    process = host_pb2.GpuProcess(pid=7, name="python3", container="train", graphics=True)
    gpu = host_pb2.Gpu(
        uuid="MIG-1", mig_parent="GPU-1", near=[host_pb2.GpuNear(uuid="GPU-2", path="NV4")], processes=[process]
    )
    (read,) = facts_from(host_pb2.HostFacts(gpus=[gpu], images=["a:1"])).gpus
    assert (read.mig_parent, read.near, read.persistence_mode) == ("GPU-1", (GpuNear("GPU-2", "NV4"),), None)
    assert read.processes == (GpuProcess(7, "python3", None, "", "train", True),)


def test_a_severity_of_a_newer_agent_is_a_warning() -> None:
    said = [host_pb2.Finding(gpu_uuid="GPU-1", code="x", severity=it, reason="r") for it in ("failing", "dire")]
    assert [it.severity for it in findings_from(agent_pb2.Findings(findings=said))] == [Health.FAILING, Health.WARNING]

"""Wire to domain and back, for agents: protobuf types of the agent's protocol stop here."""

from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import host_pb2

from homeport_control.domain.hosts import Finding, Gpu, GpuNear, GpuProcess, Health, HostFacts
from homeport_control.domain.metrics import GpuUsage, ReplicaUsage
from homeport_control.domain.replicas import Observation, Phase

_PHASES = {
    agent_pb2.PHASE_WAITING: Phase.WAITING,
    agent_pb2.PHASE_PULLING: Phase.PULLING,
    agent_pb2.PHASE_STARTING: Phase.STARTING,
    agent_pb2.PHASE_PROBING: Phase.PROBING,
    agent_pb2.PHASE_READY: Phase.READY,
    agent_pb2.PHASE_UNREADY: Phase.UNREADY,
    agent_pb2.PHASE_STOPPING: Phase.STOPPING,
    agent_pb2.PHASE_STOPPED: Phase.STOPPED,
    agent_pb2.PHASE_FAILED: Phase.FAILED,
}


def facts_from(facts: host_pb2.HostFacts) -> HostFacts:
    gpus = tuple(
        Gpu(
            uuid=gpu.uuid,
            name=gpu.name,
            memory_total_mib=gpu.memory_total_mib,
            memory_used_mib=gpu.memory_used_mib,
            compute_capability=gpu.compute_capability,
            architecture=gpu.architecture,
            pci_bus_id=gpu.pci_bus_id,
            mig_parent=gpu.mig_parent,
            mig_enabled=gpu.mig_enabled,
            compute_mode=gpu.compute_mode,
            persistence_mode=gpu.persistence_mode if gpu.HasField("persistence_mode") else None,
            unified_memory=gpu.unified_memory,
            near=tuple(GpuNear(it.uuid, it.path) for it in gpu.near),
            processes=tuple(_process(it) for it in gpu.processes),
        )
        for gpu in facts.gpus
    )
    return HostFacts(
        hostname=facts.hostname,
        os=facts.os,
        kernel=facts.kernel,
        architecture=facts.architecture,
        cpus=facts.cpus,
        memory_mib=facts.memory_mib,
        memory_available_mib=facts.memory_available_mib,
        disk_total_mib=facts.disk_total_mib,
        disk_free_mib=facts.disk_free_mib,
        docker_version=facts.docker_version,
        docker_unavailable=facts.docker_unavailable,
        driver_version=facts.gpus[0].driver_version if facts.gpus else "",
        cuda_version=facts.gpus[0].cuda_version if facts.gpus else "",
        gpus=gpus,
        gpus_unavailable=facts.gpus_unavailable,
        images=tuple(facts.images),
    )


def _process(it: host_pb2.GpuProcess) -> GpuProcess:
    return GpuProcess(
        pid=it.pid,
        name=it.name,
        memory_mib=it.memory_mib if it.HasField("memory_mib") else None,
        replica_id=it.replica_id,
        container=it.container,
        graphics=it.graphics,
    )


def findings_from(findings: agent_pb2.Findings) -> tuple[Finding, ...]:
    """A severity that this server does not know (of a newer agent) is a warning."""
    return tuple(
        Finding(
            code=it.code,
            severity=Health.FAILING if it.severity == Health.FAILING else Health.WARNING,
            reason=it.reason,
            action=it.action,
            since_s=it.since_s,
            gpu_uuid=it.gpu_uuid,
        )
        for it in findings.findings
    )


def observation_from(report: agent_pb2.ReplicaReport) -> Observation:
    """An unknown phase (of a newer agent) counts as waiting: it is never ready by accident."""
    return Observation(
        replica_id=report.replica_id,
        phase=_PHASES.get(report.phase, Phase.WAITING),
        message=report.message,
        host_port=report.host_port,
        container_id=report.container_id,
        restarts=report.restarts,
        exit_code=report.exit_code if report.HasField("exit_code") else None,
        pulled_bytes=report.pulled_bytes,
        pull_total_bytes=report.pull_total_bytes,
        probes_passed=report.probes_passed,
        probes_total=report.probes_total,
        log_tail=tuple(report.log_tail),
        refused=report.refused,
    )


def usage_from(stats: agent_pb2.ReplicaStats) -> ReplicaUsage:
    return ReplicaUsage(
        replica_id=stats.replica_id,
        error=stats.error,
        cpu_s=stats.cpu_s,
        at_s=stats.at_s,
        memory_mib=stats.memory_mib,
        memory_limit_mib=stats.memory_limit_mib,
        gpus=tuple(
            GpuUsage(
                uuid=gpu.uuid,
                memory_used_mib=gpu.memory_used_mib if gpu.HasField("memory_used_mib") else None,
                memory_total_mib=gpu.memory_total_mib if gpu.HasField("memory_total_mib") else None,
                utilisation=gpu.utilisation if gpu.HasField("utilisation") else None,
            )
            for gpu in stats.gpus
        ),
    )

"""Wire to domain and back, for agents: protobuf types of the agent's protocol stop here, and what cannot be (bounds)."""

from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.common.v1 import host_pb2

from homeport_control.agents import bounds
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
            uuid=bounds.name(gpu.uuid),
            name=bounds.name(gpu.name),
            memory_total_mib=bounds.amount(gpu.memory_total_mib),
            memory_used_mib=bounds.amount(gpu.memory_used_mib),
            compute_capability=bounds.name(gpu.compute_capability),
            architecture=bounds.name(gpu.architecture),
            pci_bus_id=bounds.name(gpu.pci_bus_id),
            mig_parent=bounds.name(gpu.mig_parent),
            mig_enabled=gpu.mig_enabled,
            compute_mode=bounds.name(gpu.compute_mode),
            persistence_mode=gpu.persistence_mode if gpu.HasField("persistence_mode") else None,
            unified_memory=gpu.unified_memory,
            near=tuple(
                GpuNear(bounds.name(it.uuid), bounds.name(it.path)) for it in bounds.first(gpu.near, bounds.MOST_GPUS)
            ),
            processes=tuple(_process(it) for it in bounds.first(gpu.processes, bounds.MOST_PROCESSES)),
        )
        for gpu in {it.uuid: it for it in bounds.first(facts.gpus, bounds.MOST_GPUS)}.values()  # a UUID is one GPU's
    )
    return HostFacts(
        hostname=bounds.name(facts.hostname),
        os=bounds.name(facts.os),
        kernel=bounds.name(facts.kernel),
        architecture=bounds.name(facts.architecture),
        cpus=bounds.count(facts.cpus),
        memory_mib=bounds.amount(facts.memory_mib),
        memory_available_mib=bounds.amount(facts.memory_available_mib),
        disk_total_mib=bounds.amount(facts.disk_total_mib),
        disk_free_mib=bounds.amount(facts.disk_free_mib),
        docker_version=bounds.name(facts.docker_version),
        docker_unavailable=bounds.sentence(facts.docker_unavailable),
        driver_version=bounds.name(facts.gpus[0].driver_version) if facts.gpus else "",
        cuda_version=bounds.name(facts.gpus[0].cuda_version) if facts.gpus else "",
        gpus=gpus,
        gpus_unavailable=bounds.sentence(facts.gpus_unavailable),
        images=tuple(map(bounds.sentence, bounds.first(facts.images, bounds.MOST_IMAGES))),
    )


def _process(it: host_pb2.GpuProcess) -> GpuProcess:
    return GpuProcess(
        pid=bounds.count(it.pid),
        name=bounds.name(it.name),
        memory_mib=bounds.amount(it.memory_mib) if it.HasField("memory_mib") else None,
        replica_id=bounds.name(it.replica_id),
        container=bounds.name(it.container),
        graphics=it.graphics,
    )


def findings_from(findings: agent_pb2.Findings) -> tuple[Finding, ...]:
    """A severity that this server does not know (of a newer agent) is a warning."""
    return tuple(
        Finding(
            code=bounds.name(it.code),
            severity=Health.FAILING if it.severity == Health.FAILING else Health.WARNING,
            reason=bounds.sentence(it.reason),
            action=bounds.sentence(it.action),
            since_s=bounds.time_s(it.since_s),
            gpu_uuid=bounds.name(it.gpu_uuid),
        )
        for it in bounds.first(findings.findings, bounds.MOST_FINDINGS)
    )


def observation_from(report: agent_pb2.ReplicaReport) -> Observation:
    """An unknown phase (of a newer agent) counts as waiting: it is never ready by accident."""
    return Observation(
        replica_id=bounds.name(report.replica_id),
        phase=_PHASES.get(report.phase, Phase.WAITING),
        message=bounds.sentence(report.message),
        host_port=bounds.port(report.host_port),
        container_id=bounds.name(report.container_id),
        restarts=bounds.count(report.restarts),
        exit_code=report.exit_code if report.HasField("exit_code") else None,
        pulled_bytes=bounds.amount(report.pulled_bytes),
        pull_total_bytes=bounds.amount(report.pull_total_bytes),
        probes_passed=bounds.count(report.probes_passed),
        probes_total=bounds.count(report.probes_total),
        log_tail=tuple(map(bounds.line, report.log_tail[-bounds.MOST_LOG_TAIL :])),
        refused=report.refused,
    )


def usage_from(stats: agent_pb2.ReplicaStats) -> ReplicaUsage:
    return ReplicaUsage(
        replica_id=bounds.name(stats.replica_id),
        error=bounds.sentence(stats.error),
        cpu_s=bounds.time_s(stats.cpu_s),
        at_s=bounds.time_s(stats.at_s),
        memory_mib=bounds.amount(stats.memory_mib),
        memory_limit_mib=bounds.amount(stats.memory_limit_mib),
        gpus=tuple(
            GpuUsage(
                uuid=bounds.name(gpu.uuid),
                memory_used_mib=bounds.amount(gpu.memory_used_mib) if gpu.HasField("memory_used_mib") else None,
                memory_total_mib=bounds.amount(gpu.memory_total_mib) if gpu.HasField("memory_total_mib") else None,
                utilisation=bounds.share(gpu.utilisation) if gpu.HasField("utilisation") else None,
            )
            for gpu in bounds.first(stats.gpus, bounds.MOST_GPUS)
        ),
    )

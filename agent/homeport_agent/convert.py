"""Protobuf to the agent's nouns and back; the only module, with link and join, that knows the wire.

Covers values. An enum value that this agent does not know is read as the one that changes least.
"""

from collections.abc import Iterable
from dataclasses import fields

from homeport_protos.agent.v1 import agent_pb2 as wire
from homeport_protos.common.v1 import host_pb2

from homeport_agent import model
from homeport_agent.gpus.model import Finding, Gpu, GpuProcess, GpuReading
from homeport_agent.telemetry.changes import News
from homeport_agent.telemetry.model import HostReading

_PHASES = {
    model.Phase.WAITING: wire.PHASE_WAITING,
    model.Phase.PULLING: wire.PHASE_PULLING,
    model.Phase.STARTING: wire.PHASE_STARTING,
    model.Phase.PROBING: wire.PHASE_PROBING,
    model.Phase.READY: wire.PHASE_READY,
    model.Phase.UNREADY: wire.PHASE_UNREADY,
    model.Phase.STOPPING: wire.PHASE_STOPPING,
    model.Phase.STOPPED: wire.PHASE_STOPPED,
    model.Phase.FAILED: wire.PHASE_FAILED,
}
DEFAULT_PROBE_TIMEOUT_S = 10.0
DEFAULT_PROBE_INTERVAL_S = 15.0
DEFAULT_READY_TIMEOUT_S = 600.0


def assignment_from_wire(message: wire.Assignment, server_id: str) -> model.Assignment:
    # A server that knows one gateway a host only sends it as `gateway`.
    roles = message.gateways or ([message.gateway] if message.HasField("gateway") else [])
    return model.Assignment(
        server_id=server_id,
        generation=message.generation,
        replicas=tuple(_replica(it) for it in message.replicas),
        gateways=tuple(
            model.GatewayRole(it.name, it.xds_port, it.listen_address, it.http_port, it.https_port) for it in roles
        ),
        door=_door(message.door) if message.HasField("door") else None,
        reach=tuple(model.ReachTarget(it.host_id, it.address, it.port) for it in message.reach),
        edge=_edge(message.edge) if message.HasField("edge") else None,
    )


def _door(it: wire.Door) -> model.DoorWish:
    tunnels = (model.TunnelTo(each.gateway_host_id, each.address, each.port, each.mark) for each in it.tunnels)
    return model.DoorWish(tuple(it.gateway_host_ids), tuple(tunnels))


def _edge(it: wire.Edge) -> model.EdgeWish:
    return model.EdgeWish(it.port, it.mark, tuple(model.EdgeHost(each.host_id, tuple(each.ports)) for each in it.hosts))


def _replica(it: wire.AssignedReplica) -> model.AssignedReplica:
    auth = model.RegistryAuth(it.registry_auth.username, it.registry_auth.password)
    return model.AssignedReplica(
        replica_id=it.replica_id,
        run_name=it.run_name,
        revision=it.revision,
        index=it.index,
        # An unknown wish of a newer server must not end a service.
        wanted=model.Wanted.STOP if it.wanted == wire.WANTED_STATE_STOP else model.Wanted.RUN,
        image=it.image,
        image_hint=it.image_hint,
        always_pull=it.always_pull,
        registry_auth=auth if it.HasField("registry_auth") else None,
        entrypoint=tuple(it.entrypoint),
        command=tuple(it.command),
        working_dir=it.working_dir,
        user=it.user,
        env=tuple(sorted(it.env.items())),
        container_port=it.container_port,
        gpu_uuids=tuple(it.gpu_uuids),
        cpu_limit=it.cpu_limit,
        memory_limit_mib=it.memory_limit_mib,
        shm_size_mib=it.shm_size_mib,
        volumes=tuple(model.Volume(v.source, v.target, v.optional) for v in it.volumes),
        probes=tuple(_probe(p) for p in it.probes),
        ready_timeout_s=it.ready_timeout_s or DEFAULT_READY_TIMEOUT_S,
        stop_grace_s=it.stop_grace_s,
        retry=it.retry,
        privileged=it.privileged,
        code_id=it.code_id,
        code_bytes=it.code_bytes,
        gpus_shared=it.gpus_shared,
        gpu_memory_mib=it.gpu_memory_mib,
    )


def _probe(it: wire.Probe) -> model.Probe:
    return model.Probe(
        url=it.url or "/",
        method=it.method.upper() or "GET",
        headers=tuple((header.name, header.value) for header in it.headers),
        body=it.body,
        timeout_s=it.timeout_s or DEFAULT_PROBE_TIMEOUT_S,
        interval_s=it.interval_s or DEFAULT_PROBE_INTERVAL_S,
        ready_after=it.ready_after or 1,
    )


def replica_to_wire(it: model.ReplicaObserved) -> wire.ReplicaReport:
    report = wire.ReplicaReport(
        replica_id=it.replica_id,
        phase=_PHASES[it.phase],
        message=it.message,
        host_port=it.host_port,
        container_id=it.container_id,
        restarts=it.restarts,
        pulled_bytes=it.pulled_bytes,
        pull_total_bytes=it.pull_total_bytes,
        log_tail=it.log_tail,
        probes_passed=it.probes_passed,
        probes_total=it.probes_total,
        refused=it.refused,
    )
    if it.exit_code is not None:
        report.exit_code = it.exit_code
    return report


def gateway_to_wire(it: model.GatewayObserved) -> wire.GatewayReport:
    return wire.GatewayReport(name=it.name, running=it.running, message=it.message, envoy_version=it.envoy_version)


def door_to_wire(it: model.DoorObserved) -> wire.DoorReport:
    return wire.DoorReport(address=it.address, ports=it.ports, message=it.message)


def edge_to_wire(it: model.EdgeObserved) -> wire.EdgeReport:
    hosts = [wire.EdgeHost(host_id=each.host_id, ports=each.ports) for each in it.hosts]
    return wire.EdgeReport(message=it.message, hosts=hosts)


def facts_to_wire(it: model.HostFacts) -> host_pb2.HostFacts:
    return host_pb2.HostFacts(
        hostname=it.hostname,
        os=it.os,
        kernel=it.kernel,
        architecture=it.architecture,
        cpus=it.cpus,
        memory_mib=it.memory_mib,
        memory_available_mib=it.memory_available_mib,
        disk_total_mib=it.disk_total_mib,
        disk_free_mib=it.disk_free_mib,
        docker_version=it.docker_version,
        docker_unavailable=it.docker_unavailable,
        gpus=[_gpu(gpu) for gpu in it.gpus],
        gpus_unavailable=it.gpus_unavailable,
        images=it.images,
    )


def _gpu(it: Gpu) -> host_pb2.Gpu:
    return host_pb2.Gpu(
        uuid=it.uuid,
        name=it.name,
        memory_total_mib=it.memory_total_mib,
        memory_used_mib=it.memory_used_mib,
        driver_version=it.driver_version,
        cuda_version=it.cuda_version,
        compute_capability=it.compute_capability,
        architecture=it.architecture,
        pci_bus_id=it.pci_bus_id,
        mig_parent=it.mig_parent,
        mig_enabled=it.mig_enabled,
        compute_mode=it.compute_mode,
        persistence_mode=it.persistence_mode,
        unified_memory=it.unified_memory,
        near=[host_pb2.GpuNear(uuid=near.uuid, path=near.path) for near in it.near],
        processes=[_process(process) for process in it.processes],
    )


def _process(it: GpuProcess) -> host_pb2.GpuProcess:
    return host_pb2.GpuProcess(
        pid=it.pid,
        name=it.name,
        memory_mib=it.memory_mib,
        replica_id=it.replica_id,
        container=it.container,
        graphics=it.graphics,
    )


def findings_to_wire(findings: Iterable[Finding]) -> wire.Findings:
    return wire.Findings(
        findings=[
            host_pb2.Finding(
                gpu_uuid=it.gpu_uuid,
                code=it.code,
                severity=it.severity,
                reason=it.reason,
                action=it.action,
                since_s=it.since_s,
            )
            for it in findings
        ]
    )


def telemetry_to_wire(it: News) -> wire.FromAgent:
    message = wire.Telemetry(
        full=it.full,
        gpus=[_reading(gpu) for gpu in it.gpus],
        replicas=[
            host_pb2.ReplicaReading(
                replica_id=replica.replica_id,
                gpu_memory_mib=replica.gpu_memory_mib,
                gpu_memory_peak_mib=replica.gpu_memory_peak_mib,
            )
            for replica in it.replicas
        ],
    )
    if it.host is not None:
        message.host.CopyFrom(_host_reading(it.host))
    return wire.FromAgent(telemetry=message)


def _reading(it: GpuReading) -> host_pb2.GpuReading:
    plain = {field.name: getattr(it, field.name) for field in fields(it) if field.name not in {"processes", "faults"}}
    return host_pb2.GpuReading(**plain, processes=[_process(process) for process in it.processes])


def _host_reading(it: HostReading) -> host_pb2.HostReading:
    return host_pb2.HostReading(**{field.name: getattr(it, field.name) for field in fields(it)})


def stats_to_wire(request_id: int, rows: Iterable[model.ReplicaUsage]) -> wire.FromAgent:
    return wire.FromAgent(stats=wire.Stats(request_id=request_id, replicas=[_usage(it) for it in rows]))


def _usage(it: model.ReplicaUsage) -> wire.ReplicaStats:
    used = it.usage or model.Usage(0.0, 0, 0)
    return wire.ReplicaStats(
        replica_id=it.replica_id,
        error=it.error,
        cpu_s=used.cpu_s,
        at_s=it.at_s,
        memory_mib=used.memory_mib,
        memory_limit_mib=used.memory_limit_mib,
        gpus=[
            wire.GpuStats(
                uuid=gpu.uuid,
                memory_used_mib=gpu.memory_used_mib,
                memory_total_mib=gpu.memory_total_mib,
                utilisation=gpu.utilisation,
            )
            for gpu in it.gpus
        ],
    )


def log_wish_from_wire(it: wire.LogRequest) -> model.LogWish:
    return model.LogWish(it.replica_id, it.follow, it.tail, it.since_s, it.after, it.access, it.gateway)


def log_lines_to_wire(request_id: int, lines: Iterable[model.LogLine]) -> wire.FromAgent:
    rows = [wire.LogLine(text=it.text, stream=it.stream, timestamp=it.timestamp) for it in lines]
    return wire.FromAgent(log_lines=wire.LogLines(request_id=request_id, lines=rows))


def log_end_to_wire(request_id: int, error: str, *, is_absent: bool = False) -> wire.FromAgent:
    return wire.FromAgent(log_end=wire.LogEnd(request_id=request_id, error=error, absent=is_absent))

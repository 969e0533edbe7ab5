"""Domain to wire for users: what `ps`, `fleet list` and the plan show. Protobuf types of the API stop here."""

from collections.abc import Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2
from homeport_protos.gpu_memory import gigabytes

from homeport_control.api.gpu_memory import GpuMemory
from homeport_control.api.kept_messages import KeptMessages
from homeport_control.decide.offers import resources_text
from homeport_control.decide.paths import Path, path
from homeport_control.domain.fleets import Phase as DemandPhase
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import (
    BADNESS,
    Connection,
    Finding,
    Gpu,
    GpuProcess,
    Health,
    Host,
    HostFacts,
    Reservation,
)
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Run
from homeport_control.spec.ranges import Range, range_text

_STATES = {
    Phase.QUEUED: "queued",
    Phase.WAITING: "queued",
    Phase.PULLING: "pulling",
    Phase.STARTING: "starting",
    Phase.PROBING: "probing",
    Phase.READY: "running",
    Phase.UNREADY: "probing",
    Phase.STOPPING: "terminating",
    Phase.STOPPED: "terminated",
    Phase.FAILED: "failed",
}


def timestamp(at_s: float | None) -> Timestamp | None:
    if at_s is None:
        return None
    message = Timestamp()
    message.FromNanoseconds(int(at_s * 1e9))
    return message


def replica_state(replica: Replica) -> str:
    """The one word that a user reads: what is wanted, where it is on its way out, else what is observed."""
    if replica.ended_at_s is not None:
        return "failed" if replica.phase is Phase.FAILED else "terminated"
    if replica.phase is Phase.FAILED or replica.wanted is Wanted.RUN:
        return _STATES[replica.phase]
    return "draining" if replica.wanted is Wanted.DRAIN else "terminating"


def put_run(
    message: api_pb2.Run, run: Run, replicas: Sequence[Replica], count: int, allowed: Range[int], url: str
) -> Sequence[Replica]:
    """Into a message that is part of an answer already, all but its replicas: those that are to be shown are returned.

    `count`: wanted now, of `allowed`.
    """
    current = run.current or run.newest
    shown = [replica for replica in replicas if replica.ended_at_s is None]
    if run.ended_at_s is not None and not shown:
        shown = [replica for replica in replicas if replica.revision == run.newest.number][-max(count, 1) :]
    newest_up = [r for r in shown if r.revision == current.number and r.in_rotation]
    failed = run.newest.failed or (run.reason if run.state == "failed" else "")
    own = api_pb2.Run(
        id=run.id,
        name=run.name,
        state=run.state,
        reason=run.reason,
        submitted_at=timestamp(run.submitted_at_s),
        user=run.user,
        revision=current.number,
        url=url,
        published=bool(newest_up),
        rolled_out=run.ended_at_s is None and _is_rolled_out(current.number, shown, newest_up, count, allowed),
        error=failed,
        log_tail=run.log_tail,
        replicas_wanted=count,
        newest_revision=run.newest.number,
        replicas_range="" if allowed.is_exact else range_text(allowed, str),
    )
    message.MergeFrom(own)
    return shown


def _is_rolled_out(
    revision: int, shown: Sequence[Replica], newest_up: Sequence[Replica], count: int, allowed: Range[int]
) -> bool:
    """As many of the revision as are wanted are in rotation, and nothing else is left.

    By load more are wanted at one moment and fewer at the next: there the least that it always has will do.
    """
    if allowed.is_exact:
        return len(newest_up) == count == len(shown)
    enough = min(count, max(allowed.min or 0, 1))
    return len(newest_up) >= enough and all(replica.revision == revision for replica in shown)


def replica_message(replica: Replica, host: Host | None, memory: GpuMemory | None) -> api_pb2.Replica:
    """`host`: its own. `memory`: what it has of its GPUs' memory."""
    held = [gpu for gpu in host.facts.gpus if gpu.uuid in replica.gpu_uuids] if host else []
    return api_pb2.Replica(
        id=replica.id,
        index=replica.index,
        revision=replica.revision,
        host=host.name if host else "",
        backend=host.backend if host else "",
        gpus=f"{held[0].name}:{round(held[0].memory_total_mib / 1024)}GB:{len(held)}" if held else "",
        state=replica_state(replica),
        message=replica.message,
        restarts=replica.restarts,
        in_rotation=replica.in_rotation,
        pulled_bytes=replica.pulled_bytes,
        pull_total_bytes=replica.pull_total_bytes,
        probes_passed=replica.probes_passed,
        probes_total=replica.probes_total,
        submitted_at=timestamp(replica.created_at_s),
        exit_code=replica.exit_code,
        gpu_memory_reserved_mib=memory.reserved_mib if memory else None,
        gpu_memory_peak_mib=memory.peak_mib if memory else None,
        gpu_memory_mib=memory.now_mib if memory else None,
        over_reservation=memory is not None and memory.is_over,
    )


_STANDBY_STATES = {DemandPhase.COMING: "provisioning", DemandPhase.GOING: "terminating"}


def host_message(
    host: Host,
    replicas: int,
    claims: Sequence[Reservation],
    index_of: Mapping[str, int],
    standby: DemandPhase | None = None,
    gateways: Sequence[Gateway] = (),
) -> api_pb2.Host:
    """`replicas`: how many are on it. `claims`: those on it; `index_of`: of the replicas that hold them.

    standby: of an on-demand host.
    """
    connected = host.connection is Connection.CONNECTED
    reason = host.connection_reason or host.facts.docker_unavailable
    if host.connection_reason == "" and not connected:
        reason = "not connected"
    state = "busy" if replicas else "idle" if connected or host.facts.cpus else "pending"
    if host.connection is Connection.RELEASED:
        state = _STANDBY_STATES.get(standby, "pending") if standby is not None else "pending"
    return api_pb2.Host(
        id=host.id,
        name=host.name,
        fleet=host.fleet,
        address=host.address,
        resources=resources_text(host.facts),
        state="draining" if host.cordoned and replicas else state,
        connection=host.connection,
        health=Health.FAILING if host.facts.docker_unavailable else host.health,
        reason=reason,
        created_at=timestamp(host.created_at_s),
        facts=_facts.of(host.id, (host.facts,), lambda: _facts_message(host.facts)),
        replicas=replicas,
        findings=[
            _finding(it)
            for it in sorted(host.findings, key=lambda it: (-BADNESS.index(it.severity), it.gpu_uuid, it.code))
        ],
        cordoned=host.cordoned,
        gpus=[_gpu_use(host, gpu, claims, index_of) for gpu in host.facts.gpus],
        labels=dict(host.labels),
        build=host.build,
        upgrade_error=host.upgrade_error,
        connection_since=timestamp(host.connection_since_s),
        paths=[_path(path(gateway, host)) for gateway in gateways if gateway.host_id],
    )


def _path(it: Path) -> api_pb2.Path:
    return api_pb2.Path(gateway=it.gateway, kind=it.kind, reason=it.reason)


def _finding(it: Finding) -> host_pb2.Finding:
    return host_pb2.Finding(
        gpu_uuid=it.gpu_uuid, code=it.code, severity=it.severity, reason=it.reason, action=it.action, since_s=it.since_s
    )


def _gpu_use(host: Host, gpu: Gpu, claims: Sequence[Reservation], index_of: Mapping[str, int]) -> api_pb2.GpuUse:
    mine = [claim for claim in claims if gpu.uuid in claim.gpu_uuids]
    holders = []
    for claim in mine:
        name = f"{claim.run_name}/{index_of[claim.replica_id]}" if claim.replica_id in index_of else claim.run_name
        holders.append(name if claim.exclusive else f"{name} ({gigabytes(claim.gpu_memory_mib)} shared)")
    return api_pb2.GpuUse(
        uuid=gpu.uuid,
        health=host.health_of(gpu.uuid),
        cordoned=gpu.uuid in host.cordoned_gpus,
        holders=sorted(holders),
        reserved_mib=sum(gpu.memory_total_mib if it.exclusive else it.gpu_memory_mib for it in mine),
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


_facts: KeptMessages[host_pb2.HostFacts] = KeptMessages()  # nearly all of a host's message


def _facts_message(facts: HostFacts) -> host_pb2.HostFacts:
    return host_pb2.HostFacts(
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
        gpus_unavailable=facts.gpus_unavailable,
        gpus=[
            host_pb2.Gpu(
                uuid=gpu.uuid,
                name=gpu.name,
                memory_total_mib=gpu.memory_total_mib,
                memory_used_mib=gpu.memory_used_mib,
                driver_version=facts.driver_version,
                cuda_version=facts.cuda_version,
                compute_capability=gpu.compute_capability,
                architecture=gpu.architecture,
                pci_bus_id=gpu.pci_bus_id,
                mig_parent=gpu.mig_parent,
                mig_enabled=gpu.mig_enabled,
                compute_mode=gpu.compute_mode,
                persistence_mode=gpu.persistence_mode,
                unified_memory=gpu.unified_memory,
                near=[host_pb2.GpuNear(uuid=it.uuid, path=it.path) for it in gpu.near],
                processes=[_process(it) for it in gpu.processes],
            )
            for gpu in facts.gpus
        ],
        images=facts.images,
    )

"""Domain to wire for users: what `ps`, `fleet list` and the plan show. Protobuf types of the API stop here."""

from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2

from homeport_control.decide.offers import resources_text
from homeport_control.domain.hosts import Connection, Host, HostFacts
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Run

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


def run_message(run: Run, replicas: Sequence[Replica], hosts: Mapping[str, Host], count: int, url: str) -> api_pb2.Run:
    current = run.current or run.newest
    shown = [replica for replica in replicas if replica.ended_at_s is None]
    if run.ended_at_s is not None and not shown:
        shown = [replica for replica in replicas if replica.revision == run.newest.number][-count:]
    newest_up = [r for r in shown if r.revision == current.number and r.in_rotation]
    failed = run.newest.failed or (run.reason if run.state == "failed" else "")
    return api_pb2.Run(
        id=run.id,
        name=run.name,
        state=run.state,
        reason=run.reason,
        submitted_at=timestamp(run.submitted_at_s),
        user=run.user,
        revision=current.number,
        url=url,
        published=bool(newest_up),
        rolled_out=len(newest_up) == count and len(newest_up) == len(shown) and run.ended_at_s is None,
        replicas=[_replica_message(replica, hosts) for replica in shown],
        error=failed,
        log_tail=run.log_tail,
        replicas_wanted=count,
        newest_revision=run.newest.number,
    )


def _replica_message(replica: Replica, hosts: Mapping[str, Host]) -> api_pb2.Replica:
    host = hosts.get(replica.host_id or "")
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
    )


def host_message(host: Host, replicas: Iterable[Replica]) -> api_pb2.Host:
    count = sum(replica.host_id == host.id for replica in replicas)
    connected = host.connection is Connection.CONNECTED
    reason = host.connection_reason or host.facts.docker_unavailable
    if host.connection_reason == "" and not connected:
        reason = "not connected"
    health = "failing" if host.facts.docker_unavailable else "healthy"
    return api_pb2.Host(
        id=host.id,
        name=host.name,
        fleet=host.fleet,
        address=host.address,
        resources=resources_text(host.facts),
        state="busy" if count else "idle" if connected or host.facts.cpus else "pending",
        connection=host.connection,
        health=health,
        reason=reason,
        created_at=timestamp(host.created_at_s),
        facts=_facts_message(host.facts),
        replicas=count,
    )


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
            )
            for gpu in facts.gpus
        ],
    )

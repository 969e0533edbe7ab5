"""What happened to a replica or a host, in words: pure text from what it was and what it is now.

Covers what is worth an event: what a user would see change. Pulled bytes, probe counts and reasons that are only worded anew
are not. Does not cover writing it (store/events.py).
"""

from homeport_control.domain.gateway import HTTP3_OFF, Gateway
from homeport_control.domain.hosts import Health, Host
from homeport_control.domain.replicas import Phase, Replica, Wanted

_PHASES = {
    Phase.PULLING: "pulls its image",
    Phase.STARTING: "starts",
    Phase.PROBING: "runs, its probes are asked",
    Phase.READY: "is ready",
    Phase.STOPPING: "stops",
}
_TOLD_WITH_MESSAGE = {
    Phase.WAITING: "waits",
    Phase.UNREADY: "is not ready any more",
    Phase.FAILED: "failed",
    Phase.STOPPING: "stops",
}


def who(replica: Replica, run_name: str) -> str:
    """With its revision from the second on: an update has two replicas of one index for a while."""
    revision = f" (revision {replica.revision})" if replica.revision > 1 else ""
    return f"replica {replica.index} of {run_name}{revision}"


def by_itself(before: Replica, after: Replica) -> bool:
    """It served and does not now, and nobody asked for that: the beginning of a new story."""
    if before.wanted is not Wanted.RUN or before.phase is not Phase.READY:
        return False
    return after.phase is not Phase.READY or after.restarts > before.restarts


def of_replica(before: Replica, after: Replica, host_name: str) -> str:
    """What happened to it, without its name: "is ready on gpu-1". Empty: nothing that is told."""
    at = f" on {host_name}" if host_name else ""
    if after.ended_at_s is not None and before.ended_at_s is None:
        return f"has ended{at}, its room is free again" if at else "has ended, it had no host yet"
    if after.lost != before.lost:
        return f"is lost: its host {host_name} is away" if after.lost else f"is back: its host {host_name} has returned"
    if after.wanted is not before.wanted:
        return _wanted(after, at)
    if after.restarts > before.restarts:
        return f"{_exit(after)}{at}, restart {after.restarts}"
    if after.phase is not before.phase:
        return _phase(after, at)
    if after.exit_code is not None and before.exit_code != after.exit_code:
        return f"exited with code {after.exit_code}{at}"
    if after.in_rotation != before.in_rotation:
        return f"is in rotation{at}" if after.in_rotation else f"is out of rotation{at}"
    if after.wanted is Wanted.DRAIN and after.drained_at_s is not None and before.drained_at_s is None:
        return f"is drained{at}: no requests in flight"
    return ""


def _wanted(after: Replica, at: str) -> str:
    if after.wanted is Wanted.DRAIN:
        return f"drains{at}" + (f": {after.message}" if after.message else "")
    if after.phase is Phase.FAILED:
        return f"is cleared away{at}"
    if after.wanted is Wanted.STOP:
        return f"is told to stop{at} within {after.stop_grace_s:g} s" if after.stop_grace_s else f"is killed{at}"
    return f"is wanted again{at}"


def _exit(after: Replica) -> str:
    """ "exited with code 1", "was killed by signal 9 (exit code 137)", or what else made its host start it anew."""
    message = after.message.rstrip(".")
    if message.startswith("exited"):
        return message
    if message.startswith("killed"):
        return f"was {message}"
    if message:
        return f"is started anew: {message}"
    return "is started anew" if after.exit_code is None else f"exited with code {after.exit_code}"


def _phase(after: Replica, at: str) -> str:
    if after.phase is Phase.STOPPED:
        return f"has stopped{at}" + ("" if after.exit_code is None else f", exit code {after.exit_code}")
    if after.phase is Phase.FAILED and after.refused:
        return f"was refused{at}: {after.message}"
    if after.phase in _TOLD_WITH_MESSAGE and after.message:
        return f"{_TOLD_WITH_MESSAGE[after.phase]}{at}: {after.message}"
    told = _PHASES.get(after.phase) or _TOLD_WITH_MESSAGE.get(after.phase)
    return f"{told}{at}" if told else ""


def of_host(before: Host, after: Host) -> str:
    """What happened to a host. Empty: nothing that is told."""
    parts = []
    if after.connection is not before.connection:
        why = f": {after.connection_reason}" if after.connection_reason else ""
        parts.append(f"host {after.name} is {after.connection}{why}")
    if after.cordoned != before.cordoned:
        parts.append(
            f"host {after.name} is {'cordoned: it gets nothing new' if after.cordoned else 'not cordoned any more'}"
        )
    without = after.facts.docker_unavailable
    if bool(without) != bool(before.facts.docker_unavailable):
        parts.append(f"host {after.name} is failing: {without}" if without else f"host {after.name} is healthy")
    parts += _findings(before, after)
    return "; ".join(parts)


def _findings(before: Host, after: Host) -> list[str]:
    """What was found anew, became worse or better, or is over; and which GPUs an admin took out or gave back."""
    old = {(it.gpu_uuid, it.code): it for it in before.findings}
    new = {(it.gpu_uuid, it.code): it for it in after.findings}
    parts = []
    for key, it in new.items():
        if key not in old or old[key].severity is not it.severity:
            follows = (
                "; it gets nothing new, what it runs moves" if it.gpu_uuid and it.severity is Health.FAILING else ""
            )
            what = f"is failing: {it.reason}" if it.severity is Health.FAILING else f"has a warning: {it.reason}"
            parts.append(f"{_whose(after, it.gpu_uuid)} {what}{follows}")
    for uuid in dict.fromkeys(it.gpu_uuid for key, it in old.items() if key not in new):
        now = after.health_of(uuid)
        over = ", ".join(it.code for key, it in old.items() if key not in new and key[0] == uuid)
        parts.append(
            f"{_whose(after, uuid)} is healthy again ({over} is over)"
            if now is Health.HEALTHY
            else f"{_whose(after, uuid)}: {over} is over"
        )
    was, now_out = set(before.cordoned_gpus), set(after.cordoned_gpus)
    parts += [f"{_whose(after, uuid)} is drained: it gets nothing new" for uuid in sorted(now_out - was)]
    parts += [f"{_whose(after, uuid)} is not drained any more" for uuid in sorted(was - now_out)]
    return parts


def _whose(host: Host, uuid: str) -> str:
    """ "GPU-3f2a… (NVIDIA A100-SXM4-80GB) of gpu-1"; "host gpu-1"."""
    if not uuid:
        return f"host {host.name}"
    name = next((gpu.name for gpu in host.facts.gpus if gpu.uuid == uuid), "")
    return f"GPU {uuid}{f' ({name})' if name else ''} of {host.name}"


def of_gateway(before: Gateway, after: Gateway, host: str) -> str:
    """What happened to a gateway. `host`: its host's name; empty: it has none. Empty: nothing that is told."""
    where = f"gateway {after.name}{f' on {host}' if host else ''}"
    if (before.ready, before.host_id) != (after.ready, after.host_id):
        why = f": {after.message}" if after.message else ""
        return f"{where} is ready" if after.ready else f"{where} is not ready{why}"
    if before.refused != after.refused:
        kept = "" if after.refused.startswith(HTTP3_OFF) else " refused its configuration, the last good one stays"
        return f"{where}{kept}: {after.refused}" if after.refused else f"{where} takes its configuration again"
    if before.old_domain and not after.old_domain:
        return f"{where} serves {after.domain} now, and {before.old_domain} no more"
    return f"gateway {after.name} is the default now" if after.default and not before.default else ""

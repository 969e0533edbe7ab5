"""Which replicas must leave where they are, and why: their host was drained, or one of their GPUs is failing or drained.

Pure. Does not decide when they go (rollout: make before break) nor where to (placement). What is wrong with the host itself
moves nothing: its containers go on, and a new one is refused there (placement, the agent's admission).
"""

from collections.abc import Iterable, Mapping

from homeport_control.domain.hosts import Health, Host
from homeport_control.domain.replicas import Replica, Wanted

MANY = 200  # characters of a reason; what a driver says can be long


def displaced(replica: Replica, host: Host) -> str:
    """ "must leave gpu-1 (GPU 3f2a is failing: it has fallen off the bus)"; empty: it may stay."""
    if replica.ended_at_s is not None or replica.wanted is not Wanted.RUN or replica.host_id != host.id:
        return ""
    if host.cordoned:
        return f"must leave {host.name} (the host is drained)"
    for uuid in replica.gpu_uuids:
        barred = host.barred_gpu(uuid)
        if barred:
            return f"must leave {host.name} ({gpu_text(uuid)} {_short(barred)})"
    return ""


def all_displaced(replicas: Iterable[Replica], hosts: Mapping[str, Host]) -> dict[str, str]:
    """By replica id. `hosts`: by id, those that could have something wrong with them."""
    found: dict[str, str] = {}
    for replica in replicas:
        host = hosts.get(replica.host_id or "")
        why = displaced(replica, host) if host is not None else ""
        if why:
            found[replica.id] = why
    return found


def all_warned(replicas: Iterable[Replica], hosts: Mapping[str, Host]) -> frozenset[str]:
    """Ids of those on a host, or with a GPU, that has a finding: it may fail next."""
    return frozenset(
        replica.id
        for replica in replicas
        if (host := hosts.get(replica.host_id or "")) is not None
        and any(host.health_of(uuid) is not Health.HEALTHY for uuid in ("", *replica.gpu_uuids))
    )


def gpu_text(uuid: str) -> str:
    """ "GPU 3f2a", "MIG 77c0": enough of it to find it in `fleet get`."""
    kind, _, rest = uuid.partition("-")
    return f"{kind} {rest[:4]}" if rest else uuid


def _short(text: str) -> str:
    text = text.rstrip(".")
    return text if len(text) <= MANY else f"{text[: MANY - 1]}…"

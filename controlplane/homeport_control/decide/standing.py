"""On-demand machines as hosts: those that are no hosts yet beside those that are, each with why it is not there now.

Pure. A machine without an agent has the facts that it was registered with. Does not decide which are brought up (on_demand).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from homeport_control.domain.fleets import Fleet, Phase, Registration, Standby
from homeport_control.domain.hosts import Connection, Host, HostFacts

NOT_PROVISIONED = "not provisioned"


def standing(
    hosts: Iterable[Host], registered: Iterable[Registration], fleets: Mapping[str, Fleet]
) -> tuple[Host, ...]:
    """All hosts, those that we let go with what is done with them, and on-demand machines that have never joined."""
    registered = tuple(registered)
    known = with_standby(hosts, registered)
    ids = {host.id for host in known}
    machines = (
        as_host(it, it.standby, fleets.get(it.fleet, Fleet(it.fleet)))
        for it in registered
        if it.standby is not None and it.host_id not in ids
    )
    return (*known, *machines)


def with_standby(hosts: Iterable[Host], registered: Iterable[Registration]) -> tuple[Host, ...]:
    """Hosts, those that we let go with what is done with them."""
    of_host = {it.host_id: it for it in registered if it.standby is not None and it.host_id}
    return tuple(_told(host, of_host.get(host.id)) for host in hosts)


def as_host(registration: Registration, standby: Standby, fleet: Fleet) -> Host:
    """A machine that has never joined."""
    return Host(
        id=registration.key,
        name=name_of(registration, standby),
        fleet=registration.fleet,
        region=fleet.region or "remote",
        backend="ssh",
        address=registration.place.hostname,
        connection=Connection.RELEASED,
        connection_reason=doing(registration, standby),
        connection_since_s=standby.since_s,
        cordoned=False,
        facts=standby.facts,
        created_at_s=registration.since_s,
        labels=fleet.labels,
    )


def name_of(registration: Registration, standby: Standby) -> str:
    """As it will be called when it joins, unless another host is called so."""
    return standby.facts.hostname or registration.place.hostname


def raised(host: Host) -> Host:
    """As it would be if its agent ran."""
    return replace(host, connection=Connection.CONNECTED, connection_reason="", facts=rested(host.facts))


def rested(facts: HostFacts) -> HostFacts:
    """Without what was running: who held a GPU when it was last looked at says nothing about the next time."""
    gpus = tuple(replace(gpu, processes=(), memory_used_mib=0) for gpu in facts.gpus)
    return replace(facts, gpus=gpus, docker_unavailable="", gpus_unavailable="")


def doing(registration: Registration, standby: Standby) -> str:
    """What is done with it, or why it is not there: what stands behind "is"."""
    match standby.phase:
        case Phase.COMING:
            return f"being brought up for {standby.run_name}: {registration.step}"
        case Phase.GOING:
            return f"being released: {registration.step}"
        case Phase.UP:
            return f"up since {standby.run_name} needed it" if standby.run_name else "up"
        case _ if registration.error:
            return f"{NOT_PROVISIONED}; the last try failed: {registration.error}"
        case _:
            return NOT_PROVISIONED


def next_try(standby: Standby, now_s: float) -> str:
    """When it is tried again, after a failure; empty: at once."""
    left_s = standby.retry_at_s - now_s
    return f"; next try in {max(1, round(left_s))} s, when a run needs it" if left_s > 0 else ""


def _told(host: Host, registration: Registration | None) -> Host:
    standby = registration.standby if registration is not None else None
    if registration is None or standby is None or host.connection is Connection.CONNECTED:
        return host
    if standby.phase is Phase.UP:  # it went away by itself
        return host
    return replace(host, connection=Connection.RELEASED, connection_reason=doing(registration, standby))

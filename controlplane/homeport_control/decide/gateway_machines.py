"""Machines that gateways have by SSH: what applying one does with its own, and which none needs any more.

Values in, values out. Such a machine is registered like one of a fleet's, under a name that no file can give
(GATEWAYS_FLEET). Several gateways may stand on it; the last one that leaves takes it along.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from homeport_control.decide.fleets import fleet_changes
from homeport_control.domain.fleets import Place, PlaceChange, Registration
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import GATEWAYS_FLEET, Host
from homeport_control.spec.gateway_host import GatewayHost, address_of
from homeport_control.spec.problems import Problem


def place_of(host: GatewayHost) -> Place:
    """Of one that is reached by SSH."""
    user, identity, jump = host.user or "", host.identity_file or "", host.proxy_jump
    through = Place(jump.hostname, jump.port, jump.user or user, jump.identity_file or identity) if jump else None
    return Place(host.hostname, host.port, user, identity, through)


def machine_change(place: Place, registered: Sequence[Registration], hosts: Mapping[str, Host]) -> PlaceChange:
    """What applying a gateway does with its machine. `hosts` by id."""
    mine = [it for it in registered if it.fleet == GATEWAYS_FLEET and it.place.address == place.address]
    [change] = fleet_changes((place,), mine, hosts, {})
    return replace(change, reason="agent and Envoy are installed") if change.action == "new" else change


def gone(
    registered: Iterable[Registration], gateways: Sequence[Gateway], hosts: Mapping[str, Host]
) -> tuple[PlaceChange, ...]:
    """Machines on which none of these gateways is, nor is to be."""
    wanted = {address_of(it.wanted_host) for it in gateways}
    held = {it.host_id for it in gateways if it.host_id}
    left = [
        it
        for it in registered
        if it.fleet == GATEWAYS_FLEET and it.place.address not in wanted and it.host_id not in held
    ]
    return tuple(_gone(it, hosts.get(it.host_id)) for it in left)


def _gone(registration: Registration, host: Host | None) -> PlaceChange:
    reason = "no gateway is on it any more" if host else "it never joined"
    return PlaceChange(registration.place, "gone", reason, host.id if host else "", host.name if host else "")


def of_another_fleet(place: Place, registered: Iterable[Registration], hosts: Mapping[str, Host]) -> Iterable[Problem]:
    """A host of a fleet has its agent already, and is named."""
    for it in registered:
        if it.fleet != GATEWAYS_FLEET and it.place.address == place.address:
            host = hosts.get(it.host_id)
            hint = f"Write its name: `host: {host.name}`" if host else "Take it out of that fleet first"
            yield Problem("host", f"`{place.hostname}` belongs to the fleet `{it.fleet}`", hint)

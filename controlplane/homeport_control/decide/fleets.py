"""What applying a fleet does with each of its machines: new, changed, repaired, unchanged, gone. Values in, values out."""

from collections.abc import Mapping, Sequence

from homeport_control.decide.standing import doing
from homeport_control.domain.fleets import Place, PlaceChange, Registration
from homeport_control.domain.hosts import Connection, Host


def fleet_changes(
    wanted: Sequence[Place],
    registered: Sequence[Registration],
    hosts: Mapping[str, Host],
    replicas: Mapping[str, int],
    *,
    on_demand: bool = False,
) -> tuple[PlaceChange, ...]:
    """In the order of the file, those that are gone last. `hosts` and `replicas` (how many) by host id.

    on_demand: of the fleet. Such a machine is looked at, which is all that "new" and "repair" do with it.
    """
    known = {it.place.address: it for it in registered}
    listed = {place.address for place in wanted}
    of_listed = _of_on_demand if on_demand else _of_listed
    changes = [of_listed(place, known.get(place.address), hosts) for place in wanted]
    for registration in registered:
        if registration.place.address not in listed:
            host = hosts.get(registration.host_id)
            count = replicas.get(registration.host_id, 0)
            reason = f"busy: {count} replica{'' if count == 1 else 's'} move first" if count else "nothing runs on it"
            changes.append(
                PlaceChange(
                    registration.place,
                    "gone",
                    reason if host else "it never joined",
                    host.id if host else "",
                    host.name if host else "",
                    count,
                )
            )
    return tuple(changes)


def _of_listed(place: Place, registration: Registration | None, hosts: Mapping[str, Host]) -> PlaceChange:
    if registration is None:
        return PlaceChange(place, "new", "the agent is installed")
    host = hosts.get(registration.host_id)
    if host is None:
        reason = f"the last try failed: {registration.error}" if registration.error else "it has not joined yet"
        return PlaceChange(place, "repair", reason)
    if registration.standby is not None:
        return PlaceChange(place, "changed", "it was on-demand, and stays from now on", host.id, host.name)
    if registration.place != place:
        return PlaceChange(place, "changed", "it is reached in another way", host.id, host.name)
    if registration.error:
        return PlaceChange(place, "repair", f"the last try failed: {registration.error}", host.id, host.name)
    if host.connection is not Connection.CONNECTED:
        reason = f"unreachable: {host.connection_reason or 'its agent is not connected'}"
        return PlaceChange(place, "repair", reason, host.id, host.name)
    return PlaceChange(place, "unchanged", "connected", host.id, host.name)


def _of_on_demand(place: Place, registration: Registration | None, hosts: Mapping[str, Host]) -> PlaceChange:
    if registration is None:
        return PlaceChange(place, "new", "it is looked at now, and installed when a run needs it")
    host = hosts.get(registration.host_id)
    which = (host.id, host.name) if host is not None else ("", "")
    if registration.error:
        return PlaceChange(place, "repair", f"the last try failed: {registration.error}", *which)
    if registration.standby is None:
        reason = "it is on-demand from now on" if host is not None else "it has not been looked at yet"
        return PlaceChange(place, "changed" if host is not None else "repair", reason, *which)
    if registration.place != place:
        return PlaceChange(place, "changed", "it is reached in another way", *which)
    return PlaceChange(place, "unchanged", doing(registration, registration.standby), *which)

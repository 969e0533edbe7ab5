"""The way from a gateway to a replica: over loopback, or directly to the door of its host. And why there is none.

Pure. A way that a gateway could dial once stays: whether it answers at this moment Envoy sees sooner and better.
"""

from dataclasses import dataclass, replace

from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Door, Host

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Path:
    gateway: str
    kind: str  # loopback, direct, none
    reason: str


def told(before: Door | None, address: str, ports: tuple[int, ...], message: str) -> Door:
    """What a host's agent says of its door. At another address nobody has dialled it yet."""
    kept = before if before is not None and before.address == address else Door()
    return replace(kept, address=address, ports=ports, message=message[:1000])


def dialled(door: Door, gateway_host_id: str, error: str) -> Door:
    """What came of a gateway's host dialling it."""
    errors = {**dict(door.errors), gateway_host_id: error[:1000]}
    reached_by = set(door.reached_by) | (set() if error else {gateway_host_id})
    return replace(door, errors=tuple(sorted(errors.items())), reached_by=tuple(sorted(reached_by)))


def address_for(gateway: Gateway, host_id: str | None, port: int, door: Door | None) -> str:
    """Where the gateway sends requests for a replica with this port on loopback of this host; empty: it cannot."""
    if host_id == gateway.host_id:
        return LOOPBACK
    if door is not None and port in door.ports and gateway.host_id in door.reached_by:
        return door.address
    return ""


def path(gateway: Gateway, host: Host) -> Path:
    """How the gateway reaches the replicas of a host, for people."""
    door = host.door
    if host.id == gateway.host_id:
        return Path(gateway.name, "loopback", "the gateway stands on this host")
    if gateway.host_id in door.reached_by:
        later = dict(door.errors).get(gateway.host_id, "")
        return Path(
            gateway.name, "direct", f"{door.address}, mutual TLS" + (f"; at the last try {later}" if later else "")
        )
    if error := dict(door.errors).get(gateway.host_id, ""):
        return Path(gateway.name, "none", f"it cannot be dialled: {error}")
    if door.message:
        return Path(gateway.name, "none", door.message)
    return Path(gateway.name, "none", "its door opens with its first replica" if not door.ports else "not dialled yet")

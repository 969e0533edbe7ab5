"""The way from a gateway to a replica: over loopback, directly to the door of its host, or through a tunnel that this host
keeps to the gateway's edge. And why there is none.

Pure. A way that was there once stays: whether it answers at this moment Envoy sees sooner and better. Directly comes before
the tunnel, unless it fails now and the tunnel does not, and the host was heard since: the tunnel of a host that is gone looks
whole for some seconds more, and a socket of the edge answers Envoy's check of a host whoever is behind it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from homeport_control.domain.gateway import TUNNEL, Gateway
from homeport_control.domain.hosts import Door, Host, Tunnel

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Path:
    gateway: str
    kind: str  # loopback, direct, tunnel, none
    reason: str


def told(before: Door | None, address: str, ports: tuple[int, ...], message: str) -> Door:
    """What a host's agent says of its door. At another address nobody has dialled it yet."""
    kept = before or Door()
    if kept.address != address:
        kept = replace(kept, errors=(), reached_by=())
    return replace(kept, address=address, ports=ports, message=message[:1000], unheard=())


def dialled(door: Door, gateway_host_id: str, error: str) -> Door:
    """What came of a gateway's host dialling it."""
    before = dict(door.errors)
    errors = {**before, gateway_host_id: error[:1000]}
    reached_by, unheard = set(door.reached_by), set(door.unheard)
    if not error:
        reached_by.add(gateway_host_id)
        unheard.discard(gateway_host_id)
    elif not before.get(gateway_host_id):
        unheard.add(gateway_host_id)
    return replace(
        door,
        errors=tuple(sorted(errors.items())),
        reached_by=tuple(sorted(reached_by)),
        unheard=tuple(sorted(unheard)),
    )


def dug(door: Door, gateway_host_id: str, ports: tuple[int, ...] | None, message: str) -> Door:
    """What the edge of a gateway's host says of the host's tunnel. `ports`: None: there is none now, and why."""
    known = door.tunnel_to(gateway_host_id)
    if known is None and ports is None:
        return door
    kept = ports if ports is not None else known.ports if known is not None else ()
    others = [it for it in door.tunnels if it.gateway_host_id != gateway_host_id]
    found = Tunnel(gateway_host_id, kept, message[:1000])
    return replace(door, tunnels=tuple(sorted([*others, found], key=lambda it: it.gateway_host_id)))


def mark(gateway_host_id: str) -> str:
    """By which a gateway knows an answer of a tunnel's end from a replica's, and asks another replica."""
    return hashlib.sha256(f"homeport tunnel {gateway_host_id}".encode()).hexdigest()[:32]


def dialling(gateway_host_id: str, doors: Mapping[str, Door]) -> dict[str, tuple[int, ...]]:
    """The hosts that dial this one's edge, with the ports of their replicas."""
    found = {host_id: door.ports for host_id, door in sorted(doors.items()) if gateway_host_id in door.dials}
    return {host_id: ports for host_id, ports in found.items() if host_id != gateway_host_id}


def address_for(gateway: Gateway, host_id: str | None, port: int, door: Door | None) -> str:
    """Where the gateway sends requests for a replica with this port on loopback of this host; empty: it cannot."""
    if host_id == gateway.host_id:
        return LOOPBACK
    if door is None:
        return ""
    tunnel, fails = door.tunnel_to(gateway.host_id), _fails(door, gateway.host_id)
    is_direct = port in door.ports and gateway.host_id in door.reached_by
    if tunnel is not None and port in tunnel.ports and (not is_direct or (fails and not tunnel.message)):
        return f"{TUNNEL}{host_id}"
    return door.address if is_direct else ""


def _fails(door: Door, gateway_host_id: str) -> bool:
    """It cannot be dialled, although it is there."""
    return bool(dict(door.errors).get(gateway_host_id)) and gateway_host_id not in door.unheard


def path(gateway: Gateway, host: Host) -> Path:
    """How the gateway reaches the replicas of a host, for people."""
    door = host.door
    if host.id == gateway.host_id:
        return Path(gateway.name, "loopback", "the gateway stands on this host")
    error, tunnel = dict(door.errors).get(gateway.host_id, ""), door.tunnel_to(gateway.host_id)
    is_direct = gateway.host_id in door.reached_by
    if tunnel is not None and (not is_direct or (_fails(door, gateway.host_id) and not tunnel.message)):
        now = f"; at this moment {tunnel.message}" if tunnel.message else ""
        why = f"it cannot be dialled ({error}), so it dials the gateway; mutual TLS" if error else "mutual TLS"
        return Path(gateway.name, "tunnel", why + now)
    if is_direct:
        return Path(
            gateway.name, "direct", f"{door.address}, mutual TLS" + (f"; at the last try {error}" if error else "")
        )
    if error:
        return Path(
            gateway.name, "none", f"it cannot be dialled: {error}; and it has not dialled the gateway's edge yet"
        )
    if door.message:
        return Path(gateway.name, "none", door.message)
    return Path(gateway.name, "none", "its door opens with its first replica" if not door.ports else "not dialled yet")

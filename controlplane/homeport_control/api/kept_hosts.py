"""Messages of hosts, each kept until what it is made of is another: a watch asks for all of them each second, few have changed.

Covers what the database says of a host. Readings are new each second, and whoever answers adds them to a copy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.convert import host_message
from homeport_control.domain.fleets import Phase
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Host, Reservation

MOST = 50_000


@dataclass(frozen=True, slots=True)
class _Source:
    """All that a message is made of. Quickly compared: an unchanged Host is one and the same value (store/kept.py)."""

    host: Host
    replicas: int
    claims: tuple[tuple[Reservation, int | None], ...]  # with the index of the replica that holds it
    standby: Phase | None
    gateways: tuple[Gateway, ...]


class KeptHosts:
    def __init__(self) -> None:
        self._known: dict[str, tuple[_Source, api_pb2.Host]] = {}

    def message(
        self,
        host: Host,
        replicas: int,
        claims: Sequence[Reservation],
        index_of: Mapping[str, int],
        standby: Phase | None,
        gateways: tuple[Gateway, ...],
    ) -> api_pb2.Host:
        """As `host_message`. Never changed by who gets it."""
        held = tuple((claim, index_of.get(claim.replica_id)) for claim in claims)
        source = _Source(host, replicas, held, standby, gateways)
        known = self._known.get(host.id)
        if known is not None and known[0] == source:
            return known[1]
        if len(self._known) >= MOST:  # of hosts that are gone, too
            self._known.clear()
        made = host_message(host, replicas, claims, index_of, standby, gateways)
        self._known[host.id] = (source, made)
        return made

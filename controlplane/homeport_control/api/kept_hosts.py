"""Messages of hosts, each kept until what it is made of is another: a watch asks for all of them each second, few have changed.

Covers what the database says of a host. Readings are new each second, and whoever answers adds them to a copy.
"""

from collections.abc import Mapping, Sequence

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.convert import host_message
from homeport_control.api.kept_messages import KeptMessages
from homeport_control.domain.fleets import Phase
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import Host, Reservation


class KeptHosts:
    def __init__(self) -> None:
        self._messages: KeptMessages[api_pb2.Host] = KeptMessages()

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
        source = (host, replicas, held, standby, gateways)
        return self._messages.of(
            host.id, source, lambda: host_message(host, replicas, claims, index_of, standby, gateways)
        )

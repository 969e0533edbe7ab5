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
from homeport_control.domain.replicas import Replica


class KeptHosts:
    def __init__(self) -> None:
        self._messages: KeptMessages[api_pb2.Host] = KeptMessages()

    def message(
        self,
        host: Host,
        replicas: int,
        claims: Sequence[Reservation],
        active: Mapping[str, Replica],
        standby: Phase | None,
        gateways: tuple[Gateway, ...],
    ) -> api_pb2.Host:
        """As `host_message`; `active`: by id, replicas that hold the claims, and others. Never changed by who gets it."""
        index_of = {it.replica_id: active[it.replica_id].index for it in claims if it.replica_id in active}
        source = (host, replicas, tuple(claims), tuple(index_of.items()), standby, gateways)
        return self._messages.of(
            host.id, source, lambda: host_message(host, replicas, claims, index_of, standby, gateways)
        )

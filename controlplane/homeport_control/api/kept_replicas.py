"""Messages of replicas, each kept until what it is made of is another: `ps` shows thousands, and few have changed since."""

from collections.abc import Mapping

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.convert import replica_message
from homeport_control.api.gpu_memory import GpuMemory
from homeport_control.domain.hosts import Host
from homeport_control.domain.replicas import Replica

MOST = 50_000


class KeptReplicas:
    def __init__(self) -> None:
        self._known: dict[str, tuple[Replica, Host | None, GpuMemory | None, api_pb2.Replica]] = {}

    def message(self, replica: Replica, hosts: Mapping[str, Host], memory: GpuMemory | None) -> api_pb2.Replica:
        """As `replica_message`. Never changed by who gets it."""
        host = hosts.get(replica.host_id or "")
        known = self._known.get(replica.id)
        # A replica and a host that have not changed are one and the same value (store/kept.py).
        if known is not None and known[0] is replica and known[1] is host and known[2] == memory:
            return known[3]
        if len(self._known) >= MOST:  # of replicas that are gone, too
            self._known.clear()
        made = replica_message(replica, host, memory)
        self._known[replica.id] = (replica, host, memory, made)
        return made

"""Messages of replicas, each kept until what it is made of is another: `ps` shows thousands, and few have changed since."""

from collections.abc import Mapping

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.convert import replica_message
from homeport_control.api.gpu_memory import MemoryOf
from homeport_control.api.kept_messages import KeptMessages
from homeport_control.domain.hosts import Host
from homeport_control.domain.replicas import Replica


class KeptReplicas:
    def __init__(self) -> None:
        self._messages: KeptMessages[api_pb2.Replica] = KeptMessages()

    def message(self, replica: Replica, hosts: Mapping[str, Host], memory: MemoryOf) -> api_pb2.Replica:
        """As `replica_message`. Never changed by who gets it."""
        host = hosts.get(replica.host_id or "")
        source = (replica, host, *memory.measured(replica))
        return self._messages.of(replica.id, source, lambda: replica_message(replica, host, memory.of(replica)))

"""Removing a host for good: its replicas are given up, its certificate is worth nothing, and it hears of it.

Moving its replicas away first is a drain (`drains`), which the command line waits for.
"""

import time
from collections.abc import Callable, Iterable, Sequence

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.api.drains import named_host
from homeport_control.domain.errors import Conflict
from homeport_control.domain.hosts import Connection, Host
from homeport_control.store import fleets, gateways, hosts, replicas, volumes
from homeport_control.store.connect import Database

EndSession = Callable[[str], None]


async def remove_host(
    database: Database, end_session: EndSession, caller: Caller, request: api_pb2.DeleteHostRequest
) -> api_pb2.DeleteHostResponse:
    """Raises Denied, NotFound; Conflict where something would be lost and it is not forced."""
    caller.must_be_admin("remove a host")
    now_s = time.time()
    async with database.write(actor=caller.actor) as write:
        host = await named_host(write, request.host)
        there = await replicas.on_host(write.connection, host.id)
        homes = await volumes.homes(write.connection)
        kept = sorted(name for name, host_id in homes.items() if host_id == host.id)
        roles = [gateway.name for gateway in await gateways.of_host(write.connection, host.id)]
        if not request.force and (held := _held(len(there), kept, roles)):
            raise Conflict(f"host {host.name} cannot be removed: {held}; --force removes it all the same")
        for replica in there:
            await replicas.update(write, replica.id, lost=True, message=f"its host {host.name} was removed")
            await replicas.end(write, replica.id, now_s)
        await volumes.forget(write, host.id)
        await fleets.forget_host(write, host.id)
        await gateways.host_gone(write, host)
        await hosts.remove(write, host, now_s)
    end_session(host.id)
    return api_pb2.DeleteHostResponse(sentence=_sentence(host, len(there), kept))


def _held(count: int, kept: Iterable[str], gateways: Sequence[str]) -> str:
    """What would be lost with it; empty: nothing."""
    parts = [
        f"{_counted(count, 'replica')} {'is' if count == 1 else 'are'} there" if count else "",
        f"it has the data of the volumes {', '.join(kept)}" if kept else "",
        f"it is the host of the gateway {', '.join(gateways)}, without which its services are not reached"
        if gateways
        else "",
    ]
    return "; ".join(filter(None, parts))


def _sentence(host: Host, count: int, kept: Iterable[str]) -> str:
    is_there = host.connection is Connection.CONNECTED
    parts = [
        f"host {host.name} is removed",
        f"{_counted(count, 'replica')} of it given up, to be made elsewhere" if count else "",
        f"the data of the volumes {', '.join(kept)} stays on its disk, and nobody looks for it there" if kept else "",
        "it cleans itself now" if is_there else "it cleans itself when it comes back",
    ]
    return "; ".join(filter(None, parts))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

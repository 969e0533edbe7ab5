"""Upgrades by the API: which hosts become the server's build; the loop does it, one after the other in each fleet."""

from collections.abc import Callable, Iterable

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.decide.upgrades import why_not
from homeport_control.domain.errors import NotFound
from homeport_control.store import hosts
from homeport_control.store.connect import Database

AskUpgrade = Callable[[Iterable[str]], None]


async def upgrade_hosts(
    database: Database, ask: AskUpgrade, caller: Caller, build: str, request: api_pb2.UpgradeHostsRequest
) -> api_pb2.UpgradeHostsResponse:
    """Raises Denied, NotFound."""
    caller.must_be_admin("upgrade hosts")
    wanted = set(request.hosts)
    async with database.read() as connection:
        known = await hosts.list_all(connection)
    if unknown := wanted - {name for host in known for name in (host.name, host.id)}:
        raise NotFound(f"no host {sorted(unknown)[0]}; `homeport fleet list` shows all")
    chosen = [host for host in known if not wanted or wanted & {host.name, host.id}]
    refused = {host.id: reason for host in chosen if (reason := why_not(host, build))}
    going = [host for host in chosen if host.id not in refused]
    ask(host.id for host in going)
    database.changes.publish(["upgrades"])
    return api_pb2.UpgradeHostsResponse(build=build, hosts=[host.name for host in going], sentences=refused.values())

"""Taking a host or some of its GPUs out, and giving them back: wishes that are written; the loops carry them out."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.domain.errors import BadRequest, NotFound
from homeport_control.domain.hosts import Finding, Host
from homeport_control.store import hosts, replicas
from homeport_control.store.connect import Database, Write

CLEAR_S = 5.0
ClearFindings = Callable[[str, Sequence[str], float], Awaitable[bool]]


async def drain(database: Database, caller: Caller, request: api_pb2.DrainRequest) -> api_pb2.DrainResponse:
    """It gets nothing new, and what runs there moves. Raises Denied, NotFound, BadRequest."""
    caller.must_be_admin("drain a host")
    async with database.write(actor=caller.actor) as write:
        host = await named_host(write, request.host)
        uuids = _gpus(host, request.gpu_uuids)
        if uuids:
            out = tuple(sorted({*host.cordoned_gpus, *uuids}))
            if out != host.cordoned_gpus:
                await hosts.update(write, host.id, {"cordoned_gpus": out})
        elif not host.cordoned:
            await hosts.update(write, host.id, {"cordoned": True})
        moving = [
            replica
            for replica in await replicas.on_host(write.connection, host.id)
            if replica.is_live and (not uuids or set(uuids) & set(replica.gpu_uuids))
        ]
    what = f"host {host.name} is drained" if not uuids else f"{_counted(uuids)} of {host.name} {_is(uuids)} drained"
    moves = {0: "nothing runs there", 1: "1 replica moves"}.get(len(moving), f"{len(moving)} replicas move")
    return api_pb2.DrainResponse(sentence=f"{what}: {moves}")


async def undrain(
    database: Database, clear: ClearFindings, caller: Caller, request: api_pb2.DrainRequest
) -> api_pb2.DrainResponse:
    """It may get replicas again; what was found of it is looked at anew. Raises Denied, NotFound, BadRequest."""
    caller.must_be_admin("undrain a host")
    async with database.write(actor=caller.actor) as write:
        host = await named_host(write, request.host)
        uuids = _gpus(host, request.gpu_uuids)
        changed: dict[str, object] = {}
        left = tuple(it for it in host.cordoned_gpus if uuids and it not in uuids)
        if left != host.cordoned_gpus:
            changed["cordoned_gpus"] = left
        if not uuids and host.cordoned:
            changed["cordoned"] = False
        if changed:
            await hosts.update(write, host.id, changed)
    what = f"host {host.name}" if not uuids else f"{_counted(uuids)} of {host.name}"
    found = [it for it in host.findings if not uuids or it.gpu_uuid in uuids]
    said = f"{what} {_is(uuids or ('',))} not drained"
    if not found:
        return api_pb2.DrainResponse(sentence=said)
    if await clear(host.id, uuids, CLEAR_S):
        return api_pb2.DrainResponse(sentence=f"{said}; what was found ({_codes(found)}) is looked at anew")
    return api_pb2.DrainResponse(
        sentence=f"{said}; what was found ({_codes(found)}) stays: the host is not connected, run this again when it is"
    )


async def named_host(write: Write, name: str) -> Host:
    """By its name or id. Raises NotFound."""
    found = [host for host in await hosts.list_all(write.connection) if name in {host.name, host.id}]
    if not found:
        raise NotFound(f"no host {name}; `homeport fleet list` shows all")
    return found[0]


def _gpus(host: Host, wanted: Iterable[str]) -> tuple[str, ...]:
    """Whole UUIDs of what was given by its beginning."""
    # A GPU that was taken out and is not there any more can still be given back.
    known = dict.fromkeys((*(gpu.uuid for gpu in host.facts.gpus), *host.cordoned_gpus))
    result = []
    for beginning in wanted:
        found = [uuid for uuid in known if uuid.startswith((beginning, f"GPU-{beginning}", f"MIG-{beginning}"))]
        if beginning in known:
            found = [beginning]
        if not beginning or len(found) != 1:
            what = f"{len(found)} GPUs" if found else "no GPU"
            raise BadRequest(
                f"{what} of {host.name} begin with {beginning!r}; `homeport fleet get {host.name}` shows them"
            )
        result += found
    return tuple(dict.fromkeys(result))


def _counted(uuids: Sequence[str]) -> str:
    return f"GPU {uuids[0]}" if len(uuids) == 1 else f"{len(uuids)} GPUs"


def _is(uuids: Sequence[str]) -> str:
    return "is" if len(uuids) == 1 else "are"


def _codes(found: Iterable[Finding]) -> str:
    return ", ".join(dict.fromkeys(it.code for it in found))

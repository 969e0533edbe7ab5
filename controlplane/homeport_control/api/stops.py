"""Stopping runs: a wish that is written; the loops carry it out."""

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.domain.errors import BadRequest, NotFound
from homeport_control.domain.services import RunWanted
from homeport_control.store import runs
from homeport_control.store.connect import Database


async def stop_runs(database: Database, caller: Caller, request: api_pb2.StopRunsRequest) -> api_pb2.StopRunsResponse:
    """All names or none: an unknown one is NotFound before anything is stopped. An abort overrules a stop."""
    if not request.names:
        raise BadRequest("name at least one run; `homeport ps` shows them")
    wanted = RunWanted.ABORT if request.abort else RunWanted.STOP
    stopping, already = [], []
    async with database.write(actor=caller.actor) as write:
        found = {}
        for name in dict.fromkeys(request.names):
            found[name] = await runs.active_by_name(write.connection, name)
            if found[name] is None and not await runs.name_was_used(write.connection, name):
                raise NotFound(f"no run {name}; `homeport ps -a` shows all")
        for name, run in found.items():
            if run is None:
                already.append(name)
                continue
            stopping.append(name)
            if run.wanted is not RunWanted.ABORT and run.wanted is not wanted:
                await runs.update(write, run.id, wanted=wanted)
    return api_pb2.StopRunsResponse(stopping=stopping, already_stopped=already)

"""Scaling by hand: the newest revision again with another number of replicas. Nothing that goes on is restarted.

Covers what an apply of the same file with another `replicas` would do, for who does not have the file at hand; the file's next
apply has its own number again. Does not cover how many a range has (loops/autoscale).
"""

import time

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.api.updating import Updates, Version
from homeport_control.domain.errors import BadRequest, Conflict, Denied, NotFound
from homeport_control.domain.services import RunWanted
from homeport_control.spec.env import Secrets
from homeport_control.spec.problems import Mistake
from homeport_control.spec.ranges import range_text
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.spec.traffic import parse_replicas
from homeport_control.store import runs
from homeport_control.store.connect import Database
from homeport_control.trust.sealing import Sealer


class Scales:
    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._updates = Updates(sealer)

    async def scale(self, caller: Caller, request: api_pb2.ScaleRequest) -> api_pb2.ScaleResponse:
        """A new revision, unless it has that many already.

        Raises NotFound, BadRequest for a number or range that it cannot have, Conflict when it is being stopped, was given
        up or is another revision than `from_revision`, Denied as an apply would.
        """
        async with self._database.write(actor=caller.actor) as write:
            run = await runs.active_by_name(write.connection, request.name)
            if run is None:
                raise NotFound(f"no run {request.name} that could be scaled; `homeport ps` shows what runs")
            if run.wanted is not RunWanted.RUN:
                raise Conflict(f"{run.name} is being stopped; apply its file to have it again")
            newest = run.newest
            if request.from_revision and request.from_revision != newest.number:
                raise Conflict(
                    f"revision {newest.number} of {run.name} is there now, not {request.from_revision}; look again"
                )
            if newest.failed:
                raise Conflict(
                    f"revision {newest.number} of {run.name} was given up; roll it back, or apply the file that you want"
                )
            before = spec_from_json(newest.spec_json)
            if before.privileged and not caller.is_admin:
                raise Denied(f"{run.name} has `privileged: true`, which needs an admin token")
            spec = _scaled(before, request.replicas)
            answer = api_pb2.ScaleResponse(
                run_id=run.id,
                from_revision=newest.number,
                revision=newest.number,
                replicas_before=range_text(before.replicas, str),
                replicas=range_text(spec.replicas, str),
            )
            if request.plan_only or spec == before:
                return answer
            sealed = await runs.sealed_secrets(write.connection, run.id, newest.number)
            answer.revision = newest.number + 1
            new = runs.NewRevision(
                spec.model_dump_json(), sealed, caller.name, newest.code_id, newest.code_bytes, changed=("replicas",)
            )
            await runs.add_revision(write, run.id, answer.revision, new, time.time())
            version = Version(spec, Secrets.from_json(self._sealer.open(sealed)), newest.code_id)
            await self._updates.carry_on(write, run, version, answer.revision)
            return answer


def _scaled(before: ServiceSpec, words: str) -> ServiceSpec:
    """Raises BadRequest."""
    try:
        replicas = parse_replicas(words)
    except Mistake as mistake:
        hint = f". {mistake.hint}" if mistake.hint else ""
        raise BadRequest(f"replicas {words[:40]!r}: {mistake.message}{hint}") from None
    if before.scaling is None and not replicas.is_exact:
        raise BadRequest(f"{before.name} has no `scaling`, so it has a fixed number of replicas; write one, as 3")
    if before.scaling is not None and replicas.is_exact:
        raise BadRequest(f"{before.name} has `scaling`, which needs a range of replicas; write one, as 1..4")
    return before.model_copy(update={"replicas": replicas})

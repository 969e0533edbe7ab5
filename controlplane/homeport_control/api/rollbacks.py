"""Rolling back: the present revision is given up by its user; the runs loop replaces its replicas, make before break."""

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.api.code import files_of
from homeport_control.api.convert import timestamp
from homeport_control.api.models import must_be_free
from homeport_control.api.publishing import published_by
from homeport_control.domain.errors import Conflict, Denied, NotFound
from homeport_control.domain.services import Revision, Run, RunWanted
from homeport_control.spec.problems import BadDocument
from homeport_control.spec.service import spec_from_json
from homeport_control.store import runs
from homeport_control.store.code import CodeStore
from homeport_control.store.connect import Database


async def roll_back(
    database: Database, code: CodeStore, caller: Caller, request: api_pb2.RollbackRequest
) -> api_pb2.RollbackResponse:
    """To the newest revision before the present one that was not given up.

    Raises NotFound, Conflict (also when there is none), and Denied as an apply of that revision would.
    """
    async with database.write(actor=caller.actor) as write:
        run = await runs.active_by_name(write.connection, request.name)
        if run is None:
            known = await runs.name_was_used(write.connection, request.name)
            raise NotFound(
                f"{request.name} does not run, so there is nothing to roll back; apply the file that you want"
                if known
                else f"no run {request.name}; `homeport ps -a` shows all"
            )
        present, before = _pair(run)
        if request.from_revision and request.from_revision != present.number:
            raise Conflict(
                f"revision {present.number} of {run.name} is the present one now, not {request.from_revision}; "
                "run `homeport rollback` again to see it anew"
            )
        spec = spec_from_json(before.spec_json)
        if spec.privileged and not caller.is_admin:
            raise Denied(f"revision {before.number} has `privileged: true`, which needs an admin token")
        if await files_of(code, before.code_id) is None:
            raise Conflict(f"the code of revision {before.number} is not kept any more; apply it from its folder")
        try:
            await must_be_free(write.connection, spec)
            await published_by(write.connection, spec.gateway, https=spec.https is True)
        except BadDocument as error:
            why = "; ".join(problem.message for problem in error.problems)
            raise Conflict(f"{run.name} cannot go back to revision {before.number}: {why}") from None
        if not request.plan_only:
            await runs.roll_back(write, run.id, present.number, before.number, caller.name)
    return api_pb2.RollbackResponse(
        run_id=run.id,
        from_revision=present.number,
        to_revision=before.number,
        to_created_at=timestamp(before.created_at_s),
        to_user=before.user,
    )


def _pair(run: Run) -> tuple[Revision, Revision]:
    """The present revision and the one before it. Raises Conflict."""
    if run.wanted is not RunWanted.RUN:
        raise Conflict(f"{run.name} is being stopped; there is nothing to roll back")
    good = [revision for revision in run.revisions if not revision.failed]
    if not good:
        raise Conflict(f"every revision of {run.name} was given up; apply the file that you want")
    if len(good) == 1:
        why = "all before it were given up" if good[0].number > 1 else "it is the first one"
        raise Conflict(f"{run.name} cannot go back from revision {good[0].number}: {why}; apply the file that you want")
    return good[-1], good[-2]

"""Plan and apply: from a document to what would happen, and to a new run or revision. Nothing here waits for a host."""

import json
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import randbits

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.api.code import UNKNOWN, code_size, files_of
from homeport_control.api.models import must_be_free
from homeport_control.api.offers import fitting
from homeport_control.api.properties import properties
from homeport_control.api.publishing import must_be_there, published_by
from homeport_control.api.updating import Updates, Version
from homeport_control.decide.placement import Ask, Filters
from homeport_control.domain.errors import BadRequest, Conflict, Denied
from homeport_control.domain.services import Run, RunWanted
from homeport_control.spec.base_image import DEFAULT_TEMPLATE, image_of
from homeport_control.spec.codediff import code_diff
from homeport_control.spec.diff import Change, diff
from homeport_control.spec.document import env_wanted, parse
from homeport_control.spec.env import Secrets
from homeport_control.spec.impact import how_of
from homeport_control.spec.naming import random_name
from homeport_control.spec.problems import BadDocument, Problem
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.spec.support import unsupported
from homeport_control.store import runs
from homeport_control.store.code import CodeStore
from homeport_control.store.connect import Database, Write
from homeport_control.trust.sealing import Sealer

MAX_DOCUMENT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Planned:
    """A document that is in order, held against what is there."""

    name: str
    spec: ServiceSpec
    secrets: Secrets
    active: Run | None
    action: str  # create, replace, update, unchanged
    changes: tuple[Change, ...]
    token: str  # of the state that was looked at
    code_id: str = ""

    @property
    def gateway(self) -> str:
        return self.spec.gateway or ""

    @property
    def version(self) -> Version:
        return Version(self.spec, self.secrets, self.code_id)

    @property
    def is_another_try(self) -> bool:
        """The same again, after it was given up: its replicas are to be new ones."""
        return self.active is not None and bool(self.active.newest.failed) and not self.changes


class Plans:
    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        code: CodeStore,
        must_be_ready: Callable[[str], Awaitable[None]],
        base_image: str = DEFAULT_TEMPLATE,
    ) -> None:
        """`must_be_ready` waits for a gateway, by its name."""
        self._must_be_ready = must_be_ready
        self._base_image = base_image
        self._database = database
        self._sealer = sealer
        self._code = code
        self._updates = Updates(sealer)

    async def plan(self, caller: Caller, request: api_pb2.PlanRequest) -> api_pb2.PlanResponse:
        """What applying the document would do, with the hosts that fit and why others do not."""
        try:
            planned = await self._planned(caller, request.document)
        except BadDocument as error:
            return api_pb2.PlanResponse(
                problems=problem_messages(error.problems), env_wanted=env_wanted(_value(request.document))
            )
        spec = planned.spec
        ask = Ask(
            "",
            planned.name,
            spec.resources,
            Filters.of(spec),
            volumes=spec.named_volumes,
            image=image_of(spec, self._base_image),
        )
        fits, refused = await fitting(self._database, ask)
        how, because = await self._how(planned, has_room=any(offer.availability != "busy" for offer in fits))
        return api_pb2.PlanResponse(
            run_name=planned.name,
            action=planned.action,
            properties=[
                api_pb2.Property(name=name, value=value)
                for name, value in properties(caller.name, spec, self._base_image)
            ],
            changes=[api_pb2.Change(path=c.path, old=c.old, new=c.new, how=how_of(c.path)) for c in planned.changes],
            offers=fits,
            refusals=refused,
            plan_token=planned.token,
            env_wanted=env_wanted(_value(request.document)),
            how=how,
            how_because=because,
        )

    async def _how(self, planned: Planned, *, has_room: bool) -> tuple[str, str]:
        if planned.action == "replace":
            return "", f"the run {planned.name} that has ended is replaced; `homeport ps -a` goes on showing it"
        if planned.active is None or planned.action == "unchanged":
            return "", ""
        async with self._database.read() as connection:
            return await self._updates.how(
                connection, planned.active, planned.version, has_room=has_room, anew=planned.is_another_try
            )

    async def apply(self, caller: Caller, request: api_pb2.ApplyRequest) -> api_pb2.ApplyResponse:
        """A new run, or a new revision of the active one. What it answers has been committed (invariant 9)."""
        try:
            planned = await self._planned(caller, request.document)
        except BadDocument as error:
            return api_pb2.ApplyResponse(problems=problem_messages(error.problems))
        if request.plan_token and request.plan_token != planned.token:
            raise Conflict(
                f"{planned.name} was changed after this plan was made; run `homeport apply` again to see it anew"
            )
        await self._must_be_ready(planned.gateway)
        new = runs.NewRevision(
            planned.spec.model_dump_json(),
            self._sealer.seal(planned.secrets.to_json()),
            caller.name,
            code_id=request.document.code_id,
            code_bytes=await code_size(self._code, request.document.code_id),
            # Keys, not the files under `code`: an event is one line.
            changed=tuple(c.path for c in planned.changes if not c.path.startswith(("code/", "files/"))),
        )
        now_s = time.time()
        run_id, revision, action = uuid.uuid4().hex[:12], 1, planned.action
        if planned.active is None:
            async with self._database.write(actor=caller.actor) as write:
                await must_be_there(write.connection, planned.gateway)
                await runs.insert(write, run_id, planned.name, caller.name, new, now_s)
        else:
            run_id, revision = planned.active.id, planned.active.newest.number
            if action == "update" or request.force:
                revision, action = revision + 1, "update"
                async with self._database.write(actor=caller.actor) as write:
                    current = await _still_wanted(write, planned.active)
                    await must_be_there(write.connection, planned.gateway)
                    await runs.add_revision(write, run_id, revision, new, now_s)
                    anew = request.force or planned.is_another_try
                    await self._updates.carry_on(write, current, planned.version, revision, anew=anew)
        return api_pb2.ApplyResponse(run_name=planned.name, run_id=run_id, revision=revision, action=action)

    async def _planned(self, caller: Caller, document: api_pb2.Document) -> Planned:
        spec, given = _parse(document)
        files = await files_of(self._code, document.code_id)
        if files is None:
            raise Conflict(UNKNOWN)
        name = spec.name or random_name(randbits(64))
        spec = spec.model_copy(update={"name": name})
        if spec.privileged and caller.role != "admin":
            raise Denied("`privileged: true` needs an admin token: such a container can do anything on its host")
        async with self._database.read() as connection:
            gateway = await published_by(connection, spec.gateway, https=spec.https is True)
            spec = spec.model_copy(update={"gateway": gateway})
            await must_be_free(connection, spec)
            active = await runs.active_by_name(connection, name)
            if active is None:
                used = await runs.name_was_used(connection, name)
                action = "replace" if used else "create"
                return Planned(name, spec, given, None, action, (), "new", document.code_id)
            if active.wanted is not RunWanted.RUN:
                raise Conflict(f"{name} is being stopped; apply it again when `homeport ps` does not show it any more")
            sealed = await runs.sealed_secrets(connection, active.id, active.newest.number)
            before = spec_from_json(active.newest.spec_json)
            if before.gateway is None:  # from before there were several
                before = before.model_copy(update={"gateway": await published_by(connection, None)})
        held = Secrets.from_json(self._sealer.open(sealed))
        newest = active.newest
        changes = diff(before, held, spec, given)
        if newest.code_id != document.code_id:
            changes += code_diff(newest.code_id, await files_of(self._code, newest.code_id), document.code_id, files)
        # The same file again after its revision was given up is another try, not "unchanged".
        action = "update" if changes or newest.failed else "unchanged"
        token = f"{active.id}:{newest.number}"
        return Planned(name, spec, given, active, action, changes, token, document.code_id)


async def _still_wanted(write: Write, planned: Run) -> Run:
    """The run as it is now. Raises Conflict when it was stopped or has ended since it was looked at."""
    current = await runs.active_by_name(write.connection, planned.name)
    if current is None or current.id != planned.id or current.wanted is not RunWanted.RUN:
        raise Conflict(f"{planned.name} was stopped just now; run `homeport apply` again")
    return current


def problem_messages(problems: tuple[Problem, ...]) -> list[api_pb2.Problem]:
    return [api_pb2.Problem(path=p.path, message=p.message, hint=p.hint) for p in problems]


def _parse(document: api_pb2.Document) -> tuple[ServiceSpec, Secrets]:
    """Raises BadDocument with every problem, and with what is not carried out yet."""
    parsed = parse(_value(document), env=dict(document.env), name=document.name, reuse=document.reuse)
    refused = unsupported(parsed.spec)
    if refused or not isinstance(parsed.spec, ServiceSpec):
        raise BadDocument(refused)
    if parsed.spec.files and not document.code_id:
        hint = "Use this version's command line, which sends them"
        raise BadDocument([Problem("files", "was not sent along", hint)])
    return parsed.spec, parsed.secrets


def _value(document: api_pb2.Document) -> object:
    if len(document.json) > MAX_DOCUMENT_BYTES:
        raise BadRequest(f"the configuration has {len(document.json)} bytes, the limit is {MAX_DOCUMENT_BYTES}")
    try:
        return json.loads(document.json)
    except (ValueError, RecursionError) as error:
        raise BadRequest(
            f"the configuration did not arrive as JSON: {error}; use this version's command line"
        ) from None

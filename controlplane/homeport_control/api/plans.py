"""Plan and apply: from a document to what would happen, and to a new run or revision. Nothing here waits for a host."""

import json
import time
import uuid
from dataclasses import dataclass
from secrets import randbits

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.api.code import code_size
from homeport_control.api.models import must_be_free
from homeport_control.api.offers import fitting
from homeport_control.decide.placement import Ask, Filters
from homeport_control.domain.errors import BadRequest, Conflict, Denied
from homeport_control.domain.services import Run, RunWanted
from homeport_control.spec.base_image import DEFAULT_TEMPLATE, image_of
from homeport_control.spec.diff import Change, diff
from homeport_control.spec.document import env_wanted, parse
from homeport_control.spec.env import Secrets
from homeport_control.spec.naming import random_name
from homeport_control.spec.problems import BadDocument, Problem
from homeport_control.spec.resources import resources_text
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


class Plans:
    def __init__(self, database: Database, sealer: Sealer, code: CodeStore, base_image: str = DEFAULT_TEMPLATE) -> None:
        self._base_image = base_image
        self._database = database
        self._sealer = sealer
        self._code = code

    async def plan(self, caller: Caller, request: api_pb2.PlanRequest) -> api_pb2.PlanResponse:
        """What applying the document would do, with the hosts that fit and why others do not."""
        try:
            planned = await self._planned(caller, request.document)
        except BadDocument as error:
            return api_pb2.PlanResponse(
                problems=problem_messages(error.problems), env_wanted=env_wanted(_value(request.document))
            )
        spec = planned.spec
        ask = Ask("", planned.name, spec.resources, Filters.of(spec), volumes=spec.named_volumes)
        fits, refused = await fitting(self._database, ask)
        return api_pb2.PlanResponse(
            run_name=planned.name,
            action=planned.action,
            properties=[
                api_pb2.Property(name=name, value=value)
                for name, value in _properties(caller, planned, self._base_image)
            ],
            changes=[api_pb2.Change(path=c.path, old=c.old, new=c.new) for c in planned.changes],
            offers=fits,
            refusals=refused,
            plan_token=planned.token,
            env_wanted=env_wanted(_value(request.document)),
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
        new = runs.NewRevision(
            planned.spec.model_dump_json(),
            self._sealer.seal(planned.secrets.to_json()),
            caller.name,
            code_id=request.document.code_id,
            code_bytes=await code_size(self._code, request.document.code_id),
            changed=tuple(change.path for change in planned.changes),
        )
        now_s = time.time()
        run_id, revision, action = uuid.uuid4().hex[:12], 1, planned.action
        if planned.active is None:
            async with self._database.write(actor=caller.actor) as write:
                await runs.insert(write, run_id, planned.name, caller.name, new, now_s)
        else:
            run_id, revision = planned.active.id, planned.active.newest.number
            if action == "update" or request.force:
                revision, action = revision + 1, "update"
                async with self._database.write(actor=caller.actor) as write:
                    await _still_wanted(write, planned.active)
                    await runs.add_revision(write, run_id, revision, new, now_s)
        return api_pb2.ApplyResponse(run_name=planned.name, run_id=run_id, revision=revision, action=action)

    async def _planned(self, caller: Caller, document: api_pb2.Document) -> Planned:
        spec, given = _parse(document)
        name = spec.name or random_name(randbits(64))
        spec = spec.model_copy(update={"name": name})
        if spec.privileged and caller.role != "admin":
            raise Denied("`privileged: true` needs an admin token: such a container can do anything on its host")
        async with self._database.read() as connection:
            await must_be_free(connection, spec)
            active = await runs.active_by_name(connection, name)
            if active is None:
                used = await runs.name_was_used(connection, name)
                return Planned(name, spec, given, None, "replace" if used else "create", (), "new")
            if active.wanted is not RunWanted.RUN:
                raise Conflict(f"{name} is being stopped; apply it again when `homeport ps` does not show it any more")
            sealed = await runs.sealed_secrets(connection, active.id, active.newest.number)
        held = Secrets.from_json(self._sealer.open(sealed))
        changes = diff(spec_from_json(active.newest.spec_json), held, spec, given)
        # The same file again after its revision was given up is another try, not "unchanged".
        is_same = not changes and active.newest.code_id == document.code_id and not active.newest.failed
        action = "unchanged" if is_same else "update"
        return Planned(name, spec, given, active, action, changes, f"{active.id}:{active.newest.number}")


async def _still_wanted(write: Write, planned: Run) -> None:
    """Raises Conflict when the run was stopped or has ended since it was looked at."""
    current = await runs.active_by_name(write.connection, planned.name)
    if current is None or current.id != planned.id or current.wanted is not RunWanted.RUN:
        raise Conflict(f"{planned.name} was stopped just now; run `homeport apply` again")


def problem_messages(problems: tuple[Problem, ...]) -> list[api_pb2.Problem]:
    return [api_pb2.Problem(path=p.path, message=p.message, hint=p.hint) for p in problems]


def _parse(document: api_pb2.Document) -> tuple[ServiceSpec, Secrets]:
    """Raises BadDocument with every problem, and with what is not carried out yet."""
    parsed = parse(_value(document), env=dict(document.env), name=document.name, reuse=document.reuse)
    refused = unsupported(parsed.spec)
    if refused or not isinstance(parsed.spec, ServiceSpec):
        raise BadDocument(refused)
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


def _properties(caller: Caller, planned: Planned, base_image: str) -> list[tuple[str, str]]:
    spec = planned.spec
    return [
        ("User", caller.name),
        ("Configuration", "service"),
        ("Name", planned.name),
        ("Image", image_of(spec, base_image)),
        ("Resources", resources_text(spec.resources)),
        ("Replicas", str(spec.replicas.min)),
        ("Port", str(spec.port)),
        ("Authentication", "Bearer token" if spec.auth else "none"),
        ("Retry", "on" if spec.retry else "off"),
        ("Max duration", "off" if spec.max_duration_s is None else f"{spec.max_duration_s:g} s"),
        ("Stop duration", f"{spec.stop_duration_s:g} s"),
    ]

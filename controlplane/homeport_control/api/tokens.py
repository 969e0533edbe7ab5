"""Tokens by the API: made, listed, revoked; the plain token leaves once, in the answer to its making.

Everybody makes, sees and revokes their own; an admin those of all. Nobody makes one that may more than they may.
"""

import time
import uuid

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.api.convert import timestamp
from homeport_control.domain.errors import BadRequest, Conflict, NotFound
from homeport_control.spec.problems import Mistake
from homeport_control.spec.words import resource_name
from homeport_control.store import tokens, users
from homeport_control.store.connect import Database, Write
from homeport_control.store.tokens import METRICS_ROLE, TokenRecord
from homeport_control.trust.tokens import new_join_token, new_user_token, sha256_hex

ROLES = ("admin", "user", "service", METRICS_ROLE)
JOIN_TTL_S = 3600.0
MAX_TTL_S = 100 * 365 * 86400.0
MAX_NAME = 100
MAX_SERVICES = 100  # that one token is limited to
MAX_TOKENS = 1000  # of one user that are valid


async def create(
    database: Database, caller: Caller, request: api_pb2.CreateTokenRequest
) -> api_pb2.CreateTokenResponse:
    role, owner = request.role or "user", request.user or caller.name
    _check(request, role)
    if role == "admin":
        caller.must_be_admin("make tokens of the role admin")
    if owner != caller.name:
        caller.must_be_admin("make tokens for other users")
    now_s = time.time()
    expires_at_s = now_s + request.ttl_s if request.ttl_s else None
    if not caller.is_admin and caller.expires_at_s is not None:  # a token does not make itself last longer
        expires_at_s = min(expires_at_s or caller.expires_at_s, caller.expires_at_s)
    plain, record = new_record(request.name, role, owner, now_s, expires_at_s, tuple(sorted(request.services)))
    async with database.write(actor=caller.actor) as write:
        user = await users.get(write.connection, owner)
        if user is None:
            raise NotFound(f"no user {owner}; `homeport user list` shows them")
        if role == "admin" and user.role != "admin":
            raise Conflict(
                f"{owner} is not an admin, so a token of the role admin would not make one; leave --role out"
            )
        existing = await tokens.find(write.connection, request.name, user=owner)
        if any(not each.why_not(now_s) for each in existing):
            raise Conflict(f"a token {request.name} exists already; revoke it first or choose another name")
        if (await tokens.valid_counts(write.connection, now_s)).get(owner, 0) >= MAX_TOKENS:
            raise Conflict(
                f"{owner} has {MAX_TOKENS} valid tokens, more are refused; revoke some: `homeport token list`"
            )
        await tokens.insert(write, record)
    return api_pb2.CreateTokenResponse(token=plain, description=_message(record))


def new_record(
    name: str, role: str, user: str, now_s: float, expires_at_s: float | None = None, services: tuple[str, ...] = ()
) -> tuple[str, TokenRecord]:
    """A new secret, and what is kept of it."""
    plain = new_user_token()
    record = TokenRecord(
        id=uuid.uuid4().hex[:12],
        name=name,
        sha256=sha256_hex(plain),
        role=role,
        services=services,
        fleet="",
        one_use=False,
        created_at_s=now_s,
        expires_at_s=expires_at_s,
        user=user,
    )
    return plain, record


def _check(request: api_pb2.CreateTokenRequest, role: str) -> None:
    """Raises BadRequest."""
    if role not in ROLES:
        raise BadRequest(f"no role {role}; the roles are {', '.join(ROLES)}")
    if request.services and role != "service":
        raise BadRequest("only a token of the role service can be limited to services; add --role service")
    if not request.name:
        raise BadRequest("a token needs a name, so that it can be listed and revoked by it")
    if not request.name.isprintable() or len(request.name) > MAX_NAME:
        raise BadRequest(f"the name of a token is one line of at most {MAX_NAME} characters")
    if len(request.services) > MAX_SERVICES:
        raise BadRequest(f"a token is limited to at most {MAX_SERVICES} services; without any it may call all")
    for service in request.services:  # one that no service can have would make every gateway's configuration bad
        try:
            resource_name(service)
        except Mistake as mistake:
            raise BadRequest(f"a service {mistake.message}: {mistake.hint}") from None
    check_ttl(request.ttl_s)


def check_ttl(ttl_s: float) -> None:
    """Raises BadRequest."""
    if not 0 <= ttl_s <= MAX_TTL_S:
        raise BadRequest("the time to live is negative or too long; leave it out for a token that does not expire")


async def list_all(database: Database, caller: Caller) -> api_pb2.ListTokensResponse:
    """An admin sees those of all, others their own."""
    async with database.read() as connection:
        found = await tokens.list_all(connection, user=None if caller.is_admin else caller.name)
    return api_pb2.ListTokensResponse(tokens=[_message(record) for record in found])


async def revoke(database: Database, caller: Caller, id_or_name: str) -> api_pb2.RevokeTokenResponse:
    now_s = time.time()
    async with database.write(actor=caller.actor) as write:
        record = await _chosen(write, caller, id_or_name)
        await keep_an_admin(write, [record], now_s)
        await tokens.revoke(write, record.id, now_s)
    return api_pb2.RevokeTokenResponse()


async def _chosen(write: Write, caller: Caller, id_or_name: str) -> TokenRecord:
    """The one that is meant: by id, else the caller's own of that name, else the only one. Raises NotFound, Conflict."""
    found = await tokens.find(write.connection, id_or_name, user=None if caller.is_admin else caller.name)
    if not found:
        raise NotFound(f"no token {id_or_name}; `homeport token list` shows them")
    by_id = [record for record in found if record.id == id_or_name]
    own = [record for record in found if record.user == caller.name and record.revoked_at_s is None]
    left = [record for record in found if record.revoked_at_s is None]
    if by_id or own:
        return (by_id or own)[0]
    if len(left) > 1:
        owners = ", ".join(f"{record.id} of {record.user}" for record in left)
        raise Conflict(f"several tokens are called {id_or_name}: {owners}; revoke one by its id")
    return (left or found)[0]


async def keep_an_admin(write: Write, revoked: list[TokenRecord], now_s: float) -> None:
    """Raises Conflict when without these nobody would be an admin any more."""
    admins = {record.id for record in await tokens.valid_admins(write.connection, now_s)}
    gone = {record.id for record in revoked}
    if admins and admins <= gone:
        raise Conflict(
            "this is the last valid token of an admin; make another first: `homeport token create NAME --role admin`"
        )


async def create_join(
    database: Database, ca_sha256: str, fleet: str, ttl_s: float, *, one_use: bool, actor: str = "server"
) -> api_pb2.CreateJoinTokenResponse:
    """A token for hosts to join a fleet with; it carries the CA's pin."""
    if not 0 <= ttl_s <= MAX_TTL_S:
        raise BadRequest("the time to live is negative or too long; leave it out for one hour")
    now_s = time.time()
    plain = new_join_token(ca_sha256)
    record = TokenRecord(
        id=uuid.uuid4().hex[:12],
        name="join",
        sha256=sha256_hex(plain),
        role="join",
        services=(),
        fleet=fleet or "local",
        one_use=one_use,
        created_at_s=now_s,
        expires_at_s=now_s + (ttl_s or JOIN_TTL_S),
    )
    async with database.write(actor=actor) as write:
        await tokens.insert(write, record)
    return api_pb2.CreateJoinTokenResponse(token=plain, expires_at=timestamp(record.expires_at_s))


def _message(record: TokenRecord) -> api_pb2.Token:
    return api_pb2.Token(
        id=record.id,
        name=record.name,
        role=record.role,
        services=record.services,
        created_at=timestamp(record.created_at_s),
        expires_at=timestamp(record.expires_at_s),
        revoked_at=timestamp(record.revoked_at_s),
        user=record.user,
    )

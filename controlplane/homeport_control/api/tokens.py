"""Tokens by the API: made, listed, revoked; the plain token leaves once, in the answer to its making."""

import time
import uuid

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.api.convert import timestamp
from homeport_control.domain.errors import BadRequest, Conflict, NotFound
from homeport_control.spec.problems import Mistake
from homeport_control.spec.words import resource_name
from homeport_control.store import tokens
from homeport_control.store.connect import Database
from homeport_control.store.tokens import TokenRecord
from homeport_control.trust.tokens import new_join_token, new_user_token, sha256_hex

ROLES = ("admin", "user", "service")
JOIN_TTL_S = 3600.0
MAX_TTL_S = 100 * 365 * 86400.0
MAX_NAME = 100


async def create(
    database: Database, caller: Caller, request: api_pb2.CreateTokenRequest
) -> api_pb2.CreateTokenResponse:
    role = request.role or "user"
    if role not in ROLES:
        raise BadRequest(f"no role {role}; the roles are admin, user and service")
    if request.services and role != "service":
        raise BadRequest("only a token of the role service can be limited to services; add --role service")
    if not request.name:
        raise BadRequest("a token needs a name, so that it can be listed and revoked by it")
    if not request.name.isprintable() or len(request.name) > MAX_NAME:
        raise BadRequest(f"the name of a token is one line of at most {MAX_NAME} characters")
    for service in request.services:  # one that no service can have would make every gateway's configuration bad
        try:
            resource_name(service)
        except Mistake as mistake:
            raise BadRequest(f"a service {mistake.message}: {mistake.hint}") from None
    if not 0 <= request.ttl_s <= MAX_TTL_S:
        raise BadRequest("the time to live is negative or too long; leave it out for a token that does not expire")
    if role != "service":
        caller.must_be_admin(f"make tokens of the role {role}")
    now_s = time.time()
    plain = new_user_token()
    record = TokenRecord(
        id=uuid.uuid4().hex[:12],
        name=request.name,
        sha256=sha256_hex(plain),
        role=role,
        services=tuple(sorted(request.services)),
        fleet="",
        one_use=False,
        created_at_s=now_s,
        expires_at_s=now_s + request.ttl_s if request.ttl_s else None,
    )
    async with database.write() as write:
        existing = await tokens.find(write.connection, request.name)
        if existing is not None and not existing.why_not(now_s):
            raise Conflict(f"a token {request.name} exists already; revoke it first or choose another name")
        await tokens.insert(write, record)
    return api_pb2.CreateTokenResponse(token=plain, description=_message(record))


async def list_all(database: Database) -> api_pb2.ListTokensResponse:
    async with database.read() as connection:
        return api_pb2.ListTokensResponse(tokens=[_message(record) for record in await tokens.list_all(connection)])


async def revoke(database: Database, caller: Caller, id_or_name: str) -> api_pb2.RevokeTokenResponse:
    async with database.write() as write:
        record = await tokens.find(write.connection, id_or_name)
        if record is None:
            raise NotFound(f"no token {id_or_name}; `homeport token list` shows them")
        if record.role != "service":
            caller.must_be_admin(f"revoke tokens of the role {record.role}")
        await tokens.revoke(write, record.id, time.time())
    return api_pb2.RevokeTokenResponse()


async def create_join(
    database: Database, ca_sha256: str, fleet: str, ttl_s: float, *, one_use: bool
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
    async with database.write() as write:
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
    )

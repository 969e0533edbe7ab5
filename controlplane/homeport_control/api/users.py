"""Users by the API: made with their first token, listed, deleted with all of their tokens. An admin's work.

The last admin stays: nobody can lock everybody out by accident. When all admin tokens are lost nevertheless, whoever owns
the server's machine makes a new one there (`homeport server admin-token`).
"""

import re
import time

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.api.convert import timestamp
from homeport_control.api.tokens import check_ttl, keep_an_admin, new_record
from homeport_control.domain.errors import BadRequest, Conflict, NotFound
from homeport_control.store import tokens, users
from homeport_control.store.connect import Database, Write
from homeport_control.store.users import UserRecord

ROLES = ("admin", "user")
NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}")
ADMIN = "admin"
MAX_USERS = 10_000


async def create(database: Database, caller: Caller, request: api_pb2.CreateUserRequest) -> api_pb2.CreateUserResponse:
    caller.must_be_admin("make users")
    role = request.role or "user"
    if role not in ROLES:
        raise BadRequest(f"no role {role}; the roles of users are admin and user")
    if not NAME.fullmatch(request.name):
        raise BadRequest(
            "a user's name begins with a small letter and has up to 63 of a-z, 0-9, `.`, `_` and `-`: ann, ann.lee"
        )
    check_ttl(request.ttl_s)
    now_s = time.time()
    record = UserRecord(request.name, role, now_s)
    async with database.write(actor=caller.actor) as write:
        if await users.get(write.connection, record.name) is not None:
            raise Conflict(f"a user {record.name} exists already; `homeport token create --user` gives a further token")
        if len(await users.list_all(write.connection)) >= MAX_USERS:
            raise Conflict(f"there are {MAX_USERS} users, more are refused; delete some")
        plain = await _with_token(write, record, now_s, now_s + request.ttl_s if request.ttl_s else None)
    return api_pb2.CreateUserResponse(user=_message(record, 1), token=plain)


async def list_all(database: Database) -> api_pb2.ListUsersResponse:
    async with database.read() as connection:
        found = await users.list_all(connection)
        counts = await tokens.valid_counts(connection, time.time())
    return api_pb2.ListUsersResponse(users=[_message(record, counts.get(record.name, 0)) for record in found])


async def delete(database: Database, caller: Caller, name: str) -> api_pb2.DeleteUserResponse:
    caller.must_be_admin("delete users")
    now_s = time.time()
    async with database.write(actor=caller.actor) as write:
        known = await users.list_all(write.connection)
        if all(record.name != name for record in known):
            raise NotFound(f"no user {name}; `homeport user list` shows them")
        if all(record.name == name for record in known if record.role == "admin"):
            raise Conflict(f"{name} is the last admin; make another first: `homeport user create NAME --role admin`")
        own = [record for record in await tokens.list_all(write.connection, user=name) if record.revoked_at_s is None]
        await keep_an_admin(write, own, now_s)
        for record in own:
            await tokens.revoke(write, record.id, now_s)
        await users.delete(write, name)
    return api_pb2.DeleteUserResponse(tokens_revoked=len(own))


async def first_admin(write: Write, now_s: float) -> str:
    """The user `admin` with its first token, which is returned."""
    return await _with_token(write, UserRecord(ADMIN, "admin", now_s), now_s, None)


async def new_admin_token(database: Database) -> str:
    """A further token of an admin, for whoever owns the server's machine; of the user `admin`, made if need be."""
    now_s = time.time()
    async with database.write() as write:
        known = await users.list_all(write.connection)
        admins = sorted(
            (record.name for record in known if record.role == "admin"), key=lambda name: (name != ADMIN, name)
        )
        if admins:
            name = admins[0]
        else:
            taken = {record.name for record in known}
            name = next(n for n in (ADMIN, *(f"{ADMIN}-{i}" for i in range(2, len(taken) + 3))) if n not in taken)
            await users.insert(write, UserRecord(name, "admin", now_s))
        plain, record = new_record(f"{name}-{int(now_s)}", "admin", name, now_s)
        await tokens.insert(write, record)
    return plain


async def _with_token(write: Write, user: UserRecord, now_s: float, expires_at_s: float | None) -> str:
    plain, record = new_record(user.name, user.role, user.name, now_s, expires_at_s)
    await users.insert(write, user)
    await tokens.insert(write, record)
    return plain


def _message(record: UserRecord, valid_tokens: int) -> api_pb2.User:
    return api_pb2.User(
        name=record.name, role=record.role, created_at=timestamp(record.created_at_s), tokens=valid_tokens
    )

"""Who calls the API: a bearer token in the metadata, looked up by its hash, and the user that it belongs to.

The caller's role is the smaller one of the token's and the user's.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from homeport_control.domain.errors import Denied
from homeport_control.store import tokens, users
from homeport_control.store.connect import Database
from homeport_control.store.tokens import METRICS_ROLE, TokenRecord
from homeport_control.store.users import UserRecord
from homeport_control.trust.tokens import sha256_hex


@dataclass(frozen=True, slots=True)
class Caller:
    name: str  # the user's
    role: str  # admin or user
    expires_at_s: float | None = None  # when the token that was sent does

    @property
    def actor(self) -> str:
        """As it stands in the events of what it changes."""
        return f"user {self.name}"

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def must_be_admin(self, to_do: str) -> None:
        if not self.is_admin:
            raise Denied(f"only an admin may {to_do}; your token's role is {self.role}")


class Unauthenticated(Denied):
    """No token, or one that is not valid: the caller must log in, where Denied means that it may not."""


async def caller_of(database: Database, metadata: Iterable[tuple[str, str | bytes]] | None) -> Caller:
    """Raises Unauthenticated with what to do."""
    record, user = await _identified(database, str(dict(metadata or ()).get("authorization", "")), "admin", "user")
    is_admin = record.role == user.role == "admin"
    return Caller(user.name, "admin" if is_admin else "user", record.expires_at_s)


async def check_metrics_reader(database: Database, authorization: str) -> None:
    """Whether who sends this header may read numbers of everything. Raises Unauthenticated, Denied."""
    await _identified(database, authorization, "admin", "user", METRICS_ROLE)


_MAY_ONLY = {
    "service": "may only call services; use a user or admin token here",
    METRICS_ROLE: "may only read /metrics; use a user or admin token here",
}


async def _identified(database: Database, authorization: str, *roles: str) -> tuple[TokenRecord, UserRecord]:
    """The token that is sent, of one of these roles, and its user."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("no token was sent; run `homeport login`")
    async with database.read() as connection:
        record = await tokens.by_hash(connection, sha256_hex(token))
        user = await users.get(connection, record.user) if record is not None else None
    if record is None or record.role == "join":
        raise Unauthenticated("the token is not known here; run `homeport login` with a token of this server")
    why_not = record.why_not(time.time())
    if why_not:
        raise Unauthenticated(
            f"the token {record.name} {why_not}; ask an admin for a new one (`homeport token create`)"
        )
    if record.role not in roles:
        raise Denied(f"the token {record.name} {_MAY_ONLY[record.role]}")
    if user is None:
        raise Unauthenticated(
            f"the user {record.user} of the token {record.name} is not there; ask an admin for a new one"
        )
    return record, user

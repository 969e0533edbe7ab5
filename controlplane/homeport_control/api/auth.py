"""Who calls the API: a bearer token in the metadata, looked up by its hash, and the user that it belongs to.

The caller's role is the smaller one of the token's and the user's.
"""

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from homeport_control.domain.errors import Denied, NotReady
from homeport_control.store import tokens, users
from homeport_control.store.connect import Database
from homeport_control.store.tokens import METRICS_ROLE, TokenRecord
from homeport_control.store.users import UserRecord
from homeport_control.trust.callers import caller_peer
from homeport_control.trust.guesses import Guesses, address_of
from homeport_control.trust.tokens import sha256_hex

Metadata = Iterable[tuple[str, str | bytes]] | None


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


class Callers:
    """Who may call, and how often somebody may get that wrong."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._guesses = Guesses()

    async def of(self, context: grpc.aio.ServicerContext[Any, Any]) -> Caller:
        """Raises Unauthenticated with what to do, Denied, TooManyGuesses."""
        return await self.who(context.invocation_metadata(), address_of(caller_peer(context)))

    async def who(self, metadata: Metadata, address: str) -> Caller:
        """The same, of one who calls from an address."""
        async with self._looked_up(_token(metadata), address):
            return await caller_of(self.database, metadata)

    async def check_metrics_reader(self, authorization: str, address: str) -> None:
        """Whether who sends this header may read numbers of everything. Raises Unauthenticated, Denied, TooManyGuesses."""
        token = _token([("authorization", authorization)])
        async with self._looked_up(token, address):
            await _identified(self.database, token, "admin", "user", METRICS_ROLE)

    @asynccontextmanager
    async def _looked_up(self, token: str, address: str) -> AsyncIterator[None]:
        """Around the look at a token: remembers whether it was good. Raises TooManyGuesses instead of looking."""
        sha256 = sha256_hex(token)
        self._guesses.check(address, sha256, time.monotonic())
        try:
            yield
        except Unauthenticated:
            self._guesses.was_wrong(address, sha256, time.monotonic())
            raise
        self._guesses.was_good(sha256)

    async def is_known(self, metadata: Metadata) -> bool:
        """Whether what it sends may be read: a token that was good lately, or is now. While too many try wrong ones, none
        is looked up for that: it would be work for each of them."""
        try:
            if self._guesses.is_good(sha256_hex(_token(metadata))):
                return True
            if self._guesses.are_too_many(time.monotonic()):
                return False
            await caller_of(self.database, metadata)
        except NotReady:
            return True  # the method says so
        except Denied:
            return False
        return True


def _token(metadata: Metadata) -> str:
    """Raises Unauthenticated."""
    values = dict(metadata or ())
    scheme, _, token = str(values.get("authorization", "")).partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("no token was sent; run `homeport login`")
    return token


async def caller_of(database: Database, metadata: Metadata) -> Caller:
    """Raises Unauthenticated with what to do."""
    record, user = await _identified(database, _token(metadata), "admin", "user")
    is_admin = record.role == user.role == "admin"
    return Caller(user.name, "admin" if is_admin else "user", record.expires_at_s)


_MAY_ONLY = {
    "service": "may only call services; use a user or admin token here",
    METRICS_ROLE: "may only read /metrics; use a user or admin token here",
}


async def _identified(database: Database, token: str, *roles: str) -> tuple[TokenRecord, UserRecord]:
    """The token, which must be of one of these roles, and its user."""
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

"""Tokens in the database: hashes with what they allow. No plain token comes in here or goes out."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.gateway import TokenGrant
from homeport_control.store import events
from homeport_control.store.connect import Write
from homeport_control.store.schema import tokens, users

METRICS_ROLE = "metrics"  # may read /metrics, and nothing else


@dataclass(frozen=True, slots=True)
class TokenRecord:
    id: str
    name: str
    sha256: str
    role: str  # admin, user, service, metrics, join
    services: tuple[str, ...]
    fleet: str
    one_use: bool
    created_at_s: float
    expires_at_s: float | None = None
    revoked_at_s: float | None = None
    user: str = ""  # whose it is; empty: a join token

    def why_not(self, now_s: float) -> str:
        """Why it may not be used now; empty when it may."""
        if self.revoked_at_s is not None:
            return "was used already" if self.one_use else "was revoked"
        if self.expires_at_s is not None and self.expires_at_s <= now_s:
            return f"expired {now_s - self.expires_at_s:.0f} s ago"
        return ""


def _record(row: sa.Row[tuple[object, ...]]) -> TokenRecord:
    values = dict(row._mapping)
    values["services"] = tuple(values["services"])
    return TokenRecord(**values)


async def insert(write: Write, record: TokenRecord) -> None:
    values = {field: getattr(record, field) for field in TokenRecord.__slots__}
    values["services"] = list(record.services)
    await write.connection.execute(sa.insert(tokens).values(**values))
    _tell(write, record, f"{write.actor} made {_what(record)}")
    write.touch("tokens")


_BY_HASH = sa.select(tokens).where(tokens.c.sha256 == sa.bindparam("which"))  # made once: at each call of the API


async def by_hash(connection: AsyncConnection, sha256: str) -> TokenRecord | None:
    row = (await connection.execute(_BY_HASH, {"which": sha256})).one_or_none()
    return _record(row) if row else None


async def find(connection: AsyncConnection, id_or_name: str, *, user: str | None = None) -> list[TokenRecord]:
    """The tokens with this id or name, of this user or of all: those that are not revoked first, then the newest."""
    query = (
        sa.select(tokens)
        .where((tokens.c.id == id_or_name) | (tokens.c.name == id_or_name), tokens.c.role != "join")
        .order_by(tokens.c.revoked_at_s.is_not(None), tokens.c.created_at_s.desc())
    )
    if user is not None:
        query = query.where(tokens.c.user == user)
    return [_record(row) for row in await connection.execute(query)]


async def list_all(connection: AsyncConnection, *, user: str | None = None) -> list[TokenRecord]:
    """All but join tokens, of this user or of all, oldest first."""
    query = sa.select(tokens).where(tokens.c.role != "join").order_by(tokens.c.created_at_s, tokens.c.id)
    if user is not None:
        query = query.where(tokens.c.user == user)
    return [_record(row) for row in await connection.execute(query)]


async def revoke(write: Write, token_id: str, now_s: float) -> bool:
    """Mark it revoked (or used). False when it was already: the guard against using a one-use token twice."""
    query = sa.update(tokens).where(tokens.c.id == token_id, tokens.c.revoked_at_s.is_(None)).values(revoked_at_s=now_s)
    row = (await write.connection.execute(query.returning(*tokens.c))).one_or_none()
    if row is None:
        return False
    record = _record(row)
    verb = "used" if record.one_use else "revoked"
    _tell(write, record, f"{write.actor} {verb} {_what(record)}")
    write.touch("tokens")
    return True


async def valid_admins(connection: AsyncConnection, now_s: float) -> list[TokenRecord]:
    """Tokens with which somebody is an admin now."""
    query = (
        sa.select(tokens)
        .join(users, users.c.name == tokens.c.user)
        .where(users.c.role == "admin", tokens.c.role == "admin", tokens.c.revoked_at_s.is_(None))
    )
    return [record for record in map(_record, await connection.execute(query)) if not record.why_not(now_s)]


async def valid_counts(connection: AsyncConnection, now_s: float) -> dict[str, int]:
    """How many valid tokens each user has."""
    is_valid = tokens.c.expires_at_s.is_(None) | (tokens.c.expires_at_s > now_s)
    query = (
        sa.select(tokens.c.user, sa.func.count())
        .where(tokens.c.role != "join", tokens.c.revoked_at_s.is_(None), is_valid)
        .group_by(tokens.c.user)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


async def grants(connection: AsyncConnection, now_s: float) -> tuple[tuple[TokenGrant, ...], float | None]:
    """Who may call services now, sorted by hash, and when the next of them expires."""
    query = sa.select(tokens).where(tokens.c.role.not_in(("join", METRICS_ROLE)), tokens.c.revoked_at_s.is_(None))
    records = [record for record in map(_record, await connection.execute(query)) if not record.why_not(now_s)]
    expiries = [record.expires_at_s for record in records if record.expires_at_s is not None]
    found = tuple(
        sorted((TokenGrant(r.sha256, r.services, r.id) for r in records), key=lambda grant: grant.token_sha256)
    )
    return found, min(expiries, default=None)


def _what(record: TokenRecord) -> str:
    """Without anything that would let somebody in."""
    if record.role == "join":
        return f"a join token for the fleet {record.fleet}" + (", good for one host" if record.one_use else "")
    services = f" for {', '.join(record.services)}" if record.services else ""
    return f"the token {record.name} of the role {record.role}{services}, of the user {record.user or 'nobody'}"


def _tell(write: Write, record: TokenRecord, sentence: str) -> None:
    events.record(write, kind="token", object_id=record.id, name=record.name, sentence=sentence)

"""Tokens in the database: hashes with what they allow. No plain token comes in here or goes out."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.domain.gateway import TokenGrant
from homeport_control.store.connect import Write
from homeport_control.store.schema import tokens


@dataclass(frozen=True, slots=True)
class TokenRecord:
    id: str
    name: str
    sha256: str
    role: str  # admin, user, service, join
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
    write.touch("tokens")


async def by_hash(connection: AsyncConnection, sha256: str) -> TokenRecord | None:
    row = (await connection.execute(sa.select(tokens).where(tokens.c.sha256 == sha256))).one_or_none()
    return _record(row) if row else None


async def find(connection: AsyncConnection, id_or_name: str) -> TokenRecord | None:
    """The newest token with this id or name that is not revoked."""
    query = (
        sa.select(tokens)
        .where((tokens.c.id == id_or_name) | (tokens.c.name == id_or_name), tokens.c.role != "join")
        .order_by(tokens.c.revoked_at_s.is_not(None), tokens.c.created_at_s.desc())
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return _record(row) if row else None


async def list_all(connection: AsyncConnection) -> list[TokenRecord]:
    """All but join tokens, oldest first."""
    query = sa.select(tokens).where(tokens.c.role != "join").order_by(tokens.c.created_at_s, tokens.c.id)
    return [_record(row) for row in await connection.execute(query)]


async def revoke(write: Write, token_id: str, now_s: float) -> bool:
    """Mark it revoked (or used). False when it was already: the guard against using a one-use token twice."""
    query = sa.update(tokens).where(tokens.c.id == token_id, tokens.c.revoked_at_s.is_(None)).values(revoked_at_s=now_s)
    done = (await write.connection.execute(query)).rowcount == 1
    write.touch("tokens")
    return done


async def grants(connection: AsyncConnection, now_s: float) -> tuple[tuple[TokenGrant, ...], float | None]:
    """Who may call services now, sorted by hash, and when the next of them expires."""
    query = sa.select(tokens).where(tokens.c.role != "join", tokens.c.revoked_at_s.is_(None))
    records = [record for record in map(_record, await connection.execute(query)) if not record.why_not(now_s)]
    expiries = [record.expires_at_s for record in records if record.expires_at_s is not None]
    found = tuple(sorted((TokenGrant(r.sha256, r.services) for r in records), key=lambda grant: grant.token_sha256))
    return found, min(expiries, default=None)

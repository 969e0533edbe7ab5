"""Users in the database: who may log in, and as what. What they log in with is in tokens."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.store import events
from homeport_control.store.connect import Write
from homeport_control.store.schema import users


@dataclass(frozen=True, slots=True)
class UserRecord:
    name: str
    role: str  # admin, user
    created_at_s: float


def _record(row: sa.Row[tuple[object, ...]]) -> UserRecord:
    return UserRecord(**row._mapping)


_GET = sa.select(users).where(users.c.name == sa.bindparam("which"))  # made once: at each call of the API


async def get(connection: AsyncConnection, name: str) -> UserRecord | None:
    row = (await connection.execute(_GET, {"which": name})).one_or_none()
    return _record(row) if row else None


async def list_all(connection: AsyncConnection) -> list[UserRecord]:
    """By name."""
    return [_record(row) for row in await connection.execute(sa.select(users).order_by(users.c.name))]


async def insert(write: Write, record: UserRecord) -> None:
    values = {field: getattr(record, field) for field in UserRecord.__slots__}
    await write.connection.execute(sa.insert(users).values(**values))
    _tell(write, record.name, f"{write.actor} made the user {record.name} of the role {record.role}")


async def delete(write: Write, name: str) -> None:
    """The user alone; its tokens are the caller's to revoke in the same transaction."""
    await write.connection.execute(sa.delete(users).where(users.c.name == name))
    _tell(write, name, f"{write.actor} deleted the user {name}")


def _tell(write: Write, name: str, sentence: str) -> None:
    events.record(write, kind="user", object_id=name, name=name, sentence=sentence)
    write.touch("users")

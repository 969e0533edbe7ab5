"""store/code_copies on a real PostgreSQL: what one server took in, the next one has; and what no run needs goes."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from homeport_control.domain.errors import NotReady
from homeport_control.store.code import CodeStore
from homeport_control.store.code_copies import CodeCopies
from homeport_control.store.connect import open_database
from rig.postgres import Postgres

CODE_ID, OTHER_ID = "a" * 64, "b" * 64


@pytest.fixture
def url(postgresql: Postgres) -> Iterator[str]:
    made = postgresql.create(migrated=True)
    yield made
    postgresql.drop(made)


async def take_in(store: CodeStore, code_id: str, contents: list[bytes], *, leave_out: int = 0) -> dict[str, bytes]:
    by_hash = {hashlib.sha256(data).hexdigest(): data for data in contents}
    await store.keep(code_id, b"manifest of " + code_id.encode(), {name: len(data) for name, data in by_hash.items()})
    for name, data in list(by_hash.items())[leave_out:]:
        async with store.incoming(name, len(data)) as incoming:
            await incoming.take(data, last=True)
    return by_hash


async def read(store: CodeStore, name: str) -> bytes:
    return b"".join([piece.data async for piece in store.pieces((name,))])


async def test_the_next_server_has_what_came_in_at_the_one_before(url: str, tmp_path: Path) -> None:
    one, two = open_database(url), open_database(url)
    try:
        first, second = CodeStore(tmp_path / "one"), CodeStore(tmp_path / "two")
        contents = await take_in(first, CODE_ID, [b"", b"small", os.urandom(3_000_000)])
        copies, there = CodeCopies(one, first), CodeCopies(two, second)
        assert await there.pull() == 0
        await copies.push(CODE_ID)
        assert await there.pull() == 1
        assert await second.missing(CODE_ID) == 0
        assert {name: await read(second, name) for name in contents} == contents
        assert await there.pull() == 0
        shared = await take_in(first, OTHER_ID, [b"small", b"other"])
        await copies.push(OTHER_ID)
        await copies.forget({CODE_ID})
        third = CodeStore(tmp_path / "three")
        assert await CodeCopies(two, third).pull() == 1
        assert await third.missing(CODE_ID) is None
        assert {name: await read(third, name) for name in shared} == shared
    finally:
        await one.close()
        await two.close()


async def test_what_is_not_whole_is_not_copied(url: str, tmp_path: Path) -> None:
    database = open_database(url)
    try:
        first = CodeStore(tmp_path / "one")
        await take_in(first, CODE_ID, [b"one", b"two"], leave_out=1)
        with pytest.raises(NotReady, match="cannot read the content"):
            await CodeCopies(database, first).push(CODE_ID)
        assert await CodeCopies(database, CodeStore(tmp_path / "two")).pull() == 0
    finally:
        await database.close()


async def test_one_server_alone_copies_nothing(template: Path, tmp_path: Path) -> None:
    from fixtures.control import migrated

    database = open_database(migrated(template, tmp_path / "server"))
    try:
        first = CodeStore(tmp_path / "one")
        await take_in(first, CODE_ID, [b"one"])
        await CodeCopies(database, first).push(CODE_ID)
        assert await CodeCopies(database, CodeStore(tmp_path / "two")).pull() == 0
    finally:
        await database.close()

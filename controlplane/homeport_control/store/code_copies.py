"""Code that was sent along, in the database too: what one server took in must outlive it, when there are several.

The files of a server (code.py) are what is served; here are copies of them. What is whole is copied before its sender is
told so, and a server that is about to lead fetches what it lacks. With SQLite there is one server, and nothing is copied.
Covers copying there and back, in pieces, each in a transaction of its own: nobody waits for a large one.
"""

import sqlalchemy as sa

from homeport_control.store.code import CodeStore, KeptManifest
from homeport_control.store.connect import Database
from homeport_control.store.dialect import insert_new
from homeport_control.store.schema import code_contents, code_manifests


class CodeCopies:
    def __init__(self, database: Database, code: CodeStore) -> None:
        self._database = database
        self._code = code
        self._is_alone = database.lease() is None
        self._known: set[str] = set()  # is whole in both places, and was by a look of this process

    async def push(self, code_id: str) -> None:
        """Copy a code that is not there yet: then all servers can have it. Raises NotReady, also when it is not whole here."""
        if self._is_alone or code_id in self._known:
            return
        kept = await self._code.get(code_id)
        if kept is None:
            return
        async with self._database.read() as connection:
            known = sa.select(code_manifests.c.code_id).where(code_manifests.c.code_id == code_id)
            if await connection.scalar(known) is None:
                there = set(await connection.scalars(sa.select(code_contents.c.sha256).where(code_contents.c.last)))
            else:
                there = set(kept.contents)
        for sha256 in sorted(set(kept.contents) - there):
            await self._push_content(sha256)
        async with self._database.write() as write:  # last: a manifest that is there has all of its contents
            row = {"code_id": code_id, "manifest": kept.manifest, "contents": dict(kept.contents)}
            await insert_new(write.connection, code_manifests, row)
        self._known.add(code_id)

    async def pull(self) -> int:
        """Fetch what is lacking here. Returns how many codes it were. Raises NotReady."""
        if self._is_alone:
            return 0
        async with self._database.read() as connection:
            there = list(await connection.scalars(sa.select(code_manifests.c.code_id)))
        fetched = 0
        for code_id in there:
            if code_id in self._known:
                continue
            if await self._code.missing(code_id) == 0:
                self._known.add(code_id)
                continue
            async with self._database.read() as connection:
                query = sa.select(code_manifests).where(code_manifests.c.code_id == code_id)
                row = (await connection.execute(query)).first()
            if row is None:
                continue  # it was collected meanwhile
            await self._pull_code(code_id, KeptManifest(row.manifest, row.contents))
            fetched += 1
        return fetched

    async def forget(self, code_ids: set[str]) -> None:
        """These are in no run any more; contents that no other code has go with them."""
        if self._is_alone or not code_ids:
            return
        self._known -= code_ids
        async with self._database.write() as write:
            await write.connection.execute(sa.delete(code_manifests).where(code_manifests.c.code_id.in_(code_ids)))
            rows = await write.connection.scalars(sa.select(code_manifests.c.contents))
            wanted = {sha256 for contents in rows for sha256 in contents}
            there = set(await write.connection.scalars(sa.select(code_contents.c.sha256).where(code_contents.c.last)))
            for sha256 in there - wanted:
                await write.connection.execute(sa.delete(code_contents).where(code_contents.c.sha256 == sha256))

    async def _push_content(self, sha256: str) -> None:
        number = 0
        async for piece in self._code.pieces((sha256,)):
            row = {"sha256": sha256, "number": number, "data": piece.data, "last": piece.last}
            async with self._database.write() as write:
                await insert_new(write.connection, code_contents, row)
            number += 1

    async def _pull_code(self, code_id: str, kept: KeptManifest) -> None:
        for sha256 in await self._code.keep(code_id, kept.manifest, kept.contents):
            async with self._code.incoming(sha256, kept.contents[sha256]) as incoming:
                number, last = 0, False
                while not last:
                    async with self._database.read() as connection:
                        key = (code_contents.c.sha256 == sha256) & (code_contents.c.number == number)
                        query = sa.select(code_contents.c.data, code_contents.c.last).where(key)
                        row = (await connection.execute(query)).first()
                    if row is None:
                        return  # it was collected meanwhile
                    await incoming.take(row.data, last=row.last)
                    number, last = number + 1, row.last

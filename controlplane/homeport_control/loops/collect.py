"""Old code goes: once an hour, by decide/collect. Nothing on the way of an apply waits for it."""

from contextlib import suppress

from homeport_control.decide.collect import UNUSED_S, codes_in_use, unused_codes
from homeport_control.decide.progress import plural
from homeport_control.domain.errors import NotReady
from homeport_control.loops.loop import Turn
from homeport_control.store import replicas, runs
from homeport_control.store.code import CodeStore
from homeport_control.store.code_copies import CodeCopies
from homeport_control.store.connect import Database

EVERY_S = 3600.0


class CollectLoop:
    topics: tuple[str, ...] = ()  # only time makes code old

    def __init__(self, database: Database, code: CodeStore) -> None:
        self._database = database
        self._code = code
        self._copies = CodeCopies(database, code)
        self._last = Turn("old code was not looked for yet", 0.0)

    async def turn(self, now_s: float) -> Turn:
        if self._last.wake_at_s is not None and now_s < self._last.wake_at_s:
            return self._last
        # First what is there, then what is used: a code that is applied in between was asked for just now.
        used_at_s = await self._code.used_at_s()
        for code_id in used_at_s:  # what came in before there were several servers
            with suppress(NotReady):  # it is not whole
                await self._copies.push(code_id)
        async with self._database.read() as connection:
            in_use = codes_in_use(await runs.list_unsettled(connection), await replicas.list_active(connection))
        unused = unused_codes(used_at_s, in_use, now_s)
        files = await self._code.remove(unused, now_s - UNUSED_S) if unused else 0
        if unused:  # what was asked for just now stayed
            await self._copies.forget(set(unused) - set(await self._code.used_at_s()))
        kept = plural(len(used_at_s) - len(unused), "code")
        self._last = Turn(f"{plural(files, 'file')} of old code went, {kept} kept", now_s + EVERY_S)
        return self._last

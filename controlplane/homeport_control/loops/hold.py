"""Requests that are held: what those who wait may hope for, said whenever something of their service changes.

Covers reading what is known of a service that requests wait for. Does not cover who waits (the room `hold`), what follows
(decide/hold), nor that a replica is wanted for them (autoscale).
"""

from collections.abc import Callable, Mapping

from homeport_control.decide.hold import outlook
from homeport_control.decide.progress import plural
from homeport_control.domain.fleets import Phase
from homeport_control.domain.holding import Outlook
from homeport_control.loops.loop import Turn
from homeport_control.loops.runs import REMEMBERED_S
from homeport_control.store import fleets, replicas, runs
from homeport_control.store.connect import Database

EARLIER = 20  # replicas that have ended, for their starts


class HoldLoop:
    """`held`: how many wait, by service. `tell`: hands what is known to who waits."""

    topics = ("runs", "replicas", "hosts", "held")

    def __init__(
        self, database: Database, held: Callable[[], Mapping[str, int]], tell: Callable[[str, Outlook], None]
    ) -> None:
        self._database = database
        self._held = held
        self._tell = tell

    async def turn(self, now_s: float) -> Turn:
        held = self._held()
        if not held:
            return Turn("no request is held")
        async with self._database.read() as connection:
            # The newest of each name, also when it has ended.
            found = {it.name: it for it in await runs.list_shown(connection, held, finished=True)}
            ids = [run.id for run in found.values()]
            present = await replicas.of_runs(connection, ids, ended_since_s=now_s - REMEMBERED_S)
            earlier = await replicas.last_of(connection, ids, EARLIER)
            registered = await fleets.registered(connection)
        machine_comes = any(it.standby is not None and it.standby.phase is Phase.COMING for it in registered)
        wakes = []
        sentences = []
        for service, count in sorted(held.items()):
            run = found.get(service)
            mine = [*present.get(run.id, ()), *earlier.get(run.id, ())] if run else []
            known, wake_s = outlook(run, tuple({it.id: it for it in mine}.values()), now_s, machine_comes=machine_comes)
            self._tell(service, known)
            wakes.append(wake_s)
            why = known.hopeless or known.failure
            sentences.append(f"{plural(count, 'request')} held for {service}" + (f"; {why}" if why else ""))
        return Turn("; ".join(sentences), min(filter(None, wakes), default=None))

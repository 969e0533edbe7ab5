"""Upgrades: has agents of another build become the server's, by decide/upgrades, and records what came of it.

Containers are not touched: an agent that starts anew adopts them. What is under way is forgotten with the process: the next
server sees builds, and goes on.
"""

from collections.abc import Awaitable, Callable, Iterable

from homeport_control.decide.upgrades import may_matter, next_upgrades
from homeport_control.domain.hosts import Host
from homeport_control.loops.loop import Turn
from homeport_control.store import hosts
from homeport_control.store.connect import Database

Send = Callable[[str, str], Awaitable[bool]]


class UpgradesLoop:
    topics = ("presence", "upgrades")

    def __init__(self, database: Database, build: str, send: Send) -> None:
        """`send` tells a host to become a build; False: it is not connected, or its agent is too old to hear it."""
        self._database = database
        self._build = build
        self._send = send
        self._running: dict[str, float] = {}
        self._asked: set[str] = set()

    def ask(self, host_ids: Iterable[str]) -> None:
        """An admin wants these upgraded, whatever failed before."""
        self._asked.update(host_ids)

    async def turn(self, now_s: float) -> Turn:
        async with self._database.read() as connection:
            by_id = await hosts.all_by_id(connection)
        self._running = {host_id: since_s for host_id, since_s in self._running.items() if host_id in by_id}
        known = sorted(filter(self._matters, by_id.values()), key=lambda host: host.name)
        turn = next_upgrades(known, self._build, self._running, self._asked, now_s)
        for host_id in (*turn.done, *turn.failed):
            del self._running[host_id]
        if turn.done or turn.failed:
            async with self._database.write() as write:
                for host_id in turn.done:
                    await hosts.update(write, host_id, {"upgrade_error": ""})
                    hosts.tell(write, by_id[host_id], f"host {by_id[host_id].name} has the agent {self._build} now")
                for host_id, why in turn.failed.items():
                    await hosts.update(write, host_id, {"upgrade_error": why})
                    hosts.tell(write, by_id[host_id], f"host {by_id[host_id].name} was not upgraded to {why}")
        started = [host_id for host_id in turn.start if await self._start(host_id, now_s)]
        names = ", ".join(by_id[host_id].name for host_id in started)
        sentence = f"upgrading to {self._build}: {names}" if names else f"{len(self._running)} upgrades under way"
        return Turn(sentence, turn.wake_at_s if not started else now_s + 1.0)

    def _matters(self, host: Host) -> bool:
        return host.id in self._running or host.id in self._asked or may_matter(host, self._build)

    async def _start(self, host_id: str, now_s: float) -> bool:
        was_asked = host_id in self._asked
        self._asked.discard(host_id)
        if was_asked:  # the failure that it tries again after would end it at once
            async with self._database.write() as write:
                await hosts.update(write, host_id, {"upgrade_error": ""})
        if not await self._send(host_id, self._build):
            return False
        self._running[host_id] = now_s
        return True

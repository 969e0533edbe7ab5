"""What gateways counted: their hosts are asked, of each of them, for what came after the last place that is kept.

Covers asking, and keeping each batch in one transaction with its place, so that a request is counted once whoever is away
or killed meanwhile: what was not kept is asked for again. A gateway that leaves its host is asked for to the end of the
session, and in the next ones while that host has a log of it: its last requests count too. Totals are store/usage's.
"""

import asyncio
import re
import time
from collections.abc import Sequence

import structlog
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.versions import ACCESS_PROTOCOL

from homeport_control.agents import bounds
from homeport_control.agents.sessions import AgentSession
from homeport_control.domain.errors import NotReady
from homeport_control.domain.usage import Usage, UsageBatch, UsageKey
from homeport_control.store import gateways, usage
from homeport_control.store.connect import Database
from homeport_control.store.loader import Loader

MOST_COUNTS = 50_000  # in one batch; an agent reads a few thousand lines at once
AGAIN_S = 5.0  # after a database that could not be written
PAUSE_S = 1.0  # between two batches: each is a transaction
_PLACE = re.compile(r"[0-9a-f]{16}:[0-9]{1,15}")
log = structlog.get_logger()


class UsageIn:
    def __init__(self, database: Database, pause_s: float = PAUSE_S) -> None:
        self._database = database
        self._pause_s = pause_s
        self._gateways = Loader(self._read_gateways)

    async def run(self, session: AgentSession) -> None:
        """While the session lasts."""
        if session.protocol < ACCESS_PROTOCOL:
            return
        asked: set[str] = set()
        with self._database.changes.subscribe(f"host:{session.host_id}") as subscription:
            async with asyncio.TaskGroup() as group:
                while True:
                    found = await self._gateways.load([session.host_id])
                    for gateway in sorted(found.get(session.host_id, set()) - asked):
                        asked.add(gateway)
                        group.create_task(self._ask(session, gateway))
                    await subscription.wait(None)

    async def _read_gateways(self, host_ids: Sequence[str]) -> dict[str, set[str]]:
        """By host id: those that it is, and was."""
        async with self._database.read() as connection:
            found = await usage.counted_on(connection, host_ids)
            for gateway in await gateways.list_all(connection):
                found.setdefault(gateway.host_id, set()).add(gateway.name)
        return found

    async def _ask(self, session: AgentSession, gateway: str) -> None:
        while True:
            try:
                async with self._database.read() as connection:
                    after = await usage.place_of(connection, session.host_id, gateway)
                batch = batch_from(await session.usage_after(gateway, after))
                async with self._database.write() as write:
                    await usage.add(write, session.host_id, gateway, after, batch, time.time())
            except NotReady as error:
                log.warning("usage could not be kept yet", host=session.host_id, gateway=gateway, because=str(error))
                await asyncio.sleep(AGAIN_S)
            await asyncio.sleep(self._pause_s)


def batch_from(message: agent_pb2.UsageBatch) -> UsageBatch:
    """Held to what may be: a host's word about numbers goes into the database. Raises NotReady."""
    is_place = bool(_PLACE.fullmatch(message.place)) or not (message.place or message.counts)
    if not is_place or len(message.counts) > MOST_COUNTS:
        raise NotReady("the host's answer makes no sense")
    now_hour_s = int(time.time()) + usage.HOUR_S
    return UsageBatch(
        message.place,
        tuple(
            (
                UsageKey(
                    min(max(it.hour_s - it.hour_s % usage.HOUR_S, 0), now_hour_s - now_hour_s % usage.HOUR_S),
                    bounds.name(it.token_id),
                    bounds.name(it.service),
                    bounds.name(it.model),
                ),
                Usage(bounds.amount(it.requests), bounds.amount(it.prompt_tokens), bounds.amount(it.completion_tokens)),
            )
            for it in message.counts
        ),
        message.missed,
    )

"""Who carries out errands at on-demand machines: several at once, each with its steps told, each ending with one word.

An errand that a killed server had not ended is done again by the next one: all of it can be done twice. Does not cover what is
done there (errands), nor what follows (loops/on_demand).
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from homeport_control.domain.fleets import Errand

AT_ONCE = 16
WAITING = 1000
STEP_EVERY_S = 0.5  # the install script says more than anybody can read
Step = Callable[[str], None]
Do = Callable[[Errand, Step], Awaitable[str]]
log = structlog.get_logger()


class Failed(Exception):
    """One line."""


class Listener(Protocol):
    """Who sends errands, and hears of them."""

    async def stepped(self, errand: Errand, step: str) -> None: ...
    async def done(self, errand: Errand, host_id: str) -> None: ...
    async def failed(self, errand: Errand, reason: str) -> None: ...


class Crew:
    """`do` carries an errand out and returns the id of the host that the machine is, or raises Failed."""

    def __init__(self, do: Do, listener: Listener) -> None:
        self._do = do
        self._listener = listener
        self._errands: asyncio.Queue[Errand] = asyncio.Queue(WAITING)
        self._busy: Counter[str] = Counter()  # errands by machine: one may end while the next is sent

    def is_busy(self, key: str) -> bool:
        """Whether somebody is at this machine, or will be."""
        return self._busy[key] > 0

    def send(self, errand: Errand) -> None:
        """One that finds no place is sent again at the sender's next look."""
        if not self._errands.full():
            self._busy[errand.registration.key] += 1
            self._errands.put_nowait(errand)

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            errand = await self._errands.get()
            key = errand.registration.key
            try:
                await self._carry_out(errand)
            except Exception:  # the database is away, say: it is found not ended, and sent again
                log.exception("an errand broke off", machine=key)
            finally:
                self._busy[key] -= 1

    async def _carry_out(self, errand: Errand) -> None:
        steps = Steps(lambda step: self._listener.stepped(errand, step))
        try:
            async with asyncio.TaskGroup() as group:
                telling = group.create_task(steps.tell())
                host_id = await self._do(errand, steps.took)
                telling.cancel()
        except* Failed as failures:
            reason = str(failures.exceptions[0])
            log.warning("an errand failed", machine=errand.registration.key, reason=reason)
        else:
            await self._listener.done(errand, host_id)
            return
        await self._listener.failed(errand, reason)


class Steps:
    """Tells the newest step, now and then."""

    def __init__(self, told: Callable[[str], Awaitable[None]]) -> None:
        self._told = told
        self._newest = ""
        self._news = asyncio.Event()

    def took(self, step: str) -> None:
        self._newest = step
        self._news.set()

    async def tell(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self._told(self._newest)
            await asyncio.sleep(STEP_EVERY_S)

"""Keeps the lease, or waits for it: looks, decides by decide/leadership, does it. Tells what is known of who leads.

Covers the one task of a server that runs whether it leads or not. With SQLite there is nothing to keep: one server, term 1.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from homeport_control.decide.leadership import (
    LOOK_EVERY_S,
    RENEW_EVERY_S,
    Follow,
    Lead,
    Renew,
    StepDown,
    decide,
    still_leads,
)
from homeport_control.domain.errors import NotReady
from homeport_control.domain.leadership import Lease, Standing
from homeport_control.store.leadership import Look

log = structlog.get_logger()


class LeasePort(Protocol):
    server: str

    async def look(self) -> Look: ...
    async def renew(self, term: int) -> bool: ...
    async def take(self, seen: Lease, term: int, name: str, address: str) -> bool: ...
    async def let_go(self, term: int) -> None: ...
    def close(self) -> None: ...


class LeaseKeeper:
    """`run()` in the process's TaskGroup. `standing` is what is known; each change of it is told."""

    def __init__(self, lease: LeasePort | None, name: str, address: str, on_change: Callable[[Standing], None]) -> None:
        """`address`: where other servers reach the link port of this one."""
        self.standing = Standing()
        self._lease = lease
        self._name, self._address = name, address
        self._on_change = on_change
        self._held_term = 0
        self._heard_s = asyncio.get_running_loop().time()  # when the last answer of the database was asked for
        self._look_now = asyncio.Event()
        self._is_ending = False

    async def run(self) -> None:
        if self._lease is None:
            self._tell(Standing(1, True, self._name, self._address, because="it is the only one"))
            return
        while not self._is_ending:
            self._look_now.clear()
            pause_s = await self._turn(self._lease)
            try:
                async with asyncio.timeout(pause_s):
                    await self._look_now.wait()
            except TimeoutError:
                continue

    def lost(self) -> None:
        """A write has seen that the term is another's: nothing waits for the next look."""
        self._look_now.set()

    def end(self) -> None:
        """No further look, and no further term."""
        self._is_ending = True
        self._look_now.set()  # a turn that is under way clears it no more

    async def let_go(self) -> None:
        """After `end`, when all that this server wrote as the leader is written."""
        term, self._held_term = self._held_term, 0
        if self._lease is None:
            return
        try:
            if term:
                await self._lease.let_go(term)
        except NotReady as error:
            log.warning("the lease ends by itself", because=str(error))
        finally:
            self._lease.close()

    async def _turn(self, lease: LeasePort) -> float:
        """Returns in how many seconds the next one is due."""
        asked_s = asyncio.get_running_loop().time()
        try:
            look = await lease.look()
            decision = decide(look.lease, lease.server, self._held_term, has_lock=look.has_lock, now_s=look.now_s)
            await self._do(lease, look, decision)
        except NotReady as error:
            gone = still_leads(self._heard_s, asyncio.get_running_loop().time())
            if gone is not None and self.standing.term:
                log.error("it is not known who leads", because=gone.because)
                self._held_term = 0
                self._tell(Standing(because=str(error)))
            return LOOK_EVERY_S
        self._heard_s = asked_s
        return RENEW_EVERY_S if self._held_term else LOOK_EVERY_S

    async def _do(self, lease: LeasePort, look: Look, decision: Lead | Renew | Follow | StepDown) -> None:
        match decision:
            case Lead(term, because):
                if await lease.take(look.lease, term, self._name, self._address):
                    self._held_term = term
                    self._tell(Standing(term, True, self._name, self._address, look.now_s, because))
            case Renew(term):
                if not await lease.renew(term):
                    self._look_now.set()
            case StepDown(because):
                self._held_term = 0
                self._tell(_of(look.lease, because))
            case Follow(because):
                self._tell(_of(look.lease, because))

    def _tell(self, standing: Standing) -> None:
        before, self.standing = self.standing, standing
        if (before.term, before.leads) != (standing.term, standing.leads):
            log.info(
                "leads" if standing.leads else "follows" if standing.term else "nobody leads",
                term=standing.term, leader=standing.name, because=standing.because,
            )  # fmt: skip
            self._on_change(standing)


def _of(lease: Lease, because: str) -> Standing:
    """As a server that follows knows it; of one that let go nothing is to be had any more."""
    if not lease.server:
        return Standing(because=because)
    return Standing(lease.term, False, lease.name, lease.address, lease.since_s, because)

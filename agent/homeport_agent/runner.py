"""Turns the machine's instructions into work, and the end of work into its events.

Covers order: one lane per replica with one piece of work at a time, where a stop overtakes what can be cancelled;
the machine's clock; the watch over the engine. Does not cover what is decided (machine) nor the work itself (work).
Owns every task of the agent's containers; a bug in one ends the process, since it runs in the one TaskGroup.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from homeport_agent import events as ev
from homeport_agent import instructions as do
from homeport_agent.admission import Look
from homeport_agent.admit import Admission
from homeport_agent.code.base import Code
from homeport_agent.engine.base import LABEL_SERVER, Engine, EngineError
from homeport_agent.log_archive import LogArchive
from homeport_agent.machine import Machine
from homeport_agent.model import JournalEntry, Phase
from homeport_agent.probe import probe_until_cancelled
from homeport_agent.work import Work

log = logging.getLogger("homeport.agent")

WATCH_AGAIN_S = (0.5, 10.0)  # back-off while the engine is away: first, longest
LOOK_ALL_S = 30.0  # the slow second line: an event that was never told is seen by then
PROGRESS_PAUSE_S = 0.5  # a pull tells its bytes no more often


class Spawn(Protocol):
    """Starts a task in the process's one TaskGroup."""

    def __call__(self, work: Coroutine[Any, Any, None], /) -> "asyncio.Task[None]": ...


@dataclass(slots=True)
class Lane:
    """The work of one replica: one piece at a time, in the order of its coming, and what probes it."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # first come, first served
    can_cancel: "asyncio.Task[None] | None" = None  # a pull or a stop: nothing is half done when it is cancelled
    is_look_waiting: bool = False
    probing: "asyncio.Task[None] | None" = None
    told_progress_s: float = field(default=-1.0)


class Runner:
    """The machine's hands.

    on_change: called when something that the server is told has changed.
    keep: called with what must be on disk, whenever that has changed.
    look: the newest sample of the GPUs, for admission; its times are of `clock`.
    """

    def __init__(
        self,
        machine: Machine,
        engine: Engine,
        server_id: str,
        spawn: Spawn,
        on_change: Callable[[], None],
        keep: Callable[[JournalEntry], None],
        code: Code,
        archive: LogArchive | None = None,
        clock: Callable[[], float] = time.monotonic,
        look: Callable[[], Look] | None = None,
    ) -> None:
        self.machine = machine
        self._engine = engine
        self._labels = ((LABEL_SERVER, server_id),)
        admission = Admission(machine, look, clock) if look is not None else None
        self._work = Work(engine, server_id, self._progressed, code, archive, admission)
        self._spawn = spawn
        self._on_change = on_change
        self._keep = keep
        self._clock = clock
        self._lanes: dict[str, Lane] = {}
        self._rescheduled = asyncio.Event()
        self._kept: JournalEntry | None = None

    def now_s(self) -> float:
        return self._clock()

    def feed(self, event: ev.Event) -> None:
        """Tell the machine what happened and begin what it orders."""
        changes, wake_s = self.machine.changes, self.machine.next_wake_s()
        for order in self.machine.handle(event, self._clock()):
            self._begin(order)
        if self.machine.changes != changes:
            self._on_change()
        if self.machine.next_wake_s() != wake_s:
            self._rescheduled.set()
        entry = self.machine.journal_entry()
        if entry is not None and entry != self._kept:
            self._kept = entry
            self._keep(entry)
        replica_id = getattr(event, "replica_id", None)
        if replica_id is not None and self.machine.replica_of(replica_id) is None:
            self._lanes.pop(replica_id, None)

    async def run_clock(self) -> None:
        """Feeds TimePassed when the machine asked for it."""
        while True:
            wake_s = self.machine.next_wake_s()
            self._rescheduled.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if wake_s is None else max(0.0, wake_s - self._clock())):
                    await self._rescheduled.wait()
                continue
            self.feed(ev.TimePassed())

    async def run_watch(self) -> None:
        """Finds what is there, then looks at each container of which the engine tells news."""
        pause_s = WATCH_AGAIN_S[0]
        while True:
            try:
                async with self._engine.events(self._labels) as happened:
                    async for event in happened:
                        if event.action == "watching":
                            await self._find_all()
                            pause_s = WATCH_AGAIN_S[0]
                        else:
                            self.look(event.replica_id)
                log.warning("the engine ended its stream of events; watching again")
            except EngineError as error:
                self.feed(ev.EngineUnavailable(str(error)))
                log.warning("%s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, WATCH_AGAIN_S[1])

    async def run_second_line(self) -> None:
        """Looks at everything now and then, in case an event was never told."""
        while True:
            await asyncio.sleep(LOOK_ALL_S)
            if self.machine.containers_known:
                with suppress(EngineError):
                    await self._find_all()

    async def _find_all(self) -> None:
        containers = await self._engine.list(self._labels)
        if not self.machine.containers_known:
            log.info("found %d containers of ours", len(containers))
            self.feed(ev.ContainersFound(containers))
            return
        running = {it.replica_id for it in containers if it.is_running}
        for it in self.machine.observe(None):
            believed = it.phase in (Phase.PROBING, Phase.READY, Phase.UNREADY)
            if believed and it.replica_id not in running:
                self.look(it.replica_id)

    def look(self, replica_id: str) -> None:
        """See how a replica's container is, after whatever is being done with it; one look waits at most."""
        lane = self._lanes.get(replica_id)
        if self.machine.replica_of(replica_id) is None or (lane is not None and lane.is_look_waiting):
            return
        lane = self._lane(replica_id)
        lane.is_look_waiting = True

        async def look() -> ev.WorkEvent | None:
            lane.is_look_waiting = False
            return await self._work.look(replica_id)

        self._enqueue(lane, look)

    # --- lanes ---

    def _lane(self, replica_id: str) -> Lane:
        return self._lanes.setdefault(replica_id, Lane())

    def _begin(self, order: do.Instruction) -> None:
        lane = self._lane(order.replica_id)
        match order:
            case do.StartProbing():
                self._stop_probing(lane)
                lane.probing = self._spawn(self._probe(order))
            case do.StopProbing():
                self._stop_probing(lane)
            case _:
                log.info("%s replica=%s", type(order).__name__, order.replica_id)
                if isinstance(order, do.StopContainer) and lane.can_cancel is not None:
                    lane.can_cancel.cancel()
                task = self._enqueue(lane, lambda: self._work.perform(order))
                lane.can_cancel = task if isinstance(order, do.PullImage | do.StopContainer) else None
                if isinstance(order, do.StartContainer | do.RestartContainer):
                    # Its end may have been told while it was still being started, when nobody believed in it yet.
                    self.look(order.replica_id)

    def _enqueue(
        self, lane: Lane, work: Callable[[], Coroutine[Any, Any, ev.WorkEvent | None]]
    ) -> "asyncio.Task[None]":
        async def in_turn() -> None:
            async with lane.turn:
                event = await work()
                if event is not None:
                    self._told(event)

        return self._spawn(in_turn())

    def _told(self, event: ev.WorkEvent) -> None:
        message = getattr(event, "message", "") or getattr(event, "note", "")
        is_routine = isinstance(event, ev.ContainerSeen) and event.container is not None and event.container.is_running
        log.log(
            logging.DEBUG if is_routine else logging.INFO,
            "%s replica=%s %s",
            type(event).__name__,
            event.replica_id,
            message,
        )
        self.feed(event)

    def _progressed(self, event: ev.WorkEvent) -> None:
        lane, now_s = self._lane(event.replica_id), self._clock()
        if now_s - lane.told_progress_s >= PROGRESS_PAUSE_S:
            lane.told_progress_s = now_s
            self.feed(event)

    async def _probe(self, order: do.StartProbing) -> None:
        def tell(number: int, is_ok: bool, message: str) -> None:
            self.feed(ev.ProbeAnswered(order.replica_id, number, is_ok, message))

        await probe_until_cancelled(order.assigned, order.container, tell, self._engine.listening_ports)

    def _stop_probing(self, lane: Lane) -> None:
        if lane.probing is not None:
            lane.probing.cancel()
            lane.probing = None

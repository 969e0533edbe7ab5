"""A client that sends numbered requests of four kinds through a gateway and checks every byte of every answer.

    flows = (Flow(Kind.PLAIN, workers=8, rate_per_s=200), Flow(Kind.EVENTS, workers=4, rate_per_s=2, longest_s=5))
    with loading(target, flows) as client:      # in a thread of its own
        client.more(500)                        # 500 further answers, right or wrong
        ...                                     # what must cost no request
    print(client.results.table())
    assert client.results.not_ok == 0

Bounded: a flow has so many workers, one request each at a time, and begins at most `rate_per_s` requests in a second. At
the end no further ones begin, and those under way are waited for. What a request is and how it is checked: exchanges.
"""

import asyncio
import itertools
import random
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rig import exchanges
from rig.answers import Ask
from rig.exchanges import Connection, Target
from rig.load_results import Exchange, Kind, Results, Wrong

__all__ = ["Flow", "Kind", "LoadClient", "Results", "Target", "loading"]

END_S = 120.0  # for what is under way at the end
SPEED_LOOKED_AT_S = 0.02


@dataclass(frozen=True, slots=True)
class Flow:
    """Requests of one kind."""

    kind: Kind
    workers: int
    rate_per_s: float
    count: int | None = None  # None: until the end
    timeout_s: float = 60.0  # of one request
    longest_s: float = 20.0  # of streams and websockets: each lasts a random time from a tenth of this to this,
    shortest_s: float | None = None  # or from this
    pause_s: float = 0.1  # between two events or frames


class LoadClient:
    """`run()` until `stop()`; may be called from other threads: `stop`, `more`, `speed` and what reads `results`.

    `speed`: how many times the rates of the flows; 0 begins nothing.
    """

    def __init__(self, target: Target, flows: Sequence[Flow], seed: int = 0) -> None:
        self.results = Results()
        self.speed = 1.0
        self._target, self._flows = target, flows
        self._random = random.Random(seed)  # noqa: S311 (how long a stream lasts)
        self._numbers = itertools.count(1)
        self._stopping = False
        self._changed = threading.Condition()

    async def run(self) -> None:
        """Ends when each flow has had its count, or was stopped; then every request that began has ended too."""
        async with asyncio.TaskGroup() as group:
            for flow in self._flows:
                pace, left = _Pace(flow.rate_per_s), itertools.count(1)
                for _ in range(flow.workers):
                    group.create_task(self._work(flow, pace, left))

    def stop(self) -> None:
        """No further requests begin."""
        self._stopping = True

    def rate_per_s(self, kind: Kind) -> float:
        """Most that begin in a second, at speed 1."""
        return sum(flow.rate_per_s for flow in self._flows if flow.kind is kind)

    def more(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until so many further requests were answered, rightly or wrongly. Blocks: not for a loop's thread."""
        wanted = self.results.answered + count
        with self._changed:
            if not self._changed.wait_for(lambda: self.results.answered >= wanted, timeout_s):
                raise AssertionError(
                    f"not {count} answers within {timeout_s:g} s, but {self.results.answered - wanted + count}"
                )

    async def _work(self, flow: Flow, pace: "_Pace", left: Iterator[int]) -> None:
        connection = Connection(self._target)
        try:
            while not self._stopping and (flow.count is None or next(left) <= flow.count):
                await self._turn(pace)
                if self._stopping:
                    break
                await self._one(flow, connection)
        finally:
            connection.close()

    async def _turn(self, pace: "_Pace") -> None:
        """Until one may begin, or is stopped: it may have been told to begin nothing while it waited for its turn."""
        while not self._stopping:
            if self.speed > 0:
                await pace.turn(self.speed or 1.0)  # it may be set to 0 in between
                if self.speed > 0:
                    return
            await asyncio.sleep(SPEED_LOOKED_AT_S)

    async def _one(self, flow: Flow, connection: Connection) -> None:
        exchange = Exchange(flow.kind, Ask(next(self._numbers), secrets.token_hex(8)))
        self.results.begin(flow.kind)
        begun_s, reason = time.monotonic(), ""
        try:
            async with asyncio.timeout(flow.timeout_s + (flow.longest_s if flow.kind in _LONG else 0.0)):
                await self._exchange(flow, connection, exchange)
        except Wrong as wrong:
            reason = str(wrong)
        except TimeoutError:
            reason = "lost: no end of the answer in time" if exchange.status else "lost: no answer in time"
        except Exception as error:  # a fault of this client is no answer either
            reason = f"{type(error).__name__}: {error}"
        after_s = time.monotonic() - begun_s
        if reason:
            connection.close()
            self.results.fail(exchange, reason, after_s)
        else:
            self.results.succeed(exchange, after_s)
        with self._changed:
            self._changed.notify_all()

    async def _exchange(self, flow: Flow, connection: Connection, exchange: Exchange) -> None:
        if flow.kind is Kind.PLAIN:
            await exchanges.plain(connection, exchange)
        elif flow.kind is Kind.UPLOAD:
            await exchanges.upload(connection, exchange)
        else:
            shortest_s = flow.longest_s / 10 if flow.shortest_s is None else flow.shortest_s
            lasts_s = self._random.uniform(shortest_s, flow.longest_s)
            check = exchanges.events if flow.kind is Kind.EVENTS else exchanges.socket
            await check(connection, exchange, lasts_s=lasts_s, pause_s=flow.pause_s)


_LONG = frozenset({Kind.EVENTS, Kind.SOCKET})


class _Pace:
    """When the next request of a flow may begin. Time that was lost is not made up for: there are no bursts."""

    def __init__(self, rate_per_s: float) -> None:
        self._pause_s = 1 / rate_per_s
        self._next_s = 0.0

    async def turn(self, speed: float) -> None:
        now_s = time.monotonic()
        mine_s = max(self._next_s, now_s)
        self._next_s = mine_s + self._pause_s / speed
        await asyncio.sleep(mine_s - now_s)


@contextmanager
def loading(target: Target, flows: Sequence[Flow], seed: int = 0) -> Iterator[LoadClient]:
    """The client runs beside the block, which may wait for processes and files as it likes; and ends with it."""
    client = LoadClient(target, flows, seed)
    thread = threading.Thread(target=lambda: asyncio.run(client.run()), name="load client", daemon=True)
    thread.start()
    try:
        yield client
    finally:
        client.stop()
        thread.join(END_S)
    assert not thread.is_alive(), f"requests are still under way {END_S:g} s after the end"

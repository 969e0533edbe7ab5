"""The clock of a simulated world, and which of its processes a piece of code belongs to.

One event loop on which no time passes but what timers ask for; `time.time`, `time.monotonic` and `uuid.uuid4` of this whole
process say what the simulation says. Each simulated process (a server, an agent) has its own tasks, so that it can be killed
as by `kill -9`: they are cut off at once, wherever they stand. Install before any module of ours is imported: some keep
`time.monotonic` as a default.
"""

import asyncio
import contextvars
import itertools
import random
import secrets
import selectors
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

EPOCH_S = 1_800_000_000.0


@dataclass(eq=False)
class Process:
    """A simulated process, and how far its clock is ahead."""

    name: str
    tasks: "dict[int, SimTask]" = field(default_factory=dict)
    skew: "Skew | None" = None
    is_dead: bool = False

    def kill(self) -> None:
        """Nothing of it goes on: its tasks end where they stand, and what their `finally` would say nobody hears."""
        self.is_dead = True
        for task in list(self.tasks.values()):
            task.cancel()


@dataclass(eq=False)
class Skew:
    """A machine's clock against the true one."""

    ahead_s: float = 0.0


class Stuck(Exception):
    """Nothing is ready and no timer is set: the world stands still for ever."""


NOBODY = Process("world")
process: contextvars.ContextVar[Process] = contextvars.ContextVar("process", default=NOBODY)


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    """Hashed by a number: sets of tasks are walked in the same order in each run."""

    _numbers = itertools.count()

    def __init__(self, coro: Any, *, loop: Any, **named: Any) -> None:
        self.number = next(self._numbers)
        super().__init__(coro, loop=loop, **named)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class _Selector(selectors.BaseSelector):
    """Waits by moving the clock."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return selectors.SelectorKey(fileobj, 0, 0, None)

    modify = register

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck
        if timeout > 0:
            self._clock.now_s += timeout
        return []

    def get_map(self) -> Any:
        return {}


class Clock:
    """True time since the beginning of this world."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def wall_s(self) -> float:
        """As the process that asks sees it."""
        skew = process.get().skew
        return EPOCH_S + self.now_s + (skew.ahead_s if skew is not None else 0.0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector(clock))
        self._sim_clock = clock
        self._clock_resolution = 1e-7
        self.set_task_factory(_task)

    def time(self) -> float:
        return self._sim_clock.now_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """At once: there are no threads here."""
        done: asyncio.Future[Any] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done


def _task(loop: Any, coro: Coroutine[Any, Any, Any], **named: Any) -> "SimTask":
    owner = process.get()
    task = SimTask(coro, loop=loop, **named)
    if owner.is_dead:  # it tidies up after its death: nobody waits for that
        task.cancel()
    owner.tasks[task.number] = task
    task.add_done_callback(lambda it: owner.tasks.pop(task.number, None))
    return task


_true = {"perf": time.perf_counter, "cpu": time.process_time}
current = Clock()
_ids = random.Random(0)  # noqa: S311


def perf_s() -> float:
    """How long the simulation itself takes, in true seconds."""
    return _true["perf"]()


def cpu_s() -> float:
    """How much of a processor the simulation has taken."""
    return _true["cpu"]()


def install() -> None:
    """From now on this process lives in simulated time. Once, before our modules are imported."""
    time.time = lambda: current.wall_s()
    time.monotonic = lambda: current.now_s
    uuid.uuid4 = lambda: uuid.UUID(int=_ids.getrandbits(128), version=4)
    secrets.token_hex = lambda nbytes=None: _ids.randbytes(nbytes or 32).hex()
    secrets.token_urlsafe = lambda nbytes=None: _ids.randbytes(nbytes or 32).hex()
    secrets.randbits = lambda k: _ids.getrandbits(k)


def begin(seed: int) -> VirtualLoop:
    """A new world's loop, at its time zero."""
    global current
    current = Clock()
    _ids.seed(f"ids {seed}")
    random.seed(f"product {seed}")
    SimTask._numbers = itertools.count()
    return VirtualLoop(current)

"""Who waits for which service, at which gateway: places in bounded queues, given up when a caller leaves.

Covers waiting. Does not cover what is decided about it (decide/hold), nor the calls of gateways (server). All of it runs in
one event loop; nothing here blocks it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from homeport_control.decide.hold import DEFAULT_LIMITS, Limits, verdict
from homeport_control.domain.holding import UNKNOWN, GoOn, Outlook, Refusal, Wait

MOST_PLACES = 20_000  # of all services; a gateway's own limit is 10,000


@dataclass(slots=True, eq=False)
class _Place:
    gateway: str
    since_s: float
    answer: asyncio.Future[GoOn | Refusal]


@dataclass(slots=True)
class _Service:
    places: set[_Place] = field(default_factory=set)
    outlook: Outlook = UNKNOWN


class Waiting:
    """`on_held(service, held)` is called whenever that number changes, and must return at once."""

    def __init__(
        self,
        on_held: Callable[[str, int], None],
        *,
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._on_held = on_held
        self.limits = limits
        self._clock = clock
        self._places = 0  # of all services
        self._services: dict[str, _Service] = {}
        self._in_rotation: dict[str, frozenset[str]] = {}  # by gateway

    @property
    def held(self) -> Mapping[str, int]:
        """By service; those for which nobody waits are not in it."""
        return {name: len(it.places) for name, it in self._services.items() if it.places}

    async def wait(self, gateway: str, service: str) -> GoOn | Refusal:
        """Until it may go on or is refused. Cancelled, it leaves its place."""
        state = self._services.setdefault(service, _Service())
        since_s = self._clock()
        found = self._judge(gateway, service, state, since_s, others=len(state.places))
        if isinstance(found, Wait) and self._places >= MOST_PLACES:
            why = f"{MOST_PLACES} requests wait for first replicas already; try again in a moment."
            found = Refusal(why, "too_many_held", 10)
        if not isinstance(found, Wait):
            return found
        self._places += 1
        place = _Place(gateway, since_s, asyncio.get_running_loop().create_future())
        state.places.add(place)
        try:
            self._on_held(service, len(state.places))
            while isinstance(found, Wait):
                try:
                    async with asyncio.timeout(max(0.0, found.until_s - self._clock())):
                        return await asyncio.shield(place.answer)
                except TimeoutError:
                    found = self._judge(gateway, service, state, since_s)
            return found
        finally:
            self._places -= 1
            state.places.discard(place)
            if not state.places:
                # What was known of it then says nothing to who comes later.
                state.outlook = Outlook(state.outlook.cold_start_s)
            self._on_held(service, len(state.places))

    def rotation(self, gateway: str, services: frozenset[str]) -> None:
        """These, and no others, have a replica in rotation at this gateway."""
        came = services - self._in_rotation.get(gateway, frozenset())
        self._in_rotation[gateway] = services
        for service in came & self._services.keys():
            self._judge_all(service)

    def tell(self, service: str, outlook: Outlook) -> None:
        """What is known of it now."""
        state = self._services.get(service)
        if state is None:
            return
        state.outlook = outlook if state.places else Outlook(outlook.cold_start_s)
        self._judge_all(service)

    def _judge_all(self, service: str) -> None:
        state = self._services[service]
        for place in state.places:
            found = self._judge(place.gateway, service, state, place.since_s)
            if not isinstance(found, Wait) and not place.answer.done():
                place.answer.set_result(found)

    def _judge(
        self, gateway: str, service: str, state: _Service, since_s: float, *, others: int = 0
    ) -> GoOn | Refusal | Wait:
        return verdict(
            service,
            since_s,
            others,
            state.outlook,
            self._clock(),
            in_rotation=service in self._in_rotation.get(gateway, ()),
            limits=self.limits,
        )

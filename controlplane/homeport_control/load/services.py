"""The load of each service, second by second, over all gateways: what the autoscaler reads.

Covers the sums and for how long they are kept, and what is not known: a gateway that does not report leaves a hole, never
a zero. Does not cover single endpoints (rates), nor what is decided.

A report counts for the time since the one before it, and is shared out over the seconds of that time: reports of several
gateways come at any moment, some late. A second is over when all gateways have reported past its end; one that is silent is
not waited for, and what it carries is not known meanwhile.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from homeport_control.domain.gateway import LoadReport
from homeport_control.domain.scaling import LoadSample
from homeport_control.load.held import LATE_S, Held

SILENT_S = 3.0  # a gateway reports once a second; after so long without, what is now is not known
KEPT_S = 120.0  # of a service that nobody asked for longer
LONGEST_S = 3600.0
MOST_HOLES = 64  # before the oldest of them nothing is known


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest report of a gateway."""

    at_s: float
    per_s: Mapping[str, float]  # by service
    in_flight: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Hole:
    """A silence that is over: of what it carries, in seconds that ended between these times, not all was said."""

    gateway: str
    after_s: float
    before_s: float


@dataclass(slots=True)
class _History:
    """Seconds in which a service was not idle, by their ends."""

    samples: dict[float, LoadSample] = field(default_factory=dict)
    forgotten_s: float = -math.inf  # of seconds that ended up to then nothing is kept
    kept_s: float = KEPT_S


class ServiceLoads:
    """Takes each gateway's reports, once a second; `on_held` may be called at any time. All of it on one thread."""

    def __init__(self, clock: Callable[[], float], carriers: Callable[[str], frozenset[str]] | None = None) -> None:
        """`carriers` says which gateways carry a service; it is asked when one was silent. Without it: all."""
        self._clock = clock
        self._carriers = carriers or (lambda _service: frozenset(self._gateways))
        self._gateways: dict[str, _Newest] = {}
        self._holes: deque[_Hole] = deque()
        self._next = 0  # the first second that is not over
        self._open: dict[int, dict[str, float]] = {}  # second -> service -> requests
        self._idle: deque[LoadSample] = deque(maxlen=int(LONGEST_S))  # each second that is known, as of an idle service
        self._asked: dict[int, tuple[LoadSample, ...]] = {}  # of these, what was asked for since the last was added
        self._busy: dict[str, _History] = {}
        self._held: dict[str, Held] = {}

    def take(self, report: LoadReport) -> None:
        """Count a report in; a second that it ends is told from now on."""
        before, at_s = self._gateways.get(report.gateway), report.received_at_s
        if before is not None and at_s < before.at_s:
            self._forget_all()  # the clock was set back: nothing says when all that was
            before = None
        began_s = at_s - report.interval_s
        if before is not None and at_s - before.at_s <= SILENT_S:
            began_s = before.at_s
        else:
            if all(at_s - it.at_s > SILENT_S for it in self._gateways.values()):
                self._give_up(math.ceil(began_s))
            if self._gateways:
                # One that comes anew may have been there already: this server started, and others were faster.
                after_s = before.at_s if before else began_s - LATE_S
                self._remember(_Hole(report.gateway, after_s, max(began_s, self._next) + 1))
        issued, in_flight = _by_service(report)
        for second, share in _shares(began_s, at_s):
            if second >= self._next:
                sums = self._open.setdefault(second, {})
                for service, count in issued.items():
                    sums[service] = sums.get(service, 0.0) + count * share
        per_s = {service: count / report.interval_s for service, count in issued.items()}
        self._gateways[report.gateway] = _Newest(at_s, per_s, in_flight)
        self._give_up(math.floor(at_s) - LATE_S)
        self._close_seconds()

    def awaited(self, gateway: str) -> None:
        """It may carry services already, though this server has not heard it yet: silent until it reports."""
        self._gateways.setdefault(gateway, _Newest(-math.inf, {}, {}))

    def forgotten(self, gateway: str) -> None:
        """It is no more, or stands elsewhere now: its silence says nothing."""
        gone = self._gateways.pop(gateway, None)
        if gone is None or not self._gateways:
            return
        if max(it.at_s for it in self._gateways.values()) - gone.at_s > SILENT_S:
            self._keep(lambda it: it.at_s <= gone.at_s)  # what it carried may be anywhere now
        self._close_seconds()

    def on_held(self, service: str, held: int) -> None:
        """So many of its requests wait for a first replica now."""
        if held or service in self._held:
            self._held.setdefault(service, Held()).change(held, self._clock())

    def held(self, service: str) -> int:
        return self._held[service].now if service in self._held else 0

    def samples(self, service: str, now_s: float, window_s: float) -> tuple[LoadSample, ...] | None:
        """Those of the last `window_s` seconds (3600 at most), oldest first, one for each second that is known.

        The last one may be of a second that is not over: what the gateways said last, and who is held now. A service
        that is in no report is idle. None: not known, as no gateway reports, or one that carries it did and is silent;
        with requests held there is one sample even then, of these alone.
        """
        held = self._held.get(service)
        live = {name: it for name, it in self._gateways.items() if now_s - it.at_s <= SILENT_S}
        silent = self._gateways.keys() - live.keys()
        if not live or (silent and silent & self._carriers(service)):
            if held is None or not held.now:
                return None
            return (LoadSample(now_s, held.began_per_s(now_s), 0, held.now),)
        known = self._since(math.floor(now_s - window_s))
        if history := self._busy.get(service):
            history.kept_s = min(LONGEST_S, max(history.kept_s, window_s))
            kept = history.samples.get
            if known and known[0].at_s <= history.forgotten_s:
                known = tuple(it for it in known if it.at_s > history.forgotten_s)
            known = tuple([kept(it.at_s, it) for it in known])
        if self._holes:
            known = self._without_holes(service, known)
        newest = self._newest(live, service, now_s, held)
        return known if known and newest.at_s <= known[-1].at_s else (*known, newest)

    def _since(self, first_s: int) -> tuple[LoadSample, ...]:
        """Seconds that ended after it, as of an idle service: the same for all who ask in a turn."""
        if first_s not in self._asked:
            self._asked[first_s] = tuple(takewhile(lambda it: it.at_s > first_s, reversed(self._idle)))[::-1]
        return self._asked[first_s]

    def _without_holes(self, service: str, known: tuple[LoadSample, ...]) -> tuple[LoadSample, ...]:
        first_s = known[0].at_s if known else math.inf
        holes = [it for it in self._holes if it.before_s > first_s]
        if holes:
            carriers = self._carriers(service)
            for hole in holes:
                if hole.gateway in carriers:
                    known = tuple(it for it in known if not hole.after_s < it.at_s < hole.before_s)
        return known

    @staticmethod
    def _newest(live: Mapping[str, _Newest], service: str, now_s: float, held: Held | None) -> LoadSample:
        at_s = min(it.at_s for it in live.values())
        per_s = sum(it.per_s.get(service, 0.0) for it in live.values())
        in_flight = sum(it.in_flight.get(service, 0) for it in live.values())
        if held is None:
            return LoadSample(at_s, per_s, in_flight)
        return LoadSample(max(at_s, held.changed_at_s), per_s + held.began_per_s(now_s), in_flight, held.now)

    def _remember(self, hole: _Hole) -> None:
        while self._holes and self._holes[0].before_s < hole.before_s - LONGEST_S:
            self._holes.popleft()
        if len(self._holes) == MOST_HOLES:
            until_s = self._holes.popleft().before_s
            self._keep(lambda it: it.at_s >= until_s)
        self._holes.append(hole)

    def _keep(self, is_known: Callable[[LoadSample], bool]) -> None:
        self._idle = deque((it for it in self._idle if is_known(it)), maxlen=self._idle.maxlen)
        self._asked.clear()

    def _give_up(self, second: int) -> None:
        """Nothing is known of the seconds before it that are not over yet."""
        self._next = max(self._next, second)
        for each in [it for it in self._open if it < self._next]:
            del self._open[each]

    def _close_seconds(self) -> None:
        newest_s = max(it.at_s for it in self._gateways.values())
        live = [it for it in self._gateways.values() if newest_s - it.at_s <= SILENT_S]
        until_s = min((it.at_s for it in live), default=0.0)
        while self._next + 1 <= until_s:
            self._close(self._next, self._open.pop(self._next, {}), live)
            self._next += 1

    def _close(self, second: int, issued: Mapping[str, float], live: Sequence[_Newest]) -> None:
        end_s = float(second + 1)
        self._idle.append(LoadSample(end_s, 0.0, 0))
        self._asked.clear()
        in_flight: dict[str, int] = {}
        for gateway in live:
            for service, count in gateway.in_flight.items():
                in_flight[service] = in_flight.get(service, 0) + count
        held = {service: it.close(second) for service, it in self._held.items()}
        for service in issued.keys() | in_flight.keys() | held.keys():
            began, at_end = held.get(service, (0, 0))
            sample = LoadSample(end_s, issued.get(service, 0.0) + began, in_flight.get(service, 0), at_end)
            self._busy.setdefault(service, _History()).samples[end_s] = sample
        self._held = {service: it for service, it in self._held.items() if not it.is_over()}
        for history in self._busy.values():
            while history.samples and (oldest_s := next(iter(history.samples))) <= end_s - history.kept_s:
                del history.samples[oldest_s]
                history.forgotten_s = oldest_s
        far_s = end_s - LONGEST_S  # nobody asks beyond it
        self._busy = {name: it for name, it in self._busy.items() if it.samples or it.forgotten_s > far_s}

    def _forget_all(self) -> None:
        self._next = 0
        self._gateways.clear()
        self._holes.clear()
        self._open.clear()
        self._idle.clear()
        self._asked.clear()
        self._busy.clear()


def _by_service(report: LoadReport) -> tuple[dict[str, int], dict[str, int]]:
    """(issued, in flight), without those that have none."""
    issued: dict[str, int] = {}
    in_flight: dict[str, int] = {}
    for load in report.endpoints:
        if load.issued:
            issued[load.service] = issued.get(load.service, 0) + load.issued
        if load.in_flight:
            in_flight[load.service] = in_flight.get(load.service, 0) + load.in_flight
    return issued, in_flight


def _shares(began_s: float, ended_s: float) -> Iterator[tuple[int, float]]:
    """Which share of that time is in which second. Two reports that came at once: all of the other in this one."""
    if ended_s <= began_s:
        yield math.floor(ended_s), 1.0
        return
    for second in range(math.floor(began_s), math.ceil(ended_s)):
        yield second, (min(second + 1, ended_s) - max(second, began_s)) / (ended_s - began_s)

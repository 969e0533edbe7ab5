"""The hosts as placement sees them: what is free on each, while claims come in; and a ranking per kind of ask.

Pure: it is made of values, and lives for one call. Asks of one kind are those with the same resources, filters and homes of
volumes; they differ by their run and image (see ranking).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeport_control.decide.ask import Ask, Filters, Home, image_tag
from homeport_control.decide.capacity import Capacity, capacity, known_capacity
from homeport_control.decide.choice import Choice
from homeport_control.decide.fit import lacks
from homeport_control.decide.ranking import Key, Ranking
from homeport_control.decide.score import told
from homeport_control.domain.hosts import Host, Reservation
from homeport_control.spec.resources import Resources


@dataclass(frozen=True, slots=True)
class Refusal:
    host: str  # name
    reason: str  # "needs 24GB on 1 GPU, largest free 11.2GB (pid 3123 python3 holds 12.8GB)"


@dataclass(frozen=True, slots=True)
class Fit:
    """A host that fits, with the GPUs that the replica would get there."""

    host: Host
    choice: Choice
    key: Key

    @property
    def score(self) -> tuple[tuple[str, float], ...]:
        """What was compared, each part with its name."""
        return told(self.key)


Kind = tuple[Resources, Filters, tuple[Home, ...]]


class Board:
    """`volumes`: host id by the name of each named volume that is somewhere."""

    def __init__(
        self, hosts: Sequence[Host], reservations: Sequence[Reservation], now_s: float, volumes: Mapping[str, str]
    ) -> None:
        self.now_s = now_s
        self.hosts = sorted(hosts, key=lambda host: (host.name, host.id))
        self._by_id = {host.id: host for host in self.hosts}
        self._index = {host.id: at for at, host in enumerate(self.hosts)}
        self.held: list[list[Reservation]] = [[] for _ in self.hosts]
        self._homes = dict(volumes)
        self._runs: dict[str, dict[int, int]] = {}  # by run: how many replicas on which host
        self._rankings: dict[Kind, Ranking] = {}
        self._images: dict[str, frozenset[int]] = {}  # by name: the hosts that have it
        for reservation in reservations:
            self._hold(reservation)
        self.free: list[Capacity] = [
            known_capacity(host, held) for host, held in zip(self.hosts, self.held, strict=True)
        ]
        self.changed: list[int] = []  # hosts, in the order in which claims changed them

    def best(self, ask: Ask) -> Fit | None:
        ranking = self._ranking(ask)
        key = ranking.best(self._there(ask), self._with_image(ask))
        return None if key is None else self._fit(ranking, key)

    def ranked(self, ask: Ask) -> tuple[Fit, ...]:
        """All that fit, best first."""
        ranking = self._ranking(ask)
        return tuple(self._fit(ranking, key) for key in ranking.all(self._there(ask), self._with_image(ask)))

    def summary(self, ask: Ask) -> str:
        """Why none of the hosts fits, counted."""
        return self._ranking(ask).summary()

    def refusals(self, ask: Ask) -> tuple[Refusal, ...]:
        """One for each host that does not fit, by name."""
        fitting = self._ranking(ask).fitting()
        ask = ask.at_home(self._homes, self._by_id)
        others = (free for at, free in enumerate(self.free) if at not in fitting)
        found = ((free.host.name, lacks(free, ask, self.now_s)) for free in others)
        return tuple(Refusal(name, "; ".join(lack.text for lack in against)) for name, against in found if against)

    def claim(self, reservation: Reservation, volumes: Sequence[str] = ()) -> None:
        """It is held from now on, and new volumes are where it is."""
        at = self._hold(reservation)
        if at is not None:
            self.free[at] = capacity(self.hosts[at], self.held[at], self.free[at].near)
            self.changed.append(at)
        for volume in volumes:
            self._homes[volume] = reservation.host_id

    def _hold(self, reservation: Reservation) -> int | None:
        at = self._index.get(reservation.host_id)
        if at is not None:
            self.held[at].append(reservation)
            if reservation.run_name:
                there = self._runs.setdefault(reservation.run_name, {})
                there[at] = there.get(at, 0) + 1
        return at

    def _ranking(self, ask: Ask) -> Ranking:
        ask = ask.at_home(self._homes, self._by_id)
        kind = (ask.resources, ask.filters, ask.homes)
        found = self._rankings.get(kind)
        if found is None:
            found = self._rankings[kind] = Ranking(self.free, self.changed, ask, self.now_s)
        return found

    def _fit(self, ranking: Ranking, key: Key) -> Fit:
        at = int(key[-1])
        return Fit(self.hosts[at], ranking.choices[at], key)

    def _there(self, ask: Ask) -> Mapping[int, int]:
        return self._runs.get(ask.run_name, {})

    def _with_image(self, ask: Ask) -> frozenset[int]:
        if ask.image not in self._images:
            tag = image_tag(ask.image)
            has = (at for at, host in enumerate(self.hosts) if tag in host.facts.images) if tag else ()
            self._images[ask.image] = frozenset(has)
        return self._images[ask.image]

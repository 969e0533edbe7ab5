"""The hosts as placement sees them: what is free on each, and per kind of ask a ranking that is kept while claims come in.

Pure: it is made of values, and lives for one call. Asks of one kind (resources, filters, homes of volumes, image) differ by
their run at most: each kind has one list of hosts, sorted by score. A claim changes one host, which each ranking rates anew
when it is next asked; how many replicas the run has on a host is handled beside the list, since few hosts have any. Reasons
are written only for a kind that fits nowhere, and kept until a host changes.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from homeport_control.decide.ask import Ask, Filters, Home, image_tag
from homeport_control.decide.capacity import Capacity, capacity
from homeport_control.decide.choice import NO_GPU, Choice
from homeport_control.decide.fit import Needs, barred, fits, lacks
from homeport_control.decide.lack import Lack
from homeport_control.decide.score import Score, score, with_replicas
from homeport_control.domain.hosts import Host, Reservation
from homeport_control.spec.resources import Resources


@dataclass(frozen=True, slots=True)
class Refusal:
    host: str  # name
    reason: str  # "needs 24GB on 1 GPU, largest free 11.2GB (pid 3123 python3 holds 12.8GB)"
    lacks: tuple[Lack, ...] = ()


@dataclass(frozen=True, slots=True)
class Fit:
    """A host that fits, with the GPUs that the replica would get there."""

    host: Host
    choice: Choice
    score: Score


Kind = tuple[Resources, Filters, tuple[Home, ...], str]


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
        self._images: dict[str, bool] = {}
        for reservation in reservations:
            self._hold(reservation)
        self.free: list[Capacity] = [capacity(host, held) for host, held in zip(self.hosts, self.held, strict=True)]
        self.changed: list[int] = []  # hosts, in the order in which claims changed them

    def best(self, ask: Ask) -> Fit | None:
        return self._ranking(ask).best(self._runs.get(ask.run_name, {}))

    def ranked(self, ask: Ask) -> tuple[Fit, ...]:
        """All that fit, best first."""
        return self._ranking(ask).all(self._runs.get(ask.run_name, {}))

    def refusals(self, ask: Ask) -> tuple[Refusal, ...]:
        """One for each host that does not fit, by name. The same object while nothing has changed."""
        return self._ranking(ask).refusals()

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

    def _ranking(self, ask: Ask) -> "Ranking":
        ask = ask.at_home(self._homes, self._by_id)
        kind = (ask.resources, ask.filters, ask.homes, self._image(ask.image))
        found = self._rankings.get(kind)
        if found is None:
            found = self._rankings[kind] = Ranking(self, replace(ask, image=kind[3]))
        return found

    def _image(self, image: str) -> str:
        """Empty where no host has it: it makes no difference then, and all such asks are of one kind."""
        tag = image_tag(image)
        if tag not in self._images:
            self._images[tag] = bool(tag) and any(tag in host.facts.images for host in self.hosts)
        return tag if self._images[tag] else ""


class Ranking:
    """The hosts for one kind of ask. A key is the score and then the host's place by name, so no two are equal."""

    def __init__(self, board: Board, ask: Ask) -> None:
        self._board = board
        self._ask = ask
        self._needs = Needs.of(ask)
        self._seen = len(board.changed)
        self._open = [barred(host, ask, board.now_s) is None for host in board.hosts]
        self._has_image = [not ask.image or ask.image in host.facts.images for host in board.hosts]
        self._choices: list[Choice] = [NO_GPU] * len(board.hosts)  # of hosts with a key
        self._keys: list[tuple[float, ...] | None] = [None] * len(board.hosts)
        self._texts: list[Refusal | None] = [None] * len(board.hosts)
        self._refusals: tuple[Refusal, ...] | None = None
        for at in range(len(board.hosts)):
            self._rate(at)
        self._order = sorted(key for key in self._keys if key is not None)

    def best(self, there: Mapping[int, int]) -> Fit | None:
        """there: how many replicas of the run each host has, by its place."""
        self._catch_up()
        best = next((key for key in self._order if int(key[-1]) not in there), None) if there else self._first()
        for key in self._of_the_run(there):
            best = key if best is None else min(best, key)
        return None if best is None else self._fit(best)

    def all(self, there: Mapping[int, int]) -> tuple[Fit, ...]:
        self._catch_up()
        others = [key for key in self._order if int(key[-1]) not in there]
        return tuple(self._fit(key) for key in sorted([*others, *self._of_the_run(there)]))

    def refusals(self) -> tuple[Refusal, ...]:
        self._catch_up()
        if self._refusals is None:
            self._refusals = tuple(self._refusal(at) for at, key in enumerate(self._keys) if key is None)
        return self._refusals

    def _first(self) -> tuple[float, ...] | None:
        return self._order[0] if self._order else None

    def _of_the_run(self, there: Mapping[int, int]) -> Iterator[tuple[float, ...]]:
        for at, number in there.items():
            key = self._keys[at]
            if key is not None:
                yield with_replicas(key, number)

    def _fit(self, key: tuple[float, ...]) -> Fit:
        at = int(key[-1])
        return Fit(self._board.hosts[at], self._choices[at], key[:-1])

    def _catch_up(self) -> None:
        """Rate the hosts anew that have changed since."""
        changed = self._board.changed
        if self._seen == len(changed):
            return
        for at in set(changed[self._seen :]):
            if not self._open[at]:
                continue
            old = self._keys[at]
            if old is not None:
                del self._order[bisect_left(self._order, old)]
            self._rate(at)
            new = self._keys[at]
            if new is not None:
                insort(self._order, new)
            self._texts[at] = self._refusals = None
        self._seen = len(changed)

    def _rate(self, at: int) -> None:
        if not self._open[at]:
            return
        free = self._board.free[at]
        choice = fits(free, self._ask, self._needs)
        if choice is None:
            self._keys[at] = None
        else:
            self._choices[at] = choice
            self._keys[at] = (*score(free, choice, self._has_image[at]), float(at))

    def _refusal(self, at: int) -> Refusal:
        found = self._texts[at]
        if found is None:
            against = lacks(self._board.free[at], self._ask, self._board.now_s)
            reason = "; ".join(lack.text for lack in against)
            found = self._texts[at] = Refusal(self._board.hosts[at].name, reason, against)
        return found

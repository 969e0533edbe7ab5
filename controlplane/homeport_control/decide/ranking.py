"""The hosts for one kind of ask, best first, kept while claims come in; or, when none fits, why, counted.

Pure. A claim changes one host, and only that is rated anew, when the ranking is next asked. What differs between asks of
one kind is handled beside the list: the few hosts that have replicas of the run, and those that have its image. Sentences
are written for the hosts that a summary names, not for all.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from homeport_control.decide.ask import Ask
from homeport_control.decide.capacity import Capacity
from homeport_control.decide.choice import NO_GPU, Choice
from homeport_control.decide.fit import RELEASED, Needs, Short, barred, fits, lacks, shortest
from homeport_control.decide.progress import plural
from homeport_control.decide.score import IMAGE, of_the_ask, score

# The score, and then the host's place by name, so that no two are equal.
Key = tuple[float, ...]


class Ranking:
    """free, changed: the board's own, which grow and change under it: what is free by host, and whose claims came in."""

    def __init__(self, free: Sequence[Capacity], changed: Sequence[int], ask: Ask, now_s: float) -> None:
        self.choices: list[Choice] = [NO_GPU] * len(free)  # of hosts that fit
        self._free, self._changed, self._ask, self._now_s = free, changed, ask, now_s
        self._needs = Needs.of(ask)
        self._seen = len(changed)
        self._barred = [barred(each.host, ask, now_s) for each in free]
        self._keys: list[Key | None] = [None] * len(free)
        for at in range(len(free)):
            self._rate(at)
        self._order = sorted(key for key in self._keys if key is not None)
        self._shorts: list[Short | None] = [None] * len(free)
        self._summary = ""
        self._named: set[int] = set()  # hosts in whose words the summary speaks

    def best(self, there: Mapping[int, int], with_image: AbstractSet[int]) -> Key | None:
        """there: how many replicas of the run each host has. Hosts are named by their place."""
        self._catch_up()
        found = [of_the_ask(key, number, int(key[-1]) in with_image) for key, number in self._of_the_run(there)]
        best = self._best_without(there, with_image)
        if best is not None:
            found.append(of_the_ask(best, 0, int(best[-1]) in with_image))
        return min(found, default=None)

    def all(self, there: Mapping[int, int], with_image: AbstractSet[int]) -> list[Key]:
        self._catch_up()
        at = ((int(key[-1]), key) for key in self._order)
        return sorted(of_the_ask(key, there.get(it, 0), it in with_image) for it, key in at)

    def fitting(self) -> frozenset[int]:
        """The places of the hosts that fit."""
        self._catch_up()
        return frozenset(int(key[-1]) for key in self._order)

    def summary(self) -> str:
        """Counted per first reason, most frequent first; of several hosts the one that comes closest gives the numbers."""
        self._catch_up()
        if not self._summary:
            self._summary = self._summed_up()
        return self._summary

    def _best_without(self, there: Mapping[int, int], with_image: AbstractSet[int]) -> Key | None:
        """Of hosts without the run: the list is in order but for the image, which decides among those equal before it."""
        first: Key | None = None
        for key in self._order:
            at = int(key[-1])
            if first is not None and key[:IMAGE] != first[:IMAGE]:
                break
            if at in there:
                continue
            if not with_image or at in with_image:
                return key
            first = first or key
        return first

    def _of_the_run(self, there: Mapping[int, int]) -> Iterator[tuple[Key, int]]:
        for at, number in there.items():
            key = self._keys[at]
            if key is not None:
                yield key, number

    def _catch_up(self) -> None:
        """Rate the hosts anew that have changed since."""
        if self._seen == len(self._changed):
            return
        for at in set(self._changed[self._seen :]):
            if self._barred[at] is not None:
                continue
            old = self._keys[at]
            self._rate(at)
            new = self._keys[at]
            if new == old:
                self._look_again(at)
                continue
            if old is not None:
                del self._order[bisect_left(self._order, old)]
            if new is not None:
                insort(self._order, new)
            self._shorts[at], self._summary = None, ""
        self._seen = len(self._changed)

    def _rate(self, at: int) -> None:
        if self._barred[at] is not None:
            return
        free = self._free[at]
        choice = fits(free, self._ask, self._needs)
        if choice is None:
            self._keys[at] = None
        else:
            self.choices[at] = choice
            self._keys[at] = (*score(free, choice), float(at))

    def _look_again(self, at: int) -> None:
        """It still does not fit: the summary stays unless this host is short of something else, or was its voice."""
        old = self._shorts[at]
        if old is not None:
            self._shorts[at] = shortest(self._free[at], self._ask, self._needs)
            if self._shorts[at] != old or at in self._named:
                self._summary = ""

    def _short_of(self, at: int) -> Short:
        """Of a host that does not fit. One that is not there and would not fit either says what it lacks."""
        against, free = self._barred[at], self._free[at]
        if against is None or (against.kind == RELEASED and fits(free, self._ask, self._needs) is None):
            return shortest(free, self._ask, self._needs)
        return Short(against.kind, against.has)

    def _summed_up(self) -> str:
        groups: dict[str, list[int]] = {}
        shorts: list[Short] = []
        for at, short in enumerate(self._shorts):
            if short is None:
                short = self._shorts[at] = self._short_of(at)
            shorts.append(short)
            groups.setdefault(short.kind, []).append(at)
        if not groups:
            return "there is no host"
        parts, self._named = [], set()
        for _, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
            closest = max(group, key=lambda at: (shorts[at].has, -at))
            self._named.add(closest)
            text = lacks(self._free[closest], self._ask, self._now_s)[0].verb_text
            parts.append(f"{len(group)} {_plural_verb(text) if len(group) > 1 else text}")
        return f"0 of {plural(len(shorts), 'host')} fit: {'; '.join(parts)}"


def _plural_verb(text: str) -> str:
    verb, _, rest = text.partition(" ")
    return f"{ {'needs': 'need', 'is': 'are', 'has': 'have', 'costs': 'cost'}.get(verb, verb) } {rest}"

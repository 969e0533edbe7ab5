"""Counting replicas: which live, which serve, which index is free, when a failed one may be tried again.

Pure helpers of rollout and winddown. Does not decide what happens to a replica.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise

from homeport_control.domain.replicas import Phase, Replica, Wanted

FIRST_DELAY_S = 1.0  # REFERENCE section 2, `retry`: 1 s doubling to 5 min, reset after 10 min of health
LONGEST_DELAY_S = 300.0
LONGEST_REFUSED_DELAY_S = 30.0  # a host that refused may have room again soon, and others may have it now
FORGIVEN_AFTER_S = 600.0
WAITING_FOR_HOST = "waiting for a host"  # of a new replica, until placement says more


def is_live(replica: Replica) -> bool:
    """It counts towards what is wanted. One that reports STOPPED unasked is gone, whatever was wanted."""
    return replica.is_live and replica.phase is not Phase.STOPPED


def is_serving(replica: Replica) -> bool:
    """Requests reach it: every gateway has its endpoint and its probes pass."""
    return is_live(replica) and replica.in_rotation and replica.phase is Phase.READY


def was_ready(replica: Replica) -> bool:
    return replica.first_ready_at_s is not None or replica.in_rotation or replica.phase is Phase.READY


def has_stood(replica: Replica, min_ready_s: float, now_s: float) -> bool:
    """It was ready, and was there for `min_ready_s` after that: what is asked of one that takes an old one's place."""
    if min_ready_s <= 0:
        return was_ready(replica)
    ready_s = replica.first_ready_at_s
    return ready_s is not None and (replica.ended_at_s or now_s) - ready_s >= min_ready_s


def has_fallen(replica: Replica) -> bool:
    """It was ready, and ended by itself or was started again since. One that its host's agent found again has not."""
    if not was_ready(replica):
        return False
    starts_again = replica.restarts > 0 and replica.phase in {
        Phase.WAITING,
        Phase.PULLING,
        Phase.STARTING,
        Phase.PROBING,
    }
    return starts_again or replica.phase is Phase.FAILED


def finds_no_host(replica: Replica) -> bool:
    """Placement has looked for one: until then its message is WAITING_FOR_HOST."""
    return replica.host_id is None and replica.message not in {"", WAITING_FOR_HOST}


def may_have_requests(replica: Replica) -> bool:
    """A gateway may know its endpoint, acknowledged or not: it is drained before it is stopped."""
    return replica.in_rotation or replica.phase is Phase.READY


def in_order(replicas: Iterable[Replica]) -> tuple[Replica, ...]:
    """By index, then age, then id: the order of everything that is decided, so that equal input gives equal plans."""
    return tuple(sorted(replicas, key=lambda replica: (replica.index, replica.created_at_s, replica.id)))


def first_to_go(
    replicas: Iterable[Replica], in_flight: Mapping[str, int] | None = None, warned: Collection[str] = ()
) -> tuple[Replica, ...]:
    """The ones that are missed least come first: never ready, then not serving, the least busy, the worst placed, the newest.

    in_flight: requests by replica id, one that is not in it has none; None: not known. warned: ids of those on a host or
    GPU with a warning. Worst placed is on such a one, then where most replicas are: a host that fails takes few with it.
    """
    busy = in_flight or {}

    def missed(replica: Replica) -> tuple[float, ...]:
        return (
            is_serving(replica),
            was_ready(replica),
            replica.host_id is not None,
            busy.get(replica.id, 0),
            replica.id not in warned,
        )

    found = sorted(replicas, key=lambda it: (missed(it), -it.index, -it.created_at_s, it.id))
    left = Counter(it.host_id for it in found)
    crowd: dict[str, int] = {}  # how many are on its host when it is its turn
    for replica in found:
        crowd[replica.id] = left[replica.host_id]
        left[replica.host_id] -= 1
    return tuple(sorted(found, key=lambda it: (missed(it), -crowd[it.id], -it.index, -it.created_at_s, it.id)))


def free_indexes(live: Iterable[Replica], wanted: int) -> tuple[int, ...]:
    """The `wanted` smallest indexes that no live replica of the revision has."""
    taken = {replica.index for replica in live}
    free: list[int] = []
    index = 0
    while len(free) < wanted:
        if index not in taken:
            free.append(index)
        index += 1
    return tuple(free)


def is_refused(replica: Replica) -> bool:
    """Its host could not admit it: nothing of it ran, and it says nothing about the revision. Outlives its phase."""
    return replica.refused


def was_failure(replica: Replica) -> bool:
    """It failed before it was ever ready. Only failures are stopped without any grace, so this outlives its phase."""
    if replica.host_id is None or replica.first_ready_at_s is not None or replica.refused:
        return False
    return replica.phase is Phase.FAILED or (replica.wanted is Wanted.STOP and replica.stop_grace_s == 0.0)


def last_refusal(replicas: Iterable[Replica], index: int) -> Replica | None:
    """The newest replica of this index, if its host refused it."""
    newest = max(
        (it for it in replicas if it.index == index),
        key=lambda it: (it.created_at_s, it.ended_at_s or 0.0, it.id),
        default=None,
    )
    return newest if newest is not None and newest.refused else None


def may_create_at_s(replicas: Iterable[Replica], revision: int, index: int) -> float:
    """When the back-off of an index ends: 0 when there is none, infinity while a failed one is still being cleared.

    Counts the failures of this revision and index that ended within ten minutes of each other, and its refusals by a
    back-off of their own. It needs the replicas that ended in that time among `replicas`; without them there is none.
    """
    mine = [replica for replica in replicas if replica.revision == revision and replica.index == index]
    return max(
        _backed_off_s(filter(was_failure, mine), LONGEST_DELAY_S),
        _backed_off_s(filter(is_refused, mine), LONGEST_REFUSED_DELAY_S),
    )


def _backed_off_s(broken: Iterable[Replica], longest_s: float) -> float:
    ended: list[float] = []
    for replica in broken:
        if replica.ended_at_s is not None:
            ended.append(replica.ended_at_s)
        elif not replica.lost:
            return math.inf
    if not ended:
        return 0.0
    ended.sort(reverse=True)
    failures = 1
    for later, earlier in pairwise(ended):
        if later - earlier > FORGIVEN_AFTER_S:
            break
        failures += 1
    delay_s = min(FIRST_DELAY_S * 2.0 ** min(failures - 1, 16), longest_s)
    return ended[0] + delay_s

"""Pure: which replicas of a run somebody means who asks for its logs.

Does not cover where their logs lie: on their hosts, in the container or kept after it.
"""

from collections.abc import Iterable, Sequence

from homeport_control.domain.replicas import Replica


def shown(replicas: Sequence[Replica], index: int | None = None, *, previous: bool = False) -> tuple[Replica, ...]:
    """Oldest first within an index. Only those that have, or had, a host.

    Of each index those of which something is left (two, while one takes the place of the other); where that is nobody,
    the one that ended last. An index that is not used any more (scaled down) counts only when no index is, or when it
    is asked for. previous: of each index the one before its newest.
    """
    by_index: dict[int, list[Replica]] = {}
    for replica in sorted(replicas, key=lambda it: (it.created_at_s, it.id)):
        if index is None or replica.index == index:
            by_index.setdefault(replica.index, []).append(replica)
    used = {number for number, found in by_index.items() if any(it.ended_at_s is None for it in found)}
    chosen: list[Replica] = []
    for number in sorted(used or by_index):
        placed = [it for it in by_index[number] if it.host_id is not None]
        if previous:
            chosen += placed[-2:-1]
        else:
            chosen += [it for it in placed if it.ended_at_s is None] or placed[-1:]
    return tuple(chosen)


def followed(replicas: Iterable[Replica], passed_over: frozenset[str], index: int | None = None) -> tuple[Replica, ...]:
    """Whose logs a reader who follows has to get by now; `passed_over` are those that had ended when it began."""
    return tuple(
        replica
        for replica in sorted(replicas, key=lambda it: (it.created_at_s, it.id))
        if replica.host_id is not None and replica.id not in passed_over and (index is None or replica.index == index)
    )

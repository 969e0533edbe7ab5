"""Which replicas of a run go on as replicas of its new revision, because their containers would be the same.

Pure. What makes two revisions the same is spec.impact's; the renumbering is done where the revision is written.
"""

from collections.abc import Iterable

from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Run


def candidates(run: Run, replicas: Iterable[Replica]) -> tuple[int, ...]:
    """The revisions to hold against the new one, the newest first: what runs, and what is about to.

    Only the first that is the same counts. Where a forced rollout between equal revisions is under way, that is the
    later one, so that the older replicas are still replaced.
    """
    numbers = {replica.revision for replica in replicas if replica.ended_at_s is None}
    if run.current is not None:
        numbers.add(run.current.number)
    return tuple(sorted((number for number in numbers if not run.revision(number).failed), reverse=True))


def adopted(replicas: Iterable[Replica], revision: int) -> tuple[Replica, ...]:
    """What of a revision goes on: not what has failed, nor what is on its way out. A lost one does: it may return."""
    return tuple(
        replica
        for replica in replicas
        if replica.revision == revision
        and replica.ended_at_s is None
        and replica.wanted is Wanted.RUN
        and replica.phase not in {Phase.FAILED, Phase.STOPPED}
    )

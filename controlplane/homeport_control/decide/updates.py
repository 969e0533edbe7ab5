"""How an update will be made, in words: what happens to the replicas that are there.

Pure text from values. Which revision is the same is decided by api.updating; who is replaced when, by rollout.
"""

from collections.abc import Sequence

from homeport_control.decide.adopt import adopted
from homeport_control.decide.progress import plural
from homeport_control.domain.replicas import Replica, Wanted

IN_PLACE, ROLLING, RESTART = "in place", "rolling", "restart"


def how_it_is_made(
    run_name: str,
    present: Sequence[Replica],
    count: int,
    same: int | None,
    *,
    has_room: bool,
    surge: int = 1,
    max_unavailable: int = 0,
) -> tuple[str, str]:
    """How, and one sentence about it. `same`: the revision whose containers are the new one's too; `count`: wanted now.

    has_room: for one more replica while those that are there run. surge, max_unavailable: see decide.actions.Goal.
    """
    live = [replica for replica in present if replica.ended_at_s is None and replica.wanted is Wanted.RUN]
    if same is not None:
        return IN_PLACE, _in_place(live, count, same)
    if not live:
        return ROLLING, "it has no replica now; the next ones are of the new version"
    if surge == 0:
        return ROLLING, _one_out_one_in(count, max_unavailable)
    if not has_room and max_unavailable:
        lack = f"the update needs room for 1 more replica beside {_count(live)}; there is none"
        return ROLLING, f"{lack}: {_one_out_one_in(count, max_unavailable)}"
    if not has_room:
        return RESTART, (
            f"the update needs room for 1 more replica beside {_count(live)}; there is none: it will wait. With "
            "`rollout: {max_surge: 0, max_unavailable: 1}` in the file one goes before its successor comes; or run "
            f"`homeport stop {run_name}`, then apply again"
        )
    if len(live) == 1:
        return ROLLING, "its replica is replaced, the new one serves before the old one leaves"
    return ROLLING, f"{_count(live)} are replaced one by one, each new one serves before an old one leaves"


def _one_out_one_in(count: int, max_unavailable: int) -> str:
    most = min(count, max_unavailable)
    serving = f"{count - most} of {plural(count, 'replica')} {_goes(count - most)} serving meanwhile"
    if most == 1:
        return f"one replica at a time goes before its successor comes, {serving}"
    return f"up to {most} replicas at a time go before their successors come, {serving}"


def _in_place(live: Sequence[Replica], count: int, same: int) -> str:
    staying = adopted(live, same)
    others = len(live) - len(staying)
    kept = min(len(staying), count)
    parts = [f"{plural(kept, 'replica')} {_goes(kept)} as {'it is' if kept == 1 else 'they are'}"] if kept else []
    if others:
        parts.append(f"{others} of another version {'is' if others == 1 else 'are'} replaced one by one")
    elif count > kept:
        parts.append(f"{count - kept} {'is' if count - kept == 1 else 'are'} added")
    if gone := len(staying) - kept:
        parts.append(f"{gone} {'is' if gone == 1 else 'are'} drained and stopped")
    return ", ".join(parts) or "it has no replica now"


def _goes(number: int) -> str:
    return "goes on" if number == 1 else "go on"


def _count(live: Sequence[Replica]) -> str:
    return f"its {plural(len(live), 'replica')}" if len(live) > 1 else "its replica"

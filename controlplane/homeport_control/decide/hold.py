"""A request for a service that is asleep: whether it goes on, waits, or is refused, and with what words. PURE.

Covers one request at a time (`verdict`), and what a run and its replicas mean for those that wait (`outlook`). Does not cover
who waits (hold/waiting), nor how many replicas a held request brings (autoscale).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from homeport_control.decide.replicas import is_refused, may_create_at_s, was_failure
from homeport_control.domain.holding import LONGEST_HELD_S, MOST_HELD, GoOn, Outlook, Refusal, Verdict, Wait
from homeport_control.domain.replicas import Phase, Replica
from homeport_control.domain.services import Run, RunWanted

DEFAULT_START_S = 30.0  # said of a service of which no start was measured
NO_HOST_S = 120.0  # that a replica finds no host, before those who wait are told
AGAIN_S = 60.0  # after which it may be worth asking again for one that finds none
SOON_S = 30.0  # a next try that is nearer is waited for
STARTS = 5  # of which the median counts


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one service."""

    most: int = MOST_HELD
    longest_s: float = LONGEST_HELD_S


DEFAULT_LIMITS = Limits()


def verdict(
    service: str,
    since_s: float,
    others: int,
    outlook: Outlook,
    now_s: float,
    *,
    in_rotation: bool,
    limits: Limits = DEFAULT_LIMITS,
) -> Verdict:
    """Of a request that has waited since `since_s`. `others`: that wait for the same service, when this one has just come."""
    if in_rotation:
        return GoOn()
    start_s = DEFAULT_START_S if outlook.cold_start_s is None else outlook.cold_start_s
    retry_after_s = max(1, math.ceil(start_s))
    if outlook.hopeless:
        return Refusal(f"No replica of {service} will come: {outlook.hopeless}.", "service_not_running")
    if outlook.failure:
        next_s = max(0.0, outlook.next_start_s - now_s)
        if since_s <= outlook.failed_at_s or next_s > SOON_S:
            why = f"No replica of {service} could start: {outlook.failure}."
            return Refusal(why, "start_failed", math.ceil(next_s) + retry_after_s)
    if others >= limits.most:
        why = f"{limits.most} requests wait for a first replica of {service} already; try again when it is there."
        return Refusal(why, "too_many_held", retry_after_s)
    until_s = since_s + limits.longest_s
    if now_s >= until_s:
        why = f"No replica of {service} was ready within {limits.longest_s:g} s, the longest that a request is held."
        return Refusal(why, "held_too_long", retry_after_s)
    return Wait(until_s)


def outlook(
    run: Run | None, replicas: Sequence[Replica], now_s: float, *, machine_comes: bool = False
) -> tuple[Outlook, float | None]:
    """What those who wait for this run may hope for; and when that changes by itself (unix seconds).

    `run`: the newest of its name; None: there is none. `replicas`: as for rollout.step, and some earlier ones for their
    starts, in any order. `machine_comes`: an on-demand host is being brought up, which may be for it.
    """
    start_s = cold_start_s(replicas)
    if run is None:
        return Outlook(start_s, "there is no such service"), None
    if run.ended_at_s is not None:
        return Outlook(start_s, f"it has {run.state.value}: {_sentence(run.reason)}"), None
    if run.wanted is not RunWanted.RUN:
        return Outlook(start_s, "it is being stopped"), None
    coming = [it for it in replicas if it.is_live and it.phase is not Phase.STOPPED]
    if coming and all(it.host_id is None for it in coming):
        return (Outlook(start_s), None) if machine_comes else _without_host(coming, start_s, now_s)
    revision = (run.current or run.newest).number
    last = max(
        (it for it in replicas if _is_broken(it, revision)), key=lambda it: (it.created_at_s, it.id), default=None
    )
    if last is None or any(it.first_ready_at_s and it.created_at_s > last.created_at_s for it in replicas):
        return Outlook(start_s), None
    why = f"replica {last.index}: {_sentence(last.message) or 'it failed and its host did not say why'}"
    failed_at_s = now_s if last.ended_at_s is None else last.ended_at_s
    next_s = 0.0 if coming else may_create_at_s(replicas, revision, last.index)
    return Outlook(start_s, "", why, failed_at_s, 0.0 if math.isinf(next_s) else next_s), None


def _without_host(coming: Sequence[Replica], start_s: float | None, now_s: float) -> tuple[Outlook, float | None]:
    told_at_s = min(it.created_at_s for it in coming) + NO_HOST_S
    if now_s < told_at_s:
        return Outlook(start_s), told_at_s
    why = _sentence(coming[0].message) or "nothing is known of why"
    return Outlook(start_s, "", f"it has found no host for {NO_HOST_S:g} s: {why}", now_s, now_s + AGAIN_S), None


def _is_broken(replica: Replica, revision: int) -> bool:
    if replica.revision != revision:
        return False
    return was_failure(replica) or (
        replica.phase is Phase.FAILED and not is_refused(replica) and replica.ended_at_s is None
    )


def cold_start_s(replicas: Sequence[Replica]) -> float | None:
    """The median of the last starts, from creation to ready."""
    started = sorted((it for it in replicas if it.first_ready_at_s), key=lambda it: it.created_at_s)[-STARTS:]
    return median(it.first_ready_at_s - it.created_at_s for it in started if it.first_ready_at_s) if started else None


def _sentence(text: str) -> str:
    """Without its last stop: it stands inside of another one."""
    return text.strip().rstrip(".")

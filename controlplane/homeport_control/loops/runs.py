"""Runs: what is wanted of each, against what is there; creates, drains, stops and ends replicas by decide/rollout."""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import structlog

from homeport_control.decide import causes
from homeport_control.decide.actions import (
    NOBODY,
    Action,
    CreateReplica,
    DrainReplica,
    EndReplica,
    FinishRun,
    GiveUpRevision,
    Goal,
    Step,
    StopReplica,
)
from homeport_control.decide.displace import all_displaced, all_warned
from homeport_control.decide.replicas import WAITING_FOR_HOST
from homeport_control.decide.rollout import step
from homeport_control.decide.scaling import count_of
from homeport_control.domain.errors import HomeportError
from homeport_control.domain.hosts import Host
from homeport_control.domain.replicas import Replica, Wanted
from homeport_control.domain.services import Run
from homeport_control.loops.loop import Turn
from homeport_control.spec.service import ServiceSpec, spec_from_json
from homeport_control.store import hosts, replicas, runs
from homeport_control.store.connect import Database, Write

RETRY_S = 5.0
NO_HOSTS: Mapping[str, Host] = MappingProxyType({})
log = structlog.get_logger()
REMEMBERED_S = 600.0  # ended replicas that the back-off of their replacement still counts


class RunsLoop:
    """`turn` looks at every run; only where there is something to do it writes, one transaction for each run.

    What is written is decided again in its own transaction: a stop that came meanwhile is seen.
    """

    topics = ("runs", "replicas", "health")

    def __init__(
        self, database: Database, in_flight: Callable[[str], Mapping[str, int] | None] = lambda run_name: None
    ) -> None:
        """in_flight: requests of a run by replica id, as its gateways said last; None: they do not say."""
        self._database = database
        self._in_flight = in_flight

    async def turn(self, now_s: float) -> Turn:
        async with self._database.snapshot() as connection:
            found = await runs.list_unsettled(connection)
            present = await replicas.of_runs(connection, [run.id for run in found], ended_since_s=now_s - REMEMBERED_S)
            unwell = await hosts.not_well(connection)
        wakes, sentences = [], []
        # In a thread: of thousands of replicas it takes as long as nobody may hold the event loop.
        looked_at = await asyncio.to_thread(_decide_all, found, present, unwell, now_s)
        for run, decided in zip(found, looked_at, strict=True):
            try:
                if isinstance(decided, Exception):
                    raise decided
                if _is_news(run, decided):
                    decided = await self._advance(run.id, now_s)
            except HomeportError:
                raise  # the database is away for all of them
            except Exception:
                log.exception("a run could not be decided; the others go on", run=run.name, retry_in_s=RETRY_S)
                wakes.append(now_s + RETRY_S)
                continue
            sentences.append(f"{run.name}: {decided.reason}")
            if decided.wake_at_s is not None:
                wakes.append(decided.wake_at_s)
        return Turn("; ".join(sentences) or "no runs", min(wakes, default=None))

    async def _advance(self, run_id: str, now_s: float) -> Step:
        async with self._database.write() as write:
            run = await runs.get(write.connection, run_id)
            present = await replicas.of_run(write.connection, run_id, ended_since_s=now_s - REMEMBERED_S)
            unwell = await hosts.not_well(write.connection)
            decided = _decide(run, present, unwell, now_s, self._in_flight(run.name))
            moved = _causes_of(goal_of(run, present, unwell).displaced, present, unwell)
            new: list[Replica] = []
            for action in decided.actions:
                write.cause_id = causes.of_action(run, present, action, moved)
                if isinstance(action, CreateReplica):
                    new.append(_new(run, action, write.cause_id, now_s))
                else:
                    await _carry_out(write, run, action, now_s)
            await replicas.insert_all(write, new)
            finished = any(isinstance(action, FinishRun) for action in decided.actions)
            write.cause_id = causes.of_state(run, present, decided.state)
            if run.ended_at_s is None and not finished and (run.state, run.reason) != (decided.state, decided.reason):
                await runs.update(write, run.id, state=decided.state, reason=decided.reason)
        return decided


def _decide(
    run: Run,
    present: tuple[Replica, ...],
    unwell: Mapping[str, Host],
    now_s: float,
    in_flight: Mapping[str, int] | None = None,
) -> Step:
    return step(goal_of(run, present, unwell, in_flight), present, now_s)


def _decide_all(
    found: Sequence[Run], present: Mapping[str, Sequence[Replica]], unwell: Mapping[str, Host], now_s: float
) -> list[Step | Exception]:
    """Of each run; the exception of one that could not be decided."""
    decided: list[Step | Exception] = []
    for run in found:
        try:
            decided.append(_decide(run, tuple(present.get(run.id, ())), unwell, now_s))
        except Exception as error:
            decided.append(error)
    return decided


def _causes_of(
    displaced: Mapping[str, str], present: tuple[Replica, ...], unwell: Mapping[str, Host]
) -> dict[str, str]:
    """Why those that must leave must: what happened to their host, by replica id."""
    return {it.id: unwell[it.host_id or ""].cause_id for it in present if it.id in displaced}


def _is_news(run: Run, decided: Step) -> bool:
    return bool(decided.actions) or (
        run.ended_at_s is None and (run.state, run.reason) != (decided.state, decided.reason)
    )


def goal_of(
    run: Run,
    present: tuple[Replica, ...],
    unwell: Mapping[str, Host] = NO_HOSTS,
    in_flight: Mapping[str, int] | None = None,
) -> Goal:
    """What decide is told to reach, from a run and its configuration. A run whose revisions all failed keeps the last.

    unwell: by id, the hosts that have findings or are drained. in_flight: requests by replica, where that is known.
    """
    good = [revision for revision in run.revisions if not revision.failed] or [run.newest]
    spec: ServiceSpec = spec_from_json(good[-1].spec_json)
    return Goal(
        run_name=run.name,
        wanted=run.wanted,
        revision=good[-1].number,
        count=count_of(spec.replicas, run.scaled_to),
        stop_duration_s=spec.stop_duration_s,
        retry=spec.retry,
        max_duration_s=spec.max_duration_s,
        running_since_s=run.running_since_s,
        ever_published=run.ever_published,
        revision_proven=run.proven_revision == good[-1].number,
        fallback_revision=good[-2].number if len(good) > 1 else None,
        surge=spec.rollout.max_surge,
        max_unavailable=spec.rollout.max_unavailable,
        min_ready_s=spec.rollout.min_ready_duration_s,
        finished=run.state if run.ended_at_s is not None else None,
        displaced=all_displaced(present, unwell) if unwell else NOBODY,
        in_flight=in_flight,
        warned=all_warned(present, unwell) if unwell else (),
    )


def _new(run: Run, action: CreateReplica, cause_id: str, now_s: float) -> Replica:
    which = (uuid.uuid4().hex[:12], run.id, action.index, action.revision)
    return Replica(*which, Wanted.RUN, now_s, message=WAITING_FOR_HOST, cause_id=cause_id)


async def _carry_out(write: Write, run: Run, action: Action, now_s: float) -> None:
    match action:
        case DrainReplica(replica_id, because):
            await replicas.update(
                write, replica_id, wanted=Wanted.DRAIN, drain_started_at_s=now_s, in_rotation=False, message=because
            )
        case StopReplica(replica_id, grace_s, _):
            await replicas.update(write, replica_id, wanted=Wanted.STOP, stop_grace_s=grace_s, in_rotation=False)
        case EndReplica(replica_id, _):
            await replicas.end(write, replica_id, now_s)
        case GiveUpRevision(revision, because, log_tail):
            await runs.give_up_revision(write, run.id, revision, because)
            await runs.update(write, run.id, log_tail=log_tail)
        case FinishRun(state, because, log_tail):
            await runs.update(write, run.id, state=state, reason=because, log_tail=log_tail, ended_at_s=now_s)

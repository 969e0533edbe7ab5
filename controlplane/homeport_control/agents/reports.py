"""What reports of agents change: one guarded write. An older report than the last one seen changes nothing."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from homeport_protos.agent.v1 import agent_pb2

from homeport_control.agents import bounds
from homeport_control.agents.convert import facts_from, findings_from, observation_from
from homeport_control.decide.paths import dialled, dug, told
from homeport_control.domain.replicas import Observation
from homeport_control.store import doors, events, gateways, hosts, replicas, sessions
from homeport_control.store.batches import once_each
from homeport_control.store.connect import Database, Write
from homeport_control.store.turns import Turns

SHOWN = 5  # strangers in one sentence
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Said:
    """A report, and who stands in the events of it."""

    host_id: str
    actor: str
    report: agent_pb2.Report
    is_first: bool = False  # of a session: then it is told what the host runs that is in no row here


async def take_report(database: Database, host_id: str, actor: str, report: agent_pb2.Report) -> None:
    """Write what differs from what is known. The caller has checked the boot id. Raises NotReady."""
    async with database.write(actor=actor) as write:
        await write_reports(write, [Said(host_id, actor, report)])


async def write_reports(write: Write, said: Sequence[Said]) -> set[str]:
    """As `take_report`, of several hosts in one transaction; what most of them say in statements for all of them.

    Returns hosts that a gateway cannot dial any more: whether they are still there, their own next reports say.
    """
    doubted: set[str] = set()
    for some in once_each(said, lambda it: it.host_id):
        doubted |= await _write(write, some)
    return doubted


async def _write(write: Write, said: Sequence[Said]) -> set[str]:
    doubted: set[str] = set()
    places = [sessions.Sequenced(it.host_id, it.report.boot_id, it.report.sequence) for it in said]
    accepted = await sessions.accept_reports(write, places)
    news = [it for it in said if it.host_id in accepted]
    await _hosts(write, news)
    seen = [replicas.Observed(it.host_id, it.actor, _observations(it.report)) for it in news]
    await replicas.observe_all(write, seen, time.time())
    await _strangers(write, [it for it in news if it.is_first])
    await _doors(write, [it for it in news if it.report.HasField("door")])
    for it in news:
        report = it.report
        if report.reached or report.HasField("edge"):
            doubted |= await _paths(write, it.host_id, report)
        # An agent that knows one gateway a host only says `gateway`.
        roles = report.gateways or ([report.gateway] if report.HasField("gateway") else [])
        if roles:
            write.actor, write.cause_id = it.actor, events.new_cause()
            some = bounds.first(roles, bounds.MOST_GATEWAYS)
            seen_roles = [(each.name, each.running, bounds.sentence(each.message)) for each in some]
            await gateways.observed(write, it.host_id, seen_roles)
    return doubted


def _first(said: Sequence[agent_pb2.ReplicaReport]) -> Iterable[agent_pb2.ReplicaReport]:
    return bounds.first(said, bounds.MOST_REPLICAS)


def _observations(report: agent_pb2.Report) -> tuple[Observation, ...]:
    return tuple(map(observation_from, _first(report.replicas)))


async def _hosts(write: Write, news: Sequence[Said]) -> None:
    """What hosts say of themselves, and what they found."""
    found = {it.host_id: findings_from(it.report.findings) for it in news if it.report.HasField("findings")}
    known = await hosts.by_id_without_facts(write.connection, found)
    changes, turns = [], Turns()
    for it in news:
        values: dict[str, Any] = {}
        if it.report.HasField("facts"):
            values["facts"] = facts_from(it.report.facts)
            await turns.give()  # of dozens of hosts in one go it takes as long as nobody may hold the event loop
        if it.host_id in known and known[it.host_id].findings != found[it.host_id]:
            values["findings"] = found[it.host_id]
        if values:
            changes.append(hosts.Change(it.host_id, values, it.actor, events.new_cause()))
    await hosts.update_all(write, changes)


async def _doors(write: Write, news: Sequence[Said]) -> None:
    """The hosts' own doors."""
    if not news:
        return
    known = await doors.by_host(write.connection, [it.host_id for it in news])
    said = {it.host_id: it.report.door for it in news}
    await doors.put(
        write,
        {
            host_id: told(
                known.get(host_id),
                bounds.address(door.address),
                bounds.ports(door.ports),
                bounds.sentence(door.message),
            )
            for host_id, door in said.items()
        },
    )


async def _strangers(write: Write, news: Sequence[Said]) -> None:
    """Their assignments do not have them, so they stop them: nothing of the kind without a word."""
    said = {it.host_id: [each.replica_id for each in _first(it.report.replicas)] for it in news}
    unknown = await replicas.strangers(write.connection, [each for some in said.values() for each in some])
    for it in news:
        mine = sorted(unknown.intersection(said[it.host_id]))
        host = await hosts.get_without_facts(write.connection, it.host_id) if mine else None
        if host is not None:
            shown = ", ".join(mine[:SHOWN]) + (" …" if len(mine) > SHOWN else "")
            sentence = (
                f"host {host.name} runs {len(mine)} replicas that this server's database does not know ({shown}): "
                "they were started after the backup that it was restored from, and are stopped"
            )
            write.actor, write.cause_id = it.actor, events.new_cause()
            hosts.tell(write, host, sentence)
            log.warning(sentence)


async def _paths(write: Write, host_id: str, report: agent_pb2.Report) -> set[str]:
    """Of a gateway's host: which doors of others it could dial, and who has a tunnel to it. Returns those to be heard anew."""
    if not await gateways.of_host(write.connection, host_id):
        return set()  # only a gateway's host has something to say of the ways to others
    reached = list(bounds.first(report.reached, bounds.MOST_REACHED))
    # Who had one may be in no report now: then all are looked at.
    ids = None if report.HasField("edge") else [it.host_id for it in reached]
    before = await doors.by_host(write.connection, ids)
    known = dict(before)
    for it in reached:
        if it.host_id in known:
            known[it.host_id] = dialled(known[it.host_id], host_id, bounds.sentence(it.error))
    if report.HasField("edge"):
        here = {it.host_id: bounds.ports(it.ports) for it in report.edge.hosts}
        for other, its in known.items():
            if host_id in its.dials and other != host_id:
                why = bounds.sentence(report.edge.message) or (
                    "" if other in here else "it has no tunnel to the gateway's edge"
                )
                known[other] = dug(its, host_id, here.get(other), why)
    # It speaks of all of them, and of few is there anything new.
    await doors.put(write, {other: its for other, its in known.items() if before[other] != its})
    return {other for other, its in known.items() if set(its.unheard) - set(before[other].unheard)}

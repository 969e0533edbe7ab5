"""What reports of agents change: one guarded write. An older report than the last one seen changes nothing."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import structlog
from homeport_protos.agent.v1 import agent_pb2

from homeport_control.agents import bounds
from homeport_control.agents.convert import facts_from, findings_from, observation_from
from homeport_control.decide.paths import dialled, dug, told
from homeport_control.domain.replicas import Observation
from homeport_control.store import events, gateways, hosts, replicas
from homeport_control.store.connect import Database, Write

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
    for some in _once_each(said):
        doubted |= await _write(write, some)
    return doubted


def _once_each(said: Sequence[Said]) -> Iterator[list[Said]]:
    """Two of one host (by two sessions) one after the other."""
    left = list(said)
    while left:
        first = {it.host_id: it for it in reversed(left)}
        yield list(reversed(first.values()))
        left = [it for it in left if first[it.host_id] is not it]


async def _write(write: Write, said: Sequence[Said]) -> set[str]:
    doubted: set[str] = set()
    places = [hosts.Sequenced(it.host_id, it.report.boot_id, it.report.sequence) for it in said]
    accepted = await hosts.accept_reports(write, places)
    news = [it for it in said if it.host_id in accepted]
    # Facts first: what was found is told of GPUs that are known by then.
    facts = {}
    for it in news:
        if it.report.HasField("facts"):
            facts[it.host_id] = (it.actor, facts_from(it.report.facts))
            await asyncio.sleep(0)  # of dozens of hosts in one go it takes as long as nobody may hold the event loop
    await hosts.put_facts(write, facts)
    for it in news:
        if it.report.HasField("findings"):
            host = await hosts.get(write.connection, it.host_id)
            findings = findings_from(it.report.findings)
            if host is not None and host.findings != findings:
                write.actor, write.cause_id = it.actor, events.new_cause()
                await hosts.update(write, it.host_id, {"findings": findings})
    seen = [replicas.Observed(it.host_id, it.actor, _observations(it.report)) for it in news]
    await replicas.observe_all(write, seen, time.time())
    for it in news:
        if it.is_first:
            write.actor, write.cause_id = it.actor, events.new_cause()
            await _tell_strangers(write, it.host_id, [each.replica_id for each in _first(it.report.replicas)])
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


async def _doors(write: Write, news: Sequence[Said]) -> None:
    """The hosts' own doors."""
    if not news:
        return
    known = await hosts.doors(write.connection, [it.host_id for it in news])
    doors = {it.host_id: it.report.door for it in news}
    await hosts.put_doors(
        write,
        {
            host_id: told(
                known.get(host_id),
                bounds.address(door.address),
                bounds.ports(door.ports),
                bounds.sentence(door.message),
            )
            for host_id, door in doors.items()
        },
    )


async def _tell_strangers(write: Write, host_id: str, replica_ids: list[str]) -> None:
    """Its assignment does not have them, so it stops them: nothing of the kind without a word."""
    strangers = await replicas.strangers(write.connection, replica_ids)
    host = await hosts.get(write.connection, host_id) if strangers else None
    if host is not None:
        shown = ", ".join(strangers[:SHOWN]) + (" …" if len(strangers) > SHOWN else "")
        sentence = (
            f"host {host.name} runs {len(strangers)} replicas that this server's database does not know ({shown}): "
            "they were started after the backup that it was restored from, and are stopped"
        )
        hosts.tell(write, host, sentence)
        log.warning(sentence)


async def _paths(write: Write, host_id: str, report: agent_pb2.Report) -> set[str]:
    """Of a gateway's host: which doors of others it could dial, and who has a tunnel to it. Returns those to be heard anew."""
    if not await gateways.of_host(write.connection, host_id):
        return set()  # only a gateway's host has something to say of the ways to others
    reached = list(bounds.first(report.reached, bounds.MOST_REACHED))
    # Who had one may be in no report now: then all are looked at.
    ids = None if report.HasField("edge") else [it.host_id for it in reached]
    before = await hosts.doors(write.connection, ids)
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
    await hosts.put_doors(write, {other: its for other, its in known.items() if before[other] != its})
    return {other for other, its in known.items() if set(its.unheard) - set(before[other].unheard)}

"""What a report of an agent changes: one guarded write. An older report than the last one seen changes nothing."""

import time

from homeport_protos.agent.v1 import agent_pb2

from homeport_control.agents import bounds
from homeport_control.agents.convert import facts_from, findings_from, observation_from
from homeport_control.decide.paths import dialled, dug, told
from homeport_control.store import gateways, hosts, replicas
from homeport_control.store.connect import Database, Write


async def take_report(database: Database, host_id: str, actor: str, report: agent_pb2.Report) -> None:
    """Write what differs from what is known. The caller has checked the boot id. Raises NotReady."""
    observations = [observation_from(replica) for replica in bounds.first(report.replicas, bounds.MOST_REPLICAS)]
    async with database.write(actor=actor) as write:
        if not await hosts.accept_report(write, host_id, report.boot_id, report.sequence, new_session=False):
            return
        # Facts first: what was found is told of GPUs that are known by then.
        if report.HasField("facts"):
            await hosts.update(write, host_id, {"facts": facts_from(report.facts)})
        if report.HasField("findings"):
            host = await hosts.get(write.connection, host_id)
            findings = findings_from(report.findings)
            if host is not None and host.findings != findings:
                await hosts.update(write, host_id, {"findings": findings})
        await replicas.observe(write, host_id, observations, time.time())
        if report.HasField("door") or report.reached or report.HasField("edge"):
            await _paths(write, host_id, report)
        # An agent that knows one gateway a host only says `gateway`.
        seen = report.gateways or ([report.gateway] if report.HasField("gateway") else [])
        if seen:
            some = bounds.first(seen, bounds.MOST_GATEWAYS)
            await gateways.observed(write, host_id, [(it.name, it.running, bounds.sentence(it.message)) for it in some])


async def _paths(write: Write, host_id: str, report: agent_pb2.Report) -> None:
    """The host's own door, and, of a gateway's host, which doors of others it could dial, and who has a tunnel to it."""
    # Of the ways to other hosts only a gateway's host has something to say.
    is_gateway = bool(await gateways.of_host(write.connection, host_id))
    reached = list(bounds.first(report.reached, bounds.MOST_REACHED)) if is_gateway else []
    has_edge = is_gateway and report.HasField("edge")
    # Who had one may be in no report now: then all are looked at.
    ids = [*([host_id] if report.HasField("door") else []), *(it.host_id for it in reached)]
    known = await hosts.doors(write.connection, None if has_edge else ids)
    if report.HasField("door"):
        door = report.door
        address, message = bounds.address(door.address), bounds.sentence(door.message)
        known[host_id] = told(known.get(host_id), address, bounds.ports(door.ports), message)
        await hosts.put_door(write, host_id, known[host_id])
    for it in reached:
        if it.host_id in known:
            known[it.host_id] = dialled(known[it.host_id], host_id, bounds.sentence(it.error))
            await hosts.put_door(write, it.host_id, known[it.host_id])
    if has_edge:
        here = {it.host_id: bounds.ports(it.ports) for it in report.edge.hosts}
        for other, its in known.items():
            if host_id in its.dials and other != host_id:
                why = bounds.sentence(report.edge.message) or (
                    "" if other in here else "it has no tunnel to the gateway's edge"
                )
                await hosts.put_door(write, other, dug(its, host_id, here.get(other), why))

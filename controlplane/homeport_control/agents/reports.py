"""What a report of an agent changes: one guarded write. An older report than the last one seen changes nothing."""

import time

import structlog
from homeport_protos.agent.v1 import agent_pb2

from homeport_control.agents.convert import facts_from, findings_from, observation_from
from homeport_control.decide.paths import dialled, dug, told
from homeport_control.store import gateways, hosts, replicas
from homeport_control.store.connect import Database, Write

SHOWN = 5  # strangers in one sentence
log = structlog.get_logger()


async def take_report(
    database: Database, host_id: str, actor: str, report: agent_pb2.Report, *, is_first: bool = False
) -> None:
    """Write what differs from what is known. The caller has checked the boot id. Raises NotReady.

    `is_first`: of a session; then it is told what the host runs that is in no row here.
    """
    observations = [observation_from(replica) for replica in report.replicas]
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
        if is_first:
            await _tell_strangers(write, host_id, [it.replica_id for it in observations])
        if report.HasField("door") or report.reached or report.HasField("edge"):
            await _paths(write, host_id, report)
        # An agent that knows one gateway a host only says `gateway`.
        seen = report.gateways or ([report.gateway] if report.HasField("gateway") else [])
        if seen:
            await gateways.observed(write, host_id, [(it.name, it.running, it.message) for it in seen])


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


async def _paths(write: Write, host_id: str, report: agent_pb2.Report) -> None:
    """The host's own door, and, of a gateway's host, which doors of others it could dial, and who has a tunnel to it."""
    # Who had one may be in no report now: then all are looked at.
    ids = [*([host_id] if report.HasField("door") else []), *(it.host_id for it in report.reached)]
    known = await hosts.doors(write.connection, None if report.HasField("edge") else ids)
    if report.HasField("door"):
        door = report.door
        known[host_id] = told(known.get(host_id), door.address, tuple(door.ports), door.message)
        await hosts.put_door(write, host_id, known[host_id])
    for it in report.reached:
        if it.host_id in known:
            known[it.host_id] = dialled(known[it.host_id], host_id, it.error)
            await hosts.put_door(write, it.host_id, known[it.host_id])
    if report.HasField("edge"):
        here = {it.host_id: tuple(it.ports) for it in report.edge.hosts}
        for other, its in known.items():
            if host_id in its.dials and other != host_id:
                why = report.edge.message or ("" if other in here else "it has no tunnel to the gateway's edge")
                await hosts.put_door(write, other, dug(its, host_id, here.get(other), why))

"""Liveness: replicas of hosts that are away for too long are marked lost, and unmarked when their host returns.

A broken or silent session marks its host unreachable by itself (agents/server); this loop waits out lost_after by
decide/liveness. What is lost is replaced by the runs loop, and fenced by its host's assignment when that returns.
"""

from homeport_control.decide.liveness import beat_of, judge
from homeport_control.domain.hosts import Connection, Host
from homeport_control.loops.loop import Turn
from homeport_control.store import hosts, replicas
from homeport_control.store.connect import Database


class LivenessLoop:
    topics = ("presence",)

    def __init__(self, database: Database, lost_after_s: float) -> None:
        self._database = database
        self._lost_after_s = lost_after_s

    async def turn(self, now_s: float) -> Turn:
        async with self._database.read() as connection:
            known = await hosts.by_connection(connection)
            there = await hosts.all_by_id(connection)
        # One that we let go is not away: nobody waits for it.
        away = known.get(Connection.UNREACHABLE, ())
        # Silence is the session's business: a host that the store calls connected counts as heard just now.
        heard = len(known.get(Connection.CONNECTED, ()))
        judgement = judge(tuple(map(beat_of, away)), now_s, heard=heard, lost_after_s=self._lost_after_s)
        lost_host_ids = judgement.lost_host_ids
        async with self._database.read() as connection:
            active = await replicas.lost_or_on(connection, lost_host_ids)
        lost = [r for r in active if r.host_id in lost_host_ids and not r.lost]
        found = [r for r in active if r.lost and _is_connected(there.get(r.host_id or ""))]
        if lost or found:
            async with self._database.write() as write:
                for host_id in sorted({it.host_id or "" for it in (*lost, *found)}):
                    # Lost because its host went away, or found because it came back: that is the cause.
                    write.cause_id = (there[host_id].cause_id if host_id in there else "") or write.cause_id
                    gone = {"lost": True, "message": "its host is lost"}
                    changes = {it.id: gone for it in lost if it.host_id == host_id}
                    changes |= {it.id: {"lost": False} for it in found if it.host_id == host_id}
                    await replicas.update_all(write, changes)
        return Turn(judgement.sentence, judgement.wake_at_s if away else None)


def _is_connected(host: Host | None) -> bool:
    return host is not None and host.connection is Connection.CONNECTED


async def forget_sessions(database: Database, now_s: float) -> None:
    """At the start of a server: nobody has been heard by it yet, whatever the last one wrote.

    Who was away without being lost is waited for anew: the last server may have noted its own end as theirs, and while there
    was none nobody could be heard.
    """
    async with database.read() as connection:
        known = await hosts.list_all(connection)
        away = [host.id for host in known if host.connection is Connection.UNREACHABLE]
        missed = {it.host_id for it in await replicas.lost_or_on(connection, away) if not it.lost}
    stale = [host for host in known if host.connection is Connection.CONNECTED or host.id in missed]
    if not stale:
        return
    unheard = {
        "connection": Connection.UNREACHABLE,
        "connection_reason": "the server started anew and has not heard it yet",
        "connection_since_s": now_s,
    }
    async with database.write() as write:
        await hosts.update_all(write, [hosts.Change(host.id, unheard) for host in stale])

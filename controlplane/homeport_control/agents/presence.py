"""What begins and ends with a session, written for many at once: a thousand agents come back in the same seconds after a
restart, and go in the same one when a cable does.

Covers who is connected from now on and who is away, and the generations of what is sent to them.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from homeport_control.domain.errors import NotFound
from homeport_control.domain.hosts import Connection, HostFacts
from homeport_control.store import events, hosts, sessions
from homeport_control.store.batches import once_each
from homeport_control.store.connect import Write


@dataclass(frozen=True, slots=True)
class Opening:
    """A hello. `actor`: who stands in the events of it; `notice`: what is told of it besides; empty: nothing."""

    host_id: str
    actor: str
    boot_id: str
    facts: HostFacts
    build: str
    notice: str = ""


async def write_openings(write: Write, came: Sequence[Opening]) -> None:
    for some in once_each(came, lambda it: it.host_id):
        await _write(write, some)


async def _write(write: Write, came: Sequence[Opening]) -> None:
    await sessions.begin(write, {it.host_id: it.boot_id for it in came})
    now_s = time.time()
    changes = [
        hosts.Change(
            it.host_id,
            {
                "connection": Connection.CONNECTED,
                "connection_reason": "",
                "connection_since_s": now_s,
                "facts": it.facts,
                "build": it.build,
            },
            it.actor,
            events.new_cause(),
        )
        for it in came
    ]
    await hosts.update_all(write, changes)
    for it in came:
        if it.notice and (host := await hosts.get_without_facts(write.connection, it.host_id)) is not None:
            write.actor, write.cause_id = it.actor, events.new_cause()
            hosts.tell(write, host, f"host {host.name}: {it.notice}")


@dataclass(frozen=True, slots=True)
class Leaving:
    """The end of a host's newest session. `heard_at_s`: the last sign of life (unix time); None: what counts is when it is
    written."""

    host_id: str
    reason: str
    heard_at_s: float | None


async def write_leavings(write: Write, gone: Sequence[Leaving], is_connected: Callable[[str], bool]) -> None:
    """`is_connected`: a newer session's word stands."""
    left = {it.host_id: it for it in gone if not is_connected(it.host_id)}
    known = await hosts.by_id_without_facts(write.connection, left)
    now_s = time.time()
    changes = [
        hosts.Change(
            it.host_id,
            {
                "connection": Connection.UNREACHABLE,
                "connection_reason": it.reason,
                "connection_since_s": now_s if it.heard_at_s is None else it.heard_at_s,
            },
            cause_id=events.new_cause(),
        )
        for it in left.values()
        if it.host_id in known
        and known[it.host_id].connection is not Connection.RELEASED  # its agent was stopped by us
    ]
    await hosts.update_all(write, changes)


@dataclass(slots=True)
class Generation:
    """One that is asked for, above another; `number` when it is written."""

    host_id: str
    above: int
    number: int = 0


async def write_generations(write: Write, asked: Sequence[Generation]) -> None:
    """Raises NotFound for a host that was removed meanwhile."""
    for some in once_each(asked, lambda it: it.host_id):
        found = await sessions.next_generations(write, {it.host_id: it.above for it in some})
        for it in some:
            if it.host_id not in found:
                raise NotFound(f"host {it.host_id} is not part of the fleet any more")
            it.number = found[it.host_id]

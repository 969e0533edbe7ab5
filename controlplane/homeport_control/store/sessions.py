"""What a session of an agent keeps in its host's row: how far its reports and its assignments have come."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from homeport_control.store.chunks import chunks
from homeport_control.store.connect import Write
from homeport_control.store.schema import hosts
from homeport_control.store.set_each import WHICH, set_each

NEW = -1  # no report of this boot was read


@dataclass(frozen=True, slots=True)
class Sequenced:
    """A report's place among those of its host."""

    host_id: str
    boot_id: str
    sequence: int


async def begin(write: Write, boots: Mapping[str, str]) -> None:
    """Sessions begin, by host id with what boot: reports of any other one are refused from now on.

    A boot that is not the last one is taken here only, where the host's certificate authenticates it: boots have no order of
    their own. One that goes on goes on after its last report.
    """
    if not boots:
        return
    other = sa.update(hosts).where(hosts.c.id == sa.bindparam(WHICH), hosts.c.boot_id != sa.bindparam("boot"))
    query = other.values(boot_id=sa.bindparam("boot"), sequence=NEW)
    await write.connection.execute(query, [{WHICH: host_id, "boot": boot_id} for host_id, boot_id in boots.items()])


async def accept_reports(write: Write, reports: Iterable[Sequenced]) -> frozenset[str]:
    """The guard against late and doubled reports, of several hosts, each once. The hosts whose report is newer than the last
    one of the same boot."""
    asked = {report.host_id: report for report in reports}
    accepted: list[Sequenced] = []
    for some in chunks(asked):
        query = sa.select(hosts.c.id, hosts.c.boot_id, hosts.c.sequence).where(hosts.c.id.in_(some))
        for row in await write.connection.execute(query.with_for_update()):
            report = asked[row.id]
            if row.boot_id == report.boot_id and row.sequence < report.sequence:
                accepted.append(report)
    await set_each(write, hosts, [{WHICH: it.host_id, "sequence": it.sequence} for it in accepted])
    return frozenset(it.host_id for it in accepted)


async def next_generations(write: Write, above: Mapping[str, int]) -> dict[str, int]:
    """By host id, for assignments that are about to be sent: greater than any before, also over restarts, and than `above`:
    what its agent has accepted from a server whose database was put back since. None for a host that was removed meanwhile."""
    found: dict[str, int] = {}
    for some in chunks(above):
        query = sa.select(hosts.c.id, hosts.c.generation).where(hosts.c.id.in_(some)).with_for_update()
        found |= {row.id: max(row.generation, above[row.id]) + 1 for row in await write.connection.execute(query)}
    await set_each(write, hosts, [{WHICH: it, "generation": generation} for it, generation in found.items()])
    return found


async def after_restore(write: Write, now_s: float) -> None:
    """An older copy of the database goes on: hosts must follow it, though they have heard more than it knows.

    Generations jump to the time in seconds, which is beyond all that was ever sent (one a second at most, over the years):
    agents ignore what is older than what they have. Certificates that were given out since then are good: each host's next
    one, within a day, makes all others worth nothing again.
    """
    ahead = sa.case((hosts.c.generation < int(now_s), int(now_s)), else_=hosts.c.generation + 1)
    await write.connection.execute(sa.update(hosts).values(generation=ahead, serials=[]))
    write.touch("hosts", "presence")

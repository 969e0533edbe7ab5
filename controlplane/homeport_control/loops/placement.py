"""Placement: waiting replicas get a host and their claim, in the transaction that read what is free."""

import asyncio

from homeport_control.decide.placement import Ask, Filters, Placed, place
from homeport_control.decide.standing import standing
from homeport_control.domain.replicas import Replica
from homeport_control.domain.services import Run
from homeport_control.loops.loop import Turn
from homeport_control.spec.base_image import DEFAULT_TEMPLATE, image_of
from homeport_control.spec.service import spec_from_json
from homeport_control.store import fleets, hosts, replicas, reservations, runs, volumes
from homeport_control.store.connect import Database


class PlacementLoop:
    topics = ("replicas", "hosts", "health")

    def __init__(self, database: Database, base_image: str = DEFAULT_TEMPLATE) -> None:
        self._database = database
        self._base_image = base_image

    async def turn(self, now_s: float) -> Turn:
        async with self._database.read() as connection:
            if not await replicas.waiting(connection):
                return Turn("no replica waits for a host")
            # So that in the transaction only what has changed since is to be read.
            await hosts.list_all(connection)
            await reservations.list_all(connection)
        async with self._database.write() as write:
            connection = write.connection
            waiting = await replicas.waiting(connection)
            known = {run.id: run for run in await runs.list_active(connection)}
            asks = [ask_of(known[r.run_id], r, self._base_image) for r in waiting if r.run_id in known]
            # In a thread: with a thousand hosts it takes as long as nobody may hold the event loop.
            answers = await asyncio.to_thread(
                place,
                standing(
                    await hosts.list_all(connection),
                    await fleets.registered(connection),
                    await fleets.by_name(connection),
                ),
                await reservations.list_all(connection),
                tuple(asks),
                now_s,
                await volumes.homes(connection),
            )
            by_id = {replica.id: replica for replica in waiting}
            found = [answer for answer in answers if isinstance(answer, Placed)]
            placed = await replicas.claim_all(write, [answer.reservation for answer in found])
            for answer in found:
                if answer.reservation.replica_id in placed and answer.volumes:
                    await volumes.settle(write, answer.volumes, answer.host_id, now_s)
            refused = [answer for answer in answers if not isinstance(answer, Placed)]
            news = [it for it in refused if by_id[it.replica_id].message != it.summary]
            await replicas.update_all(write, {it.replica_id: {"message": it.summary} for it in news})
        return Turn(f"placed {len(placed)} of {len(asks)} waiting replicas")


def ask_of(run: Run, replica: Replica, base_image: str = DEFAULT_TEMPLATE) -> Ask:
    spec = spec_from_json(run.revision(replica.revision).spec_json)
    return Ask(
        replica.id,
        run.name,
        spec.resources,
        Filters.of(spec),
        replica.revision,
        spec.named_volumes,
        image=image_of(spec, base_image),
    )

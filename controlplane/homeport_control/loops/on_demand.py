"""On-demand hosts: brought up for replicas that wait, let go when nothing has run on them, by decide/on_demand.

What was decided is written first, with a host that goes out of placement's reach, and then done by SSH (machines). An errand
that nobody is at any more, as after a restart, is sent again. Does not cover what came of it (outcomes).
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.decide.on_demand import BringUp, Machine, Release, Steps, Waiting, next_steps
from homeport_control.decide.standing import name_of
from homeport_control.domain.errors import NotReady
from homeport_control.domain.fleets import Errand, Fleet, Phase
from homeport_control.domain.hosts import Connection
from homeport_control.domain.replicas import Replica
from homeport_control.domain.services import Run
from homeport_control.loops.loop import Turn
from homeport_control.loops.outcomes import failed, put
from homeport_control.loops.placement import ask_of
from homeport_control.spec.base_image import DEFAULT_TEMPLATE
from homeport_control.spec.scalars import duration_text
from homeport_control.spec.service import DEFAULT_IDLE_S, spec_from_json
from homeport_control.store import events, fleets, gateways, hosts, replicas, reservations, runs, volumes
from homeport_control.store.connect import Database, Write
from homeport_control.trust.sealing import Sealer

NewToken = Callable[[Write, str, float], Awaitable[str]]
NO_ACCESS = "the server does not have its key any more; apply the fleet again"
NONE = Turn("there are no on-demand hosts")


@dataclass(frozen=True, slots=True)
class _Look:
    machines: tuple[Machine, ...]
    steps: Steps
    causes: dict[str, str]  # of the runs that wait, by name


class OnDemandLoop:
    """`send` takes an errand to a machine, `is_busy` says whether somebody is at one, by its key; `new_token` makes a
    join token for a fleet."""

    topics = ("hosts", "replicas", "health")

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        new_token: NewToken,
        send: Callable[[Errand], None],
        is_busy: Callable[[str], bool],
        base_image: str = DEFAULT_TEMPLATE,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._new_token = new_token
        self._send = send
        self._is_busy = is_busy
        self._base_image = base_image

    async def turn(self, now_s: float) -> Turn:
        async with self._database.read() as connection:
            look = await self._look(connection, now_s)
        if look is None:
            return NONE
        steps = look.steps
        if not (steps.bring_up or steps.release or steps.came or self._undone(look.machines)):
            return _turn(look)
        errands: list[Errand] = []
        async with self._database.write() as write:
            look = await self._look(write.connection, now_s)
            if look is None:
                return NONE
            for machine in self._undone(look.machines):
                errands += await self._errand(write, machine, now_s)
            for wish in look.steps.bring_up:
                write.cause_id = look.causes.get(wish.run_name, "") or events.new_cause()
                errands += await self._errand(write, await _begin_up(write, wish, now_s), now_s)
            for release in look.steps.release:
                write.cause_id = events.new_cause()
                errands += await self._errand(write, await _begin_release(write, release, now_s), now_s)
            for machine in look.steps.came:
                await put(
                    write, machine.registration, replace(machine.standby, phase=Phase.UP, since_s=now_s), "connected"
                )
        for errand in errands:
            self._send(errand)
        return _turn(look)

    async def _look(self, connection: AsyncConnection, now_s: float) -> _Look | None:
        registered = [it for it in await fleets.registered(connection) if it.standby is not None]
        if not registered:
            return None
        known = await hosts.all_by_id(connection)
        by_name = await fleets.by_name(connection)
        emptied = await replicas.emptied_at_s(connection, [it.host_id for it in registered if it.host_id])
        gateway_hosts = {it.host_id for it in await gateways.list_all(connection) if it.host_id}
        machines = tuple(
            Machine(
                it,
                it.standby,
                by_name.get(it.fleet, Fleet(it.fleet)),
                known.get(it.host_id),
                emptied.get(it.host_id, 0.0),
                it.host_id in gateway_hosts,
            )
            for it in registered
            if it.standby is not None
        )
        waiting = await replicas.waiting(connection)
        active = {run.id: run for run in await runs.list_active(connection)} if waiting else {}
        steps = next_steps(
            machines,
            tuple(known.values()),
            await reservations.list_all(connection),
            [self._waiting(active[it.run_id], it) for it in waiting if it.run_id in active],
            now_s,
            await volumes.homes(connection),
        )
        return _Look(machines, steps, {run.name: run.cause_id for run in active.values()})

    def _waiting(self, run: Run, replica: Replica) -> Waiting:
        spec = spec_from_json(run.revision(replica.revision).spec_json)
        says = spec.idle_duration_s != DEFAULT_IDLE_S
        ask = ask_of(run, replica, self._base_image)
        return Waiting(ask, spec.creation_policy != "reuse", spec.idle_duration_s, says)

    def _undone(self, machines: Iterable[Machine]) -> list[Machine]:
        """What a server before this one had begun, or what could not be written down."""
        begun = (it for it in machines if it.standby.phase in {Phase.COMING, Phase.GOING})
        return [it for it in begun if not self._is_busy(it.registration.key)]

    async def _errand(self, write: Write, machine: Machine, now_s: float) -> list[Errand]:
        """One, or none when the machine cannot be reached: that is written down."""
        known = machine.registration
        brings_up = machine.standby.phase is Phase.COMING
        errand = Errand(known, "", machine.fleet.server, brings_up, power_off=machine.fleet.power_off)
        sealed = await fleets.access(write.connection, known)
        try:
            access = self._sealer.open(sealed) if sealed is not None else ""
        except NotReady:
            access = ""
        if not access:
            await failed(write, errand, NO_ACCESS, now_s, is_connected=machine.is_connected)
            return []
        token = await self._new_token(write, known.fleet, now_s) if brings_up else ""
        return [replace(errand, access=access, token=token)]


async def _begin_up(write: Write, wish: BringUp, now_s: float) -> Machine:
    machine = wish.machine
    standby = replace(
        machine.standby,
        phase=Phase.COMING,
        since_s=now_s,
        run_name=wish.run_name,
        idle_duration_s=wish.idle_duration_s,
    )
    known = await put(write, replace(machine.registration, error=""), standby, "waiting for its turn")
    name = machine.host.name if machine.host is not None else name_of(known, standby)
    sentence = f"host {name} is brought up for {wish.run_name}: no connected host has room"
    events.record(write, kind="host", object_id=machine.id, name=name, sentence=sentence)
    return replace(machine, registration=known, standby=standby)


async def _begin_release(write: Write, release: Release, now_s: float) -> Machine:
    machine = release.machine
    standby = replace(machine.standby, phase=Phase.GOING, since_s=now_s)
    known = await put(write, machine.registration, standby, "waiting for its turn")
    if machine.host is not None:
        values = {
            "connection": Connection.RELEASED,
            "connection_reason": f"nothing has run on it for {duration_text(int(release.idle_s))}",
            "connection_since_s": now_s,
        }
        await hosts.update(write, machine.host.id, values)
    return replace(machine, registration=known, standby=standby)


def _turn(look: _Look) -> Turn:
    parts = [f"{it.machine.registration.place.hostname} is brought up for {it.run_name}" for it in look.steps.bring_up]
    parts += [f"{it.machine.registration.place.hostname} is let go" for it in look.steps.release]
    up = sum(it.is_connected for it in look.machines)
    return Turn("; ".join(parts) or f"{up} of {len(look.machines)} on-demand hosts are up", look.steps.wake_at_s)

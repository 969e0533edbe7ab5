"""What came of an errand at an on-demand machine, written down: how far it is, that it is done, why it failed and when again.

A machine that was taken out meanwhile, or is not on-demand any more, is left alone.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from homeport_control.decide.on_demand import retry_s
from homeport_control.decide.standing import name_of, rested
from homeport_control.domain.fleets import Errand, Phase, Registration, Standby
from homeport_control.domain.hosts import Connection
from homeport_control.spec.scalars import duration_text
from homeport_control.store import events, fleets, hosts
from homeport_control.store.connect import Database, Write


class Outcomes:
    """`is_connected`: whether the session of a host is open."""

    def __init__(self, database: Database, is_connected: Callable[[str], bool]) -> None:
        self._database = database
        self._is_connected = is_connected

    async def stepped(self, errand: Errand, step: str) -> None:
        async with self._database.write() as write:
            known = await _still(write, errand)
            if known is not None:
                await fleets.register(write, replace(known, step=step[:200], since_s=time.time()))

    async def done(self, errand: Errand, host_id: str) -> None:
        now_s = time.time()
        async with self._database.write() as write:
            known = await _still(write, errand)
            if known is None or known.standby is None:
                return
            phase = Phase.UP if errand.brings_up else Phase.RELEASED
            standby = replace(known.standby, phase=phase, since_s=now_s, failures=0, retry_at_s=0.0)
            step = "connected" if errand.brings_up else "released"
            await put(write, replace(known, error="", host_id=host_id), standby, step)
            if errand.brings_up:
                await fleets.became(write, known, host_id)
            elif (host := await hosts.get(write.connection, host_id)) is not None:
                values = {"connection": Connection.RELEASED, "facts": rested(host.facts)}
                await hosts.update(write, host.id, values)

    async def failed(self, errand: Errand, reason: str) -> None:
        connected = self._is_connected(errand.registration.host_id)
        async with self._database.write() as write:
            await failed(write, errand, reason, time.time(), is_connected=connected)


async def failed(write: Write, errand: Errand, reason: str, now_s: float, *, is_connected: bool) -> None:
    """It is as it was before, and is tried again later. `is_connected`: whether the host's session is open."""
    known = await _still(write, errand)
    if known is None or known.standby is None:
        return
    failures = known.standby.failures + 1
    standby = replace(
        known.standby,
        phase=Phase.RELEASED if errand.brings_up else Phase.UP,
        failures=failures,
        retry_at_s=now_s + retry_s(failures),
    )
    await put(write, replace(known, error=reason[:1000]), standby, known.step)
    what = "brought up" if errand.brings_up else "released"
    again = f"it is tried again in {duration_text(int(retry_s(failures)))} at the earliest"
    host = await hosts.get(write.connection, known.host_id)
    name = host.name if host is not None else name_of(known, standby)
    sentence = f"host {name} could not be {what}: {reason}; {again}"
    events.record(write, kind="host", object_id=known.host_id or known.key, name=name, sentence=sentence)
    if known.host_id and not errand.brings_up:
        values = {
            "connection": Connection.CONNECTED if is_connected else Connection.UNREACHABLE,
            "connection_reason": "" if is_connected else f"it could not be released: {reason}",
            "connection_since_s": now_s,
        }
        await hosts.update(write, known.host_id, values)


async def put(write: Write, registration: Registration, standby: Standby, step: str) -> Registration:
    """The registration as it is from now on."""
    known = replace(registration, standby=standby, step=step, since_s=standby.since_s)
    await fleets.register(write, known)
    return known


async def _still(write: Write, errand: Errand) -> Registration | None:
    """The registration, if this errand is still what is wanted of it."""
    phase = Phase.COMING if errand.brings_up else Phase.GOING
    for known in await fleets.registered(write.connection, errand.registration.fleet):
        if known.key == errand.registration.key:
            return known if known.standby is not None and known.standby.phase is phase else None
    return None

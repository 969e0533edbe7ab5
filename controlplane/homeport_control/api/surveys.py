"""What a survey of an on-demand machine brings: what it has, and how the server reaches it, which is sealed at once."""

from homeport_protos.api.v1 import api_pb2
from homeport_protos.ssh.access import Access

from homeport_control.domain.fleets import Fleet, Phase, Registration, Standby
from homeport_control.domain.hosts import Connection, Host, HostFacts
from homeport_control.store import fleets, hosts
from homeport_control.store.connect import Write
from homeport_control.trust.sealing import Sealer


async def keep(
    write: Write,
    sealer: Sealer,
    registration: Registration,
    facts: HostFacts,
    access: api_pb2.Access,
    now_s: float,
) -> None:
    """The registration has these facts from now on; the access is kept beside it."""
    fleet = await fleets.get(write.connection, registration.fleet) or Fleet(registration.fleet)
    host = await hosts.get(write.connection, registration.host_id)
    known = Registration(
        registration.fleet,
        registration.place,
        "looked at",
        now_s,
        host_id=registration.host_id,
        standby=_standby(registration, fleet, host, facts, now_s),
    )
    await fleets.register(write, known)
    await fleets.keep_access(write, known, sealer.seal(_access(access).to_json()))
    if host is not None and host.connection is Connection.UNREACHABLE:  # nobody misses it from now on
        values = {"connection": Connection.RELEASED, "connection_reason": "", "connection_since_s": now_s}
        await hosts.update(write, host.id, values)


def _standby(registration: Registration, fleet: Fleet, host: Host | None, facts: HostFacts, now_s: float) -> Standby:
    before = registration.standby
    if before is not None and before.phase in {Phase.COMING, Phase.GOING}:  # it goes on
        return Standby(before.phase, before.since_s, facts, before.run_name, before.idle_duration_s)
    is_up = host is not None and host.connection is Connection.CONNECTED
    if before is not None and before.phase is Phase.UP and is_up:
        return Standby(Phase.UP, before.since_s, facts, before.run_name, before.idle_duration_s)
    return Standby(Phase.UP if is_up else Phase.RELEASED, now_s, facts, idle_duration_s=fleet.idle_duration_s)


def _access(message: api_pb2.Access) -> Access:
    return Access(
        private_key=message.private_key,
        host_key=message.host_key,
        sudo_password=message.sudo_password,
        jump=_access(message.jump) if message.HasField("jump") else None,
    )

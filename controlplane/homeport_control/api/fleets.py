"""Fleets by the API: what applying one would do, keeping it, and how far the installation of each machine is.

Nothing is installed here: who applies has the keys, and tells what came of it.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1 import host_pb2

from homeport_control.api import surveys
from homeport_control.api.auth import Caller
from homeport_control.api.convert import host_message, timestamp
from homeport_control.api.plans import problem_messages
from homeport_control.api.tokens import JOIN_TTL_S
from homeport_control.decide.fleets import fleet_changes
from homeport_control.decide.standing import as_host, next_try
from homeport_control.domain.errors import Conflict, NotFound
from homeport_control.domain.fleets import Fleet, Place, PlaceChange, Registration
from homeport_control.domain.hosts import GATEWAYS_FLEET, Host, HostFacts
from homeport_control.spec.document import load_json, parse
from homeport_control.spec.fleet import FleetHost, FleetSpec, ProxyJump, SshConfig
from homeport_control.spec.problems import BadDocument, Problem
from homeport_control.spec.support import unsupported
from homeport_control.store import fleets, gateways, hosts, replicas, tokens
from homeport_control.store.connect import Database, Write
from homeport_control.store.tokens import TokenRecord
from homeport_control.trust.sealing import Sealer
from homeport_control.trust.tokens import new_join_token, sha256_hex

ReadFacts = Callable[[host_pb2.HostFacts], HostFacts]
STALLED_S = 900.0  # a step that is this old: whoever did it has gone away


@dataclass(frozen=True, slots=True)
class _Planned:
    fleet: Fleet
    action: str  # create, update, unchanged
    changes: tuple[PlaceChange, ...]


class Fleets:
    def __init__(self, database: Database, sealer: Sealer, ca_sha256: str, read_facts: ReadFacts) -> None:
        self._database = database
        self._read_facts = read_facts
        self._sealer = sealer
        self._ca_sha256 = ca_sha256

    async def plan(self, request: api_pb2.PlanFleetRequest) -> api_pb2.PlanFleetResponse:
        """What applying it would do with each machine."""
        try:
            wanted = _fleet(request.json)
        except BadDocument as error:
            return api_pb2.PlanFleetResponse(problems=problem_messages(error.problems))
        planned = await self._planned(wanted)
        return api_pb2.PlanFleetResponse(
            name=wanted.name,
            action=planned.action,
            hosts=[change_message(it) for it in planned.changes],
            on_demand=wanted.on_demand,
        )

    async def apply(self, caller: Caller, request: api_pb2.PlanFleetRequest) -> api_pb2.ApplyFleetResponse:
        """Keep the fleet and its machines; a token for each that is to be installed. Raises Denied, Conflict.

        A machine of an on-demand fleet is to be looked at only.
        """
        caller.must_be_admin("change a fleet")
        try:
            wanted = _fleet(request.json)
        except BadDocument as error:
            return api_pb2.ApplyFleetResponse(problems=problem_messages(error.problems))
        if wanted.on_demand and not request.server:
            raise Conflict("this command line is too old for on-demand hosts; install the one of the server's version")
        wanted = replace(wanted, server=request.server if wanted.on_demand else "")
        now_s = time.time()
        answer = api_pb2.ApplyFleetResponse(name=wanted.name)
        planned = await self._planned(wanted)
        async with self._database.write(actor=caller.actor) as write:
            before = await fleets.get(write.connection, wanted.name)
            await fleets.put(write, wanted)
            await _relabel(write, before, wanted)
            registered = {it.place.address: it for it in await fleets.registered(write.connection, wanted.name)}
            never_joined = [it.place.address for it in planned.changes if it.action == "gone" and not it.host_id]
            await fleets.unregister(write, wanted.name, never_joined)
            for change in planned.changes:
                if not change.installs and not request.reinstall:
                    continue
                if change.action == "gone":
                    continue
                known = registered.get(change.place.address)
                standby = known.standby if known is not None and wanted.on_demand else None
                registration = Registration(wanted.name, change.place, "registered", now_s, "", change.host_id, standby)
                await fleets.register(write, registration)
                token = "" if wanted.on_demand else await new_token(write, self._ca_sha256, wanted.name, now_s)
                answer.installs.add(place=place_message(change.place), token=token, survey=wanted.on_demand)
        return answer

    async def report(self, caller: Caller, request: api_pb2.RegistrationReport) -> api_pb2.RegistrationAnswer:
        """Raises Denied, NotFound, Conflict."""
        caller.must_be_admin("register hosts")
        async with self._database.write(actor=caller.actor) as write:
            known = {it.place.address: it for it in await fleets.registered(write.connection, request.fleet)}
            registration = known.get((request.hostname, request.port))
            if registration is None:
                raise NotFound(f"{request.hostname} is not registered for the fleet {request.fleet}; apply it again")
            if request.HasField("access"):
                facts = self._read_facts(request.facts)
                await surveys.keep(write, self._sealer, registration, facts, request.access, time.time())
                return api_pb2.RegistrationAnswer()
            if request.host_id:
                host = await fleets.became(write, registration, request.host_id)
                if host.is_for_gateways:
                    await gateways.machine_came(write, host, registration.place.address)
            await fleets.register(
                write,
                replace(
                    registration,
                    step=request.step or registration.step,
                    since_s=time.time(),
                    error=request.error[:1000],
                    host_id=request.host_id or registration.host_id,
                ),
            )
        return api_pb2.RegistrationAnswer()

    async def delete(self, caller: Caller, name: str) -> api_pb2.DeleteFleetResponse:
        """Raises Denied, NotFound; Conflict while it has hosts."""
        caller.must_be_admin("delete a fleet")
        async with self._database.write(actor=caller.actor) as write:
            left = [host.name for host in await hosts.list_all(write.connection) if host.fleet == name]
            if left:
                raise Conflict(f"fleet {name} has {len(left)} hosts ({', '.join(left[:5])}); remove them first")
            if not await fleets.remove(write, name):
                raise NotFound(f"no fleet {name}; `homeport fleet list` shows all")
        return api_pb2.DeleteFleetResponse(sentence=f"fleet {name} is deleted")

    async def _planned(self, wanted: Fleet) -> _Planned:
        async with self._database.read() as connection:
            before = await fleets.get(connection, wanted.name)
            registered = await fleets.registered(connection, wanted.name)
            known = await hosts.all_by_id(connection)
            count = await replicas.count_by_host(connection)
        changes = fleet_changes(wanted.places, registered, known, count, on_demand=wanted.on_demand)
        same = (
            before is not None
            and replace(before, server="") == replace(wanted, places=())
            and all(it.action == "unchanged" for it in changes)
        )
        return _Planned(wanted, "create" if before is None else "unchanged" if same else "update", changes)


def pending_message(registration: Registration, now_s: float) -> api_pb2.Host:
    """A registered machine that is no host yet, as `fleet list` shows it."""
    if registration.standby is not None:
        standby = registration.standby
        message = host_message(as_host(registration, standby, Fleet(registration.fleet)), 0, (), {}, standby.phase)
        message.ClearField("id")
        message.reason += next_try(standby, now_s)
        return message
    works, reason = progress(registration, now_s)
    return api_pb2.Host(
        name=registration.place.hostname,
        fleet=registration.fleet,
        address=registration.place.hostname,
        state="provisioning" if works else "pending",
        health="healthy",
        reason=reason,
        created_at=timestamp(registration.since_s),
        connection_since=timestamp(registration.since_s),
    )


def _fleet(json: str) -> Fleet:
    """Raises BadDocument."""
    parsed = parse(load_json(json))
    spec = parsed.spec
    if not isinstance(spec, FleetSpec):
        raise BadDocument([Problem("type", "is no fleet")])
    if problems := unsupported(spec):
        raise BadDocument(problems)
    if spec.name is None:
        raise BadDocument([Problem("name", "is missing", "A fleet is found again by its name")])
    ssh = spec.ssh_config
    places = tuple(_place(ssh, host) for host in ssh.hosts) if ssh else ()
    on_demand = spec.provision == "on-demand"
    return Fleet(
        spec.name,
        tuple(sorted(spec.labels.items())),
        spec.region or "",
        places,
        on_demand=on_demand,
        idle_duration_s=spec.idle_duration_s if on_demand else None,
        power_off=spec.power_off,
    )


def _place(ssh: SshConfig, host: FleetHost) -> Place:
    user, identity = host.user or ssh.user or "", host.identity_file or ssh.identity_file or ""
    jump = host.proxy_jump or ssh.proxy_jump
    port = host.port or ssh.port
    if jump and (jump.hostname, jump.port) == (host.hostname, port):
        jump = None  # the jump host may be of the fleet itself
    wake = host.wake
    return Place(
        host.hostname,
        port,
        user,
        identity,
        _jump(jump, user, identity) if jump else None,
        wake_mac=wake.mac if wake else "",
        wake_broadcast=wake.broadcast if wake else "",
    )


def _jump(jump: ProxyJump, user: str, identity: str) -> Place:
    return Place(jump.hostname, jump.port, jump.user or user, jump.identity_file or identity)


def progress(registration: Registration, now_s: float) -> tuple[bool, str]:
    """Whether somebody is at the machine, and how far it is."""
    works = not registration.error and registration.step != "registered" and now_s - registration.since_s < STALLED_S
    what = "gateway" if registration.fleet == GATEWAYS_FLEET else "fleet"
    if registration.error:
        return works, f"{registration.step} failed: {registration.error}; next try: when the {what} is applied again"
    return works, registration.step if works else f"{registration.step}; nobody is at it: apply the {what} again"


async def _relabel(write: Write, before: Fleet | None, after: Fleet) -> None:
    """Hosts that are there get the fleet's labels and region; labels of their own stay."""
    old = set(before.labels) if before else set()
    for host in await hosts.list_all(write.connection):
        if host.fleet != after.name:
            continue
        changed = labelled(host, old, after)
        if changed != host:
            await hosts.update(write, host.id, {"labels": changed.labels, "region": changed.region})


def labelled(host: Host, old: set[tuple[str, str]], fleet: Fleet) -> Host:
    own = dict(label for label in host.labels if label not in old)
    return replace(
        host,
        labels=tuple(sorted({**dict(fleet.labels), **own}.items())),
        region=fleet.region or "remote",
    )


async def new_token(write: Write, ca_sha256: str, fleet: str, now_s: float) -> str:
    """A join token of one use for one machine of a fleet."""
    plain = new_join_token(ca_sha256)
    record = TokenRecord(
        id=uuid.uuid4().hex[:12],
        name="join",
        sha256=sha256_hex(plain),
        role="join",
        services=(),
        fleet=fleet,
        one_use=True,
        created_at_s=now_s,
        expires_at_s=now_s + JOIN_TTL_S,
    )
    await tokens.insert(write, record)
    return plain


def change_message(change: PlaceChange) -> api_pb2.FleetHost:
    return api_pb2.FleetHost(
        place=place_message(change.place),
        action=change.action,
        reason=change.reason,
        host=change.host_name,
        replicas=change.replicas,
    )


def place_message(place: Place) -> api_pb2.Place:
    return api_pb2.Place(
        hostname=place.hostname,
        port=place.port,
        user=place.user,
        identity_file=place.identity_file,
        jump=place_message(place.jump) if place.jump else None,
        wake_mac=place.wake_mac,
        wake_broadcast=place.wake_broadcast,
    )


def pending(registered: Sequence[Registration], known: Sequence[Host], now_s: float) -> list[api_pb2.Host]:
    """Those of them that are no hosts yet."""
    ids = {host.id for host in known}
    return [pending_message(it, now_s) for it in registered if it.host_id not in ids]

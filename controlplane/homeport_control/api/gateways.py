"""Gateways by the API: what applying one would do, keeping it, how each is, and which one is the default.

Nothing is started here: the agent of its host gets the role with the next assignment.
"""

import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, replace

from homeport_protos.api.v1 import api_pb2
from sqlalchemy.ext.asyncio import AsyncConnection

from homeport_control.api import gateway_machines
from homeport_control.api.auth import Caller
from homeport_control.api.gateway_file import meant, problems_of_host, spec_of, wanted_of
from homeport_control.api.gateway_machines import Machine
from homeport_control.api.gateway_message import gateway_message
from homeport_control.api.plans import problem_messages
from homeport_control.decide import gateways as decide
from homeport_control.decide.certificates import ca_of, sources
from homeport_control.domain.certificates import CA
from homeport_control.domain.errors import Conflict, NotFound, NotReady
from homeport_control.domain.fleets import PlaceChange
from homeport_control.domain.gateway import Gateway
from homeport_control.domain.hosts import GATEWAYS_FLEET, Host
from homeport_control.domain.services import Run
from homeport_control.spec.diff import Change
from homeport_control.spec.problems import BadDocument
from homeport_control.spec.service import spec_from_json
from homeport_control.store import certificates, fleets, gateways, hosts, runs
from homeport_control.store.connect import Database
from homeport_control.trust.tokens import sha256_hex

KEEP_ALIVE_S = 15.0
LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class _Planned:
    wanted: Gateway
    before: Gateway | None
    action: str  # create, update, unchanged
    changes: tuple[tuple[Change, str], ...]
    host: Host | None
    machine: Machine | None = None  # where it is reached by SSH
    gone: tuple[PlaceChange, ...] = ()  # machines that no gateway needs then
    is_kept: bool = False  # nothing of the gateway itself changes

    @property
    def token(self) -> str:
        looked_at = self.before and replace(self.before, ready=False, message="", refused="", old_domain="")
        return sha256_hex(repr(looked_at))[:16]


class Gateways:
    def __init__(
        self, database: Database, start_s: float, ca_sha256: str = "", local_addresses: Sequence[str] = LOOPBACK
    ) -> None:
        """`start_s`: how long a gateway that is starting is waited for."""
        self._ca_sha256 = ca_sha256
        self._database = database
        self._start_s = start_s
        self._local_addresses = local_addresses

    async def plan(self, request: api_pb2.PlanGatewayRequest) -> api_pb2.PlanGatewayResponse:
        """What applying it would do."""
        try:
            async with self._database.read() as connection:
                planned = await self._planned(connection, request.json)
        except BadDocument as error:
            return api_pb2.PlanGatewayResponse(problems=problem_messages(error.problems))
        return api_pb2.PlanGatewayResponse(
            name=planned.wanted.name,
            action=planned.action,
            properties=[api_pb2.Property(name=name, value=value) for name, value in _properties(planned)],
            changes=[api_pb2.Change(path=it.path, old=it.old, new=it.new, how=how) for it, how in planned.changes],
            plan_token=planned.token,
            machines=gateway_machines.messages(planned.machine, planned.gone),
        )

    async def apply(self, caller: Caller, request: api_pb2.PlanGatewayRequest) -> api_pb2.ApplyGatewayResponse:
        """Raises Denied, Conflict."""
        caller.must_be_admin("change a gateway")
        async with self._database.write(actor=caller.actor) as write:
            try:
                planned = await self._planned(write.connection, request.json)
            except BadDocument as error:
                return api_pb2.ApplyGatewayResponse(problems=problem_messages(error.problems))
            name = planned.wanted.name
            if request.plan_token and request.plan_token != planned.token:
                raise Conflict(f"gateway {name} was changed after this plan was made; apply it again to see it anew")
            if not planned.is_kept:
                what = "was made" if planned.before is None else "was changed"
                keys = f": {', '.join(it.path for it, _ in planned.changes)}" if planned.changes else ""
                await gateways.put(write, planned.wanted, f"gateway {name} {what}{keys}")
                if planned.before is not None and planned.before.certificate != planned.wanted.certificate:
                    await certificates.try_again(write, name)
            await gateway_machines.forget_unjoined(write, planned.gone)
            answer = api_pb2.ApplyGatewayResponse(name=name, action=planned.action, fleet=GATEWAYS_FLEET)
            if planned.machine is not None and (planned.machine.installs or request.reinstall):
                answer.installs.append(await gateway_machines.register(write, planned.machine, self._ca_sha256))
        return answer

    async def delete(self, caller: Caller, name: str) -> api_pb2.GatewayAnswer:
        """Raises Denied, NotFound; Conflict while services need it."""
        caller.must_be_admin("delete a gateway")
        async with self._database.write(actor=caller.actor) as write:
            known = await gateways.list_all(write.connection)
            gateway = _named(name, known)
            published = _services(await runs.list_unsettled(write.connection), known).get(name, [])
            if published:
                raise Conflict(
                    f"gateway {name} publishes {len(published)} service{'' if len(published) == 1 else 's'} "
                    f"({', '.join(published[:5])}{', …' if len(published) > 5 else ''}); stop them, or apply them with "
                    "another `gateway`, first"
                )
            if gateway.default and len(known) > 1:
                raise Conflict(
                    f"gateway {name} is the default; choose another first: homeport gateway set-default NAME"
                )
            await gateways.remove(write, gateway)
            left = await gateway_machines.gone(write.connection, [it for it in known if it.name != name])
            await gateway_machines.forget_unjoined(write, left)
        machines = gateway_machines.messages(None, [it for it in left if it.host_id])
        return api_pb2.GatewayAnswer(sentence=f"gateway {name} is deleted", gone=machines)

    async def set_default(self, caller: Caller, name: str) -> api_pb2.GatewayAnswer:
        """Raises Denied, NotFound."""
        caller.must_be_admin("choose the default gateway")
        async with self._database.write(actor=caller.actor) as write:
            gateway = _named(name, await gateways.list_all(write.connection))
            if gateway.default:
                return api_pb2.GatewayAnswer(sentence=f"gateway {name} is the default already")
            await gateways.put(write, replace(gateway, default=True), f"gateway {name} is the default now")
        sentence = f"gateway {name} is the default now: it publishes what is applied from now on and names none"
        return api_pb2.GatewayAnswer(sentence=sentence)

    async def list(self) -> list[api_pb2.Gateway]:
        """By name."""
        async with self._database.read() as connection:
            known = await gateways.list_all(connection)
            by_id = await hosts.by_id(connection, {it.host_id for it in known if it.host_id})
            published = _services(await runs.list_unsettled(connection), known)
            kept = await certificates.list_all(connection)
            machines = await fleets.registered(connection)
        now_s = time.time()
        return [
            gateway_message(
                it,
                by_id.get(it.host_id),
                published.get(it.name, []),
                sources(kept, it),
                ca_of(kept, it),
                gateway_machines.progress_of(it, machines, now_s),
                now_s,
            )
            for it in known
        ]

    async def ca(self, name: str) -> api_pb2.GatewayCaResponse:
        """The certificate of its own CA; of the default gateway without a name. Raises NotFound, NotReady."""
        async with self._database.read() as connection:
            known = await gateways.list_all(connection)
            gateway = _named(name, known) if name else decide.choose(None, known)
            if gateway is None:
                raise NotFound("no gateway is the default; say which one: homeport gateway ca NAME")
            kept = await certificates.get(connection, gateway.name, CA)
        if gateway.certificate.type != "self-signed":
            what = decide.certificate_text(gateway.certificate)
            raise NotFound(f"gateway {gateway.name} has no CA of its own: its certificate is `{what}`")
        if kept is None:
            raise NotReady(f"the CA of gateway {gateway.name} is not made yet; ask again in a moment")
        return api_pb2.GatewayCaResponse(name=gateway.name, ca_pem=kept.chain_pem)

    async def watch(self) -> AsyncGenerator[api_pb2.ListGatewaysResponse, None]:
        """The list now, and again after each change."""
        with self._database.changes.subscribe("gateways", "hosts", "runs") as subscription:
            sent: api_pb2.ListGatewaysResponse | None = None
            while True:
                current = api_pb2.ListGatewaysResponse(gateways=await self.list())
                if current != sent:
                    sent = current
                    yield current
                await subscription.wait(KEEP_ALIVE_S)

    async def default(self) -> api_pb2.Gateway | None:
        return next((it for it in await self.list() if it.default), None)

    async def must_be_ready(self, name: str) -> None:
        """Wait a little for a gateway that is starting. Raises NotReady with the gateway's own reason."""
        deadline_s = time.monotonic() + self._start_s
        with self._database.changes.subscribe("gateways") as subscription:
            while True:
                async with self._database.read() as connection:
                    gateway = await gateways.get(connection, name)
                if gateway is None:
                    raise NotReady(f"gateway {name} was deleted; nothing was applied")
                if gateway.ready:
                    return
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or not gateway.host_id or "taken" in gateway.message:
                    raise NotReady(f"gateway {name} is not ready: {gateway.message}; nothing was applied")
                await subscription.wait(left_s)

    async def _planned(self, connection: AsyncConnection, json: str) -> _Planned:
        """Raises BadDocument."""
        spec = spec_of(json)
        known = await gateways.list_all(connection)
        there = await hosts.list_all(connection)
        before = meant(spec, known)
        machine = await gateway_machines.planned(connection, spec.host)
        host = machine.host if machine else decide.host_for(spec.host.hostname, there, self._local_addresses)
        wanted = wanted_of(spec, before, host, is_first=not known)
        of_host = machine.problems if machine else problems_of_host(spec.host.hostname, host, there)
        there_then = replace(wanted, host_id=host.id if host else "")
        problems = [*of_host, *decide.clashes(there_then, known)]
        if problems:
            raise BadDocument(problems)
        others = [it for it in known if it.name != wanted.name]
        left = await gateway_machines.gone(connection, [*others, there_then])
        if before is None:
            return _Planned(wanted, None, "create", (), host, machine, left)
        changes = decide.changes(before, wanted)
        # The server's own, applied as it is: from now on it is as the file says, whatever the server's settings are.
        same = not changes and before.applied == wanted.applied
        same = same and (machine is None or before.host_id == wanted.host_id)
        action = "unchanged" if same and not left and not (machine and machine.installs) else "update"
        return _Planned(wanted, before, action, changes, host, machine, left, is_kept=same)


def _properties(planned: _Planned) -> Iterable[tuple[str, str]]:
    wanted = planned.wanted
    yield "Configuration", "gateway"
    yield "Name", wanted.name
    yield "Domain", f"*.{wanted.domain}, models at {wanted.models_url}"
    yield "Host", _host_text(planned)
    yield "Listens on", decide.places(wanted) + (", HTTP/3 by UDP" if wanted.http3 else "")
    yield "Certificate", decide.certificate_text(wanted.certificate)
    yield "Default", "yes" if wanted.default else "no"


def _host_text(planned: _Planned) -> str:
    if planned.machine is not None:
        known_as = f", the host {planned.host.name}" if planned.host else ""
        return f"{planned.wanted.wanted_host} over SSH{known_as}: it runs gateways only"
    return planned.host.name if planned.host else f"{planned.wanted.wanted_host} ({gateways.NO_HOST})"


def _services(unsettled: Iterable[Run], known: Sequence[Gateway]) -> dict[str, list[str]]:
    """By gateway: the names of the runs that it publishes, sorted."""
    found: dict[str, list[str]] = {}
    for run in unsettled:
        if run.ended_at_s is None:
            gateway = decide.choose(spec_from_json((run.current or run.newest).spec_json).gateway, known)
            found.setdefault(gateway.name if gateway else "", []).append(run.name)
    return {name: sorted(names) for name, names in found.items()}


def _named(name: str, known: Iterable[Gateway]) -> Gateway:
    found = next((it for it in known if it.name == name), None)
    if found is None:
        raise NotFound(f"no gateway {name}; `homeport gateway list` shows all")
    return found

"""Composition root of the server: opens what it needs, joins the rooms by callbacks, one TaskGroup, stops in order.

Covers what is started and how it is joined. No decision and no protocol stands here.
"""

import asyncio
import fcntl
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from homeport_protos.agent.v1 import agent_pb2_grpc
from homeport_protos.api.v1 import api_pb2_grpc

from homeport_control import __version__
from homeport_control.agents.assignments import Assignments
from homeport_control.agents.code import CodeOut
from homeport_control.agents.convert import facts_from
from homeport_control.agents.enrollment import Enrollment, EnrollmentServicer
from homeport_control.agents.peaks import Peaks
from homeport_control.agents.server import LinkServicer
from homeport_control.agents.sessions import Sessions
from homeport_control.agents.telemetry import Telemetry
from homeport_control.agents.usage import UsageIn
from homeport_control.api.auth import check_metrics_reader
from homeport_control.api.fleets import new_token
from homeport_control.api.server import ApiFacts, ApiServicer, Joining
from homeport_control.api.tokens import create_join
from homeport_control.api.users import first_admin, new_admin_token
from homeport_control.data_plane import DataPlane
from homeport_control.domain.errors import Conflict
from homeport_control.domain.gateway import LOCAL, Gateway
from homeport_control.issuing import acme_client, dns_hook
from homeport_control.listeners import MAX_API_MESSAGE_BYTES, grpc_server, kept_key, web_server
from homeport_control.logs import configure_logs
from homeport_control.loops.acme import AcmeLoop
from homeport_control.loops.certificates import CertificatesLoop
from homeport_control.loops.collect import CollectLoop
from homeport_control.loops.liveness import LivenessLoop, forget_sessions
from homeport_control.loops.loop import Loop
from homeport_control.loops.on_demand import OnDemandLoop
from homeport_control.loops.outcomes import Outcomes
from homeport_control.loops.placement import PlacementLoop
from homeport_control.loops.pruning import PruningLoop
from homeport_control.loops.runs import RunsLoop
from homeport_control.loops.upgrades import UpgradesLoop
from homeport_control.machines.crew import Crew
from homeport_control.machines.errands import Errands
from homeport_control.metrics.page import CONTENT_TYPE, Page, Sources
from homeport_control.metrics.process import ApiCalls
from homeport_control.settings import ServerSettings
from homeport_control.store import events, gateways, meta
from homeport_control.store.code import CodeStore
from homeport_control.store.connect import Database, Write, migrate, open_database
from homeport_control.trust.ca import CertificateAuthority, public_key_pin
from homeport_control.trust.sealing import Sealer
from homeport_control.web.downloads import add_bundle as keep_bundle
from homeport_control.web.downloads import collect
from homeport_control.web.metrics import Metrics
from homeport_control.web.server import web_app

STOP_GRACE_S = 2.0
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Opened:
    """The server's state on disk, open."""

    database: Database
    ca: CertificateAuthority
    sealer: Sealer
    server_id: str


@asynccontextmanager
async def opened(settings: ServerSettings) -> AsyncIterator[Opened]:
    """Make or open the state directory: database (migrated), CA, sealing key."""
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    await asyncio.to_thread(migrate, settings.database)
    os.chmod(settings.database, 0o600)
    database = open_database(settings.database)
    try:
        async with database.write() as write:
            server_id = await meta.put_once(write, "server_id", uuid.uuid4().hex[:12])
        ca = CertificateAuthority.load_or_create(settings.state_dir, server_id)
        yield Opened(database, ca, Sealer.load_or_create(settings.state_dir / "secret.key"), server_id)
    finally:
        await database.close()


def own_gateway(settings: ServerSettings) -> Gateway:
    """The gateway that a fresh server has."""
    place = (settings.gateway_address, settings.gateway_port, settings.domain)
    return Gateway(LOCAL, "", *place, created_at_s=time.time())


async def initialise(settings: ServerSettings) -> dict[str, str]:
    """Everything that a server needs before its first start. The admin token is in the answer of the first time only."""
    async with opened(settings) as state:
        answer = {
            "server": f"{settings.bind}:{settings.api_port}",
            "ca": str(settings.state_dir / "ca.pem"),
            "ca_sha256": state.ca.sha256,
        }
        async with state.database.write() as write:
            first = uuid.uuid4().hex[:12]
            if await meta.put_once(write, "first_admin_token", first) == first:
                answer["token"] = await first_admin(write, time.time())
        return answer


async def join_token(settings: ServerSettings, fleet: str, ttl_s: float, *, one_use: bool) -> str:
    async with opened(settings) as state:
        return (await create_join(state.database, state.ca.sha256, fleet, ttl_s, one_use=one_use)).token


async def add_bundle(settings: ServerSettings, file: Path) -> str:
    """Serve a bundle of `homeport bundle` to all hosts; a running server does so at once. Returns its build."""
    downloads = await asyncio.to_thread(collect, __version__, settings.state_dir, settings.link_port)
    await asyncio.to_thread(keep_bundle, file, settings.state_dir, downloads.build)
    return downloads.build


async def admin_token(settings: ServerSettings) -> str:
    """A new token of an admin, when all were lost. Whoever may read the state directory may do this."""
    async with opened(settings) as state:
        return await new_admin_token(state.database)


async def run(settings: ServerSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises HomeportError when a port or the state directory is taken."""
    configure_logs()
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_server(settings.state_dir):
        async with opened(settings) as state:
            async with state.database.write() as write:
                sentence = f"the server {__version__} has started"
                events.record(write, kind="server", object_id=state.server_id, name="server", sentence=sentence)
                await gateways.put_own(write, own_gateway(settings))
            await forget_sessions(state.database, time.time())
            await _serve(settings, state)


async def _serve(settings: ServerSettings, state: Opened) -> None:
    database = state.database
    sessions = Sessions()
    peaks = Peaks(database)
    telemetry = Telemetry(peaks.heard)
    code = CodeStore(settings.code)
    assignments = Assignments(database, state.sealer, settings)
    data_plane = DataPlane(database, state.sealer.open)
    gateway = data_plane.gateway
    certificates = CertificatesLoop(database, state.sealer)
    obtain, account_key = acme_client.obtain, acme_client.new_account_key
    acme = AcmeLoop(database, state.sealer, obtain, account_key, gateway.proving, dns_hook.call)
    downloads = await asyncio.to_thread(collect, __version__, settings.state_dir, settings.link_port)
    upgrades = UpgradesLoop(database, downloads.build, sessions.upgrade)
    outcomes = Outcomes(database, sessions.is_connected)
    crew = Crew(Errands(downloads.script.decode(), settings.web_port).carry_out, outcomes)

    async def join_token_for(write: Write, fleet: str, now_s: float) -> str:
        return await new_token(write, state.ca.sha256, fleet, now_s)

    on_demand = OnDemandLoop(database, state.sealer, join_token_for, crew.send, crew.is_busy, settings.base_image)
    loops = [
        *data_plane.loops,
        Loop("on-demand", database.changes, OnDemandLoop.topics, on_demand.turn),
        Loop("upgrades", database.changes, UpgradesLoop.topics, upgrades.turn),
        Loop("runs", database.changes, RunsLoop.topics, RunsLoop(database, gateway.in_flight).turn),
        Loop("placement", database.changes, PlacementLoop.topics, PlacementLoop(database, settings.base_image).turn),
        Loop("acme", database.changes, AcmeLoop.topics, acme.turn),
        Loop("certificates", database.changes, CertificatesLoop.topics, certificates.turn),
        Loop("collect", database.changes, CollectLoop.topics, CollectLoop(database, code).turn),
        Loop("pruning", database.changes, PruningLoop.topics, PruningLoop(database).turn),
        Loop("liveness", database.changes, LivenessLoop.topics, LivenessLoop(database, settings.lost_after_s).turn),
    ]
    addresses = () if settings.bind in {"0.0.0.0", "::"} else (settings.bind,)  # noqa: S104
    pair = state.ca.server_pair(addresses, kept_key(settings.state_dir))
    enrollment = Enrollment(state.server_id, settings.link_port)
    calls = ApiCalls()
    api = grpc_server(
        settings.bind, settings.api_port, pair, max_message_bytes=MAX_API_MESSAGE_BYTES, interceptors=[calls]
    )
    agent_pb2_grpc.add_EnrollmentServicer_to_server(EnrollmentServicer(database, state.ca, enrollment), api)
    facts = ApiFacts(
        state.server_id,
        state.ca.sha256,
        settings.base_image,
        Joining(
            bind=settings.bind,
            web_port=settings.web_port,
            public_key_pin=public_key_pin(pair),
            build=downloads.build,
            script_sha256=downloads.script_sha256,
        ),
    )
    servicer = ApiServicer(
        database,
        state.sealer,
        facts,
        sessions.logs,
        code,
        read_stats=sessions.stats,
        read_rates=data_plane.rates.of,
        read_traffic=data_plane.traffic,
        readings=telemetry,
        clear_findings=sessions.clear_findings,
        end_session=sessions.end,
        read_facts=facts_from,
        publishers=gateway.publishers,
        ask_upgrade=upgrades.ask,
        scaling_of=data_plane.autoscale.said,
    )
    api_pb2_grpc.add_ApiServicer_to_server(servicer, api)
    link = grpc_server(settings.bind, settings.link_port, pair, client_ca=state.ca.pem)
    silence_s = settings.report_interval_s * settings.missed_reports
    link_servicer = LinkServicer(
        database,
        state.ca,
        sessions,
        assignments,
        state.server_id,
        settings.report_interval_s,
        silence_s,
        CodeOut(database, code),
        telemetry,
        UsageIn(database),
    )
    agent_pb2_grpc.add_AgentLinkServicer_to_server(link_servicer, link)
    data_plane.register(link)
    page = Page(
        database,
        Sources(
            telemetry.of,
            data_plane.load,
            data_plane.totals.of_services,
            data_plane.totals.envoys,
            loops,
            calls.registry,
            __version__,
        ),
    )
    numbers = Metrics(partial(check_metrics_reader, database), page.text, CONTENT_TYPE)
    web = web_server(
        web_app(state.ca.pem, downloads, [numbers.route]), settings.bind, settings.web_port, pair, settings.state_dir
    )
    await data_plane.start()
    stopping = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, stopping.set)
    async with asyncio.TaskGroup() as group:
        await api.start()
        await link.start()
        tasks = [group.create_task(loop.run(), name=loop.name) for loop in loops]
        tasks.append(group.create_task(peaks.run(), name="peaks"))
        tasks.append(group.create_task(crew.run(), name="crew"))
        serving = group.create_task(web.serve(), name="web")
        log.info("serving", api=settings.api_port, link=settings.link_port, gateway=settings.gateway_port)
        await stopping.wait()
        log.info("stopping: replicas and gateways go on without the server")
        web.should_exit = True
        await asyncio.gather(api.stop(STOP_GRACE_S), link.stop(STOP_GRACE_S), serving)
        for task in tasks:
            task.cancel()


@contextmanager
def only_server(state_dir: Path) -> Iterator[None]:
    """Hold the state directory's lock; the kernel lets it go with the process. Raises Conflict when it is held."""
    with (state_dir / "server.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(f"another server runs on {state_dir} already; stop it first or choose --state-dir") from None
        yield

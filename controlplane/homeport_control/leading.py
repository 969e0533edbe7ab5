"""What only the leader runs: loops, data plane, agents' sessions and the API, built anew for each term.

Covers what is started and how it is joined, until the term is over. What every server runs: app.py.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

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
from homeport_control.api.auth import Callers
from homeport_control.api.fleets import new_token
from homeport_control.api.server import ApiFacts, ApiServicer, Joining
from homeport_control.data_plane import DataPlane
from homeport_control.domain.errors import NotLeading
from homeport_control.domain.gateway import LOCAL, Gateway
from homeport_control.domain.leadership import Standing
from homeport_control.issuing import acme_client, dns_hook
from homeport_control.lag import Lag
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
from homeport_control.metrics.page import Page, Sources
from homeport_control.metrics.process import ApiCalls
from homeport_control.opening import Opened
from homeport_control.relay.door import Door
from homeport_control.relay.handlers import Handlers
from homeport_control.settings import ServerSettings
from homeport_control.store import events, gateways
from homeport_control.store.code import CodeStore
from homeport_control.store.code_copies import CodeCopies
from homeport_control.store.connect import Write
from homeport_control.trust.ca import KeyPair, public_key_pin
from homeport_control.web.downloads import Downloads
from homeport_control.web.metrics import Metrics

END_S = 2.0  # for calls that are ended to come to their end
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Premises:
    """What a server has whether it leads or not."""

    settings: ServerSettings
    state: Opened
    downloads: Downloads
    pair: KeyPair
    link_door: Door
    api_door: Door
    callers: Callers
    calls: ApiCalls
    lag: Lag
    numbers: Metrics


def own_gateway(settings: ServerSettings) -> Gateway:
    """The gateway that a fresh server has."""
    place = (settings.gateway_address, settings.gateway_port, settings.domain)
    return Gateway(LOCAL, "", *place, created_at_s=time.time())


class Leading:
    """One term. Builds everything; `run` starts it, and takes it down at its end."""

    def __init__(self, premises: Premises, standing: Standing) -> None:
        """`premises.state.database` refuses writes of any other term than this one."""
        settings, state = premises.settings, premises.state
        database = state.database
        self._premises, self._standing = premises, standing
        self._sessions = sessions = Sessions()
        self._peaks = Peaks(database)
        self._telemetry = Telemetry(self._peaks.heard)
        self._code = code = CodeStore(settings.code)
        self._copies = CodeCopies(database, code)
        self._data_plane = data_plane = DataPlane(database, state.sealer.open)
        gateway = data_plane.gateway
        certificates = CertificatesLoop(database, state.sealer)
        obtain, account_key = acme_client.obtain, acme_client.new_account_key
        acme = AcmeLoop(database, state.sealer, obtain, account_key, gateway.proving, dns_hook.call)
        self._upgrades = upgrades = UpgradesLoop(database, premises.downloads.build, sessions.upgrade)
        outcomes = Outcomes(database, sessions.is_connected)
        self._crew = crew = Crew(Errands(premises.downloads.script.decode(), settings.web_port).carry_out, outcomes)

        async def join_token_for(write: Write, fleet: str, now_s: float) -> str:
            return await new_token(write, state.ca.sha256, fleet, now_s)

        on_demand = OnDemandLoop(database, state.sealer, join_token_for, crew.send, crew.is_busy, settings.base_image)
        changes = database.changes
        self._loops = [
            *data_plane.loops,
            Loop("on-demand", changes, OnDemandLoop.topics, on_demand.turn),
            Loop("upgrades", changes, UpgradesLoop.topics, upgrades.turn),
            Loop("runs", changes, RunsLoop.topics, RunsLoop(database, gateway.in_flight).turn),
            Loop("placement", changes, PlacementLoop.topics, PlacementLoop(database, settings.base_image).turn),
            Loop("acme", changes, AcmeLoop.topics, acme.turn),
            Loop("certificates", changes, CertificatesLoop.topics, certificates.turn),
            Loop("collect", changes, CollectLoop.topics, CollectLoop(database, code).turn),
            Loop("pruning", changes, PruningLoop.topics, PruningLoop(database).turn),
            Loop("liveness", changes, LivenessLoop.topics, LivenessLoop(database, settings.lost_after_s).turn),
        ]

        readings = self._telemetry.of
        totals = data_plane.totals
        self._page = Page(
            database,
            Sources(
                readings, data_plane.load, totals.of_services, totals.envoys, self._loops, premises.calls.registry,
                premises.lag.at_most_s, __version__,
            ),
        )  # fmt: skip

    async def run(self, over: asyncio.Event, begun: Callable[[], object]) -> None:
        """Lead until `over`; `begun` is called when calls are answered.

        Raises NotLeading when the term is another's already, NotReady without a database.
        """
        await self._begin()
        await self._copies.pull()  # little: a server that follows has fetched what there was
        await self._data_plane.start()
        api, link = self._api(), self._link()
        try:
            await self._serve(over, begun, api, link)
        except* NotLeading:
            pass  # whoever met it has told the keeper of the lease

    async def _serve(self, over: asyncio.Event, begun: Callable[[], object], api: Handlers, link: Handlers) -> None:
        premises = self._premises
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(loop.run(), name=loop.name) for loop in self._loops]
            tasks.append(group.create_task(self._peaks.run(), name="peaks"))
            tasks.append(group.create_task(self._crew.run(), name="crew"))
            premises.link_door.open(Handlers.together(link, api))
            premises.api_door.open(api)
            premises.numbers.page = self._page.text
            begun()
            try:
                await over.wait()
            finally:
                premises.numbers.page = None
                await asyncio.gather(premises.api_door.close(END_S), premises.link_door.close(END_S))
                for task in tasks:
                    task.cancel()

    async def _begin(self) -> None:
        settings, state, standing = self._premises.settings, self._premises.state, self._standing
        async with state.database.write() as write:
            if standing.since_s:
                sentence = f"server {standing.name} leads, term {standing.term}: {standing.because}"
            else:
                sentence = f"the server {__version__} has started"
            events.record(write, kind="server", object_id=state.server_id, name="server", sentence=sentence)
            await gateways.put_own(write, own_gateway(settings))
        await forget_sessions(state.database, time.time())

    def _api(self) -> Handlers:
        settings, state, downloads = self._premises.settings, self._premises.state, self._premises.downloads
        sessions, data_plane = self._sessions, self._data_plane
        facts = ApiFacts(
            state.server_id,
            state.ca.sha256,
            settings.base_image,
            Joining(
                bind=settings.bind,
                web_port=settings.web_port,
                public_key_pin=public_key_pin(self._premises.pair),
                build=downloads.build,
                script_sha256=downloads.script_sha256,
            ),
            self._standing if self._standing.since_s else None,
        )
        servicer = ApiServicer(
            state.database,
            state.sealer,
            facts,
            sessions.logs,
            self._code,
            read_stats=sessions.stats,
            read_rates=data_plane.rates.of,
            read_traffic=data_plane.traffic,
            readings=self._telemetry,
            clear_findings=sessions.clear_findings,
            end_session=sessions.end,
            read_facts=facts_from,
            publishers=data_plane.gateway.publishers,
            ask_upgrade=self._upgrades.ask,
            scaling_of=data_plane.autoscale.said,
            callers=self._premises.callers,
            push_code=self._copies.push,
        )
        made = Handlers()
        api_pb2_grpc.add_ApiServicer_to_server(servicer, made.as_server)
        enrollment = EnrollmentServicer(state.database, state.ca, Enrollment(state.server_id, settings.link_port))
        agent_pb2_grpc.add_EnrollmentServicer_to_server(enrollment, made.as_server)
        return made

    def _link(self) -> Handlers:
        settings, state = self._premises.settings, self._premises.state
        servicer = LinkServicer(
            state.database,
            state.ca,
            self._sessions,
            Assignments(state.database, state.sealer, settings),
            state.server_id,
            settings.report_interval_s,
            settings.report_interval_s * settings.missed_reports,
            CodeOut(state.database, self._code),
            self._telemetry,
            UsageIn(state.database),
        )
        made = Handlers()
        agent_pb2_grpc.add_AgentLinkServicer_to_server(servicer, made.as_server)
        self._data_plane.register(made.as_server)
        return made

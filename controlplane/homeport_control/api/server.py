"""The API's methods, thin: authenticate, call what does it, answer. Errors become statuses in errors.py."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from homeport_protos.api.v1 import api_pb2, api_pb2_grpc
from homeport_protos.versions import PROTOCOL

from homeport_control import __version__
from homeport_control.api import events, tokens, users
from homeport_control.api.access import AccessLogs, Publishers
from homeport_control.api.auth import Caller, Callers
from homeport_control.api.code import CodeApi, Push
from homeport_control.api.drains import ClearFindings, drain, undrain
from homeport_control.api.errors import Context, answer, stream
from homeport_control.api.fleets import Fleets, ReadFacts
from homeport_control.api.gateways import Gateways
from homeport_control.api.hosts import Hosts
from homeport_control.api.logs import ReadLogs, RunLogs
from homeport_control.api.metrics import ReadRates, ReadStats, ReadTraffic, RunMetrics
from homeport_control.api.offers import list_offers
from homeport_control.api.plans import Plans
from homeport_control.api.readings import Readings
from homeport_control.api.removals import EndSession, remove_host
from homeport_control.api.rollbacks import roll_back
from homeport_control.api.scales import Scales
from homeport_control.api.stops import stop_runs
from homeport_control.api.upgrades import AskUpgrade, upgrade_hosts
from homeport_control.api.usage import usage_of
from homeport_control.api.views import ScalingOf, Views
from homeport_control.domain.leadership import Standing
from homeport_control.spec.base_image import DEFAULT_TEMPLATE
from homeport_control.store.code import CodeStore
from homeport_control.store.connect import Database
from homeport_control.trust.sealing import Sealer

GATEWAY_START_S = 20.0  # an apply right after the first start waits this long for the gateway before it is refused


@dataclass(frozen=True, slots=True)
class Joining:
    """What a host needs to know to come: where the install script is, and what proves that it is ours."""

    bind: str = "127.0.0.1"
    web_port: int = 7402
    public_key_pin: str = ""  # base64 of SHA-256, for curl
    build: str = ""  # of the agent
    script_sha256: str = ""


@dataclass(frozen=True, slots=True)
class ApiFacts:
    """What the API says of its server."""

    server_id: str
    ca_sha256: str
    base_image: str = DEFAULT_TEMPLATE
    joining: Joining = Joining()
    leader: Standing | None = None  # None: it is the only server


class ApiServicer(api_pb2_grpc.ApiServicer):
    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        facts: ApiFacts,
        read_logs: ReadLogs,
        code: CodeStore,
        *,
        read_stats: ReadStats,
        read_rates: ReadRates,
        read_traffic: ReadTraffic,
        readings: Readings,
        clear_findings: ClearFindings,
        end_session: EndSession,
        read_facts: ReadFacts,
        publishers: Publishers = lambda run_name: (),
        ask_upgrade: AskUpgrade = lambda host_ids: None,
        scaling_of: ScalingOf = lambda run_id: "",
        gateway_start_s: float = GATEWAY_START_S,
        push_code: Push | None = None,
        callers: Callers | None = None,
    ) -> None:
        self._database = database
        self._callers = callers or Callers(database)
        self._facts = facts
        self._gateways = Gateways(database, gateway_start_s, facts.ca_sha256)
        self._fleets = Fleets(database, sealer, facts.ca_sha256, read_facts)
        self._plans = Plans(database, sealer, code, self._gateways.must_be_ready, facts.base_image)
        self._scales = Scales(database, sealer)
        self._code = CodeApi(code) if push_code is None else CodeApi(code, push_code)
        self._code_store = code
        self._views = Views(database, readings, scaling_of)
        self._hosts = Hosts(database, readings)
        self._clear_findings = clear_findings
        self._end_session = end_session
        self._ask_upgrade = ask_upgrade
        self._logs = RunLogs(database, read_logs)
        self._access = AccessLogs(database, read_logs, publishers)
        self._metrics = RunMetrics(database, read_stats, read_rates, read_traffic, readings)

    async def GetServer(self, request: api_pb2.GetServerRequest, context: Context) -> api_pb2.GetServerResponse:
        async def method(caller: Caller) -> api_pb2.GetServerResponse:
            return api_pb2.GetServerResponse(
                server_id=self._facts.server_id,
                version=__version__,
                protocol=PROTOCOL,
                user=caller.name,
                role=caller.role,
                gateway=await self._gateways.default(),
                joining=self._joining(),
                leader=self._leader(),
            )

        return await answer(self._callers, context, method)

    def _leader(self) -> api_pb2.Leader | None:
        leader = self._facts.leader
        if leader is None:
            return None
        return api_pb2.Leader(name=leader.name, term=leader.term, since_s=leader.since_s)

    def _joining(self) -> api_pb2.Joining:
        facts = self._facts.joining
        return api_pb2.Joining(
            web_port=facts.web_port,
            public_key_pin=facts.public_key_pin,
            script_sha256=facts.script_sha256,
            build=facts.build,
            bind=facts.bind,
        )

    async def Plan(self, request: api_pb2.PlanRequest, context: Context) -> api_pb2.PlanResponse:
        return await answer(self._callers, context, lambda caller: self._plans.plan(caller, request))

    async def Apply(self, request: api_pb2.ApplyRequest, context: Context) -> api_pb2.ApplyResponse:
        return await answer(self._callers, context, lambda caller: self._plans.apply(caller, request))

    async def CheckCode(self, request: api_pb2.CheckCodeRequest, context: Context) -> api_pb2.CheckCodeResponse:
        return await answer(self._callers, context, lambda _caller: self._code.check(request))

    async def UploadCode(
        self, request_iterator: AsyncIterator[api_pb2.UploadCodeRequest], context: Context
    ) -> api_pb2.UploadCodeResponse:
        return await answer(self._callers, context, lambda _caller: self._code.upload(request_iterator))

    async def ListRuns(self, request: api_pb2.ListRunsRequest, context: Context) -> api_pb2.ListRunsResponse:
        return await answer(self._callers, context, lambda _caller: self._views.runs(request))

    async def WatchRuns(
        self, request: api_pb2.ListRunsRequest, context: Context
    ) -> AsyncIterator[api_pb2.ListRunsResponse]:
        async for response in stream(self._callers, context, lambda _caller: self._views.watch(request)):
            yield response

    async def StopRuns(self, request: api_pb2.StopRunsRequest, context: Context) -> api_pb2.StopRunsResponse:
        return await answer(self._callers, context, lambda caller: stop_runs(self._database, caller, request))

    async def Rollback(self, request: api_pb2.RollbackRequest, context: Context) -> api_pb2.RollbackResponse:
        method = partial(roll_back, self._database, self._code_store)
        return await answer(self._callers, context, lambda caller: method(caller, request))

    async def Scale(self, request: api_pb2.ScaleRequest, context: Context) -> api_pb2.ScaleResponse:
        return await answer(self._callers, context, lambda caller: self._scales.scale(caller, request))

    async def Logs(self, request: api_pb2.LogsRequest, context: Context) -> AsyncIterator[api_pb2.LogsResponse]:
        logs = self._access if request.access else self._logs
        async for response in stream(self._callers, context, lambda _caller: logs.stream(request)):
            yield response

    async def Usage(self, request: api_pb2.UsageRequest, context: Context) -> api_pb2.UsageResponse:
        return await answer(self._callers, context, lambda caller: usage_of(self._database, caller, request))

    async def Events(self, request: api_pb2.EventsRequest, context: Context) -> AsyncIterator[api_pb2.EventsResponse]:
        async for response in stream(self._callers, context, lambda _caller: events.stream(self._database, request)):
            yield response

    async def Metrics(
        self, request: api_pb2.MetricsRequest, context: Context
    ) -> AsyncIterator[api_pb2.MetricsResponse]:
        async for response in stream(self._callers, context, lambda _caller: self._metrics.stream(request)):
            yield response

    async def ListHosts(self, request: api_pb2.ListHostsRequest, context: Context) -> api_pb2.ListHostsResponse:
        return await answer(self._callers, context, lambda _caller: self._hosts.list(request))

    async def WatchHosts(
        self, request: api_pb2.ListHostsRequest, context: Context
    ) -> AsyncIterator[api_pb2.ListHostsResponse]:
        async for response in stream(self._callers, context, lambda _caller: self._hosts.watch(request)):
            yield response

    async def Drain(self, request: api_pb2.DrainRequest, context: Context) -> api_pb2.DrainResponse:
        return await answer(self._callers, context, lambda caller: drain(self._database, caller, request))

    async def Undrain(self, request: api_pb2.DrainRequest, context: Context) -> api_pb2.DrainResponse:
        method = partial(undrain, self._database, self._clear_findings)
        return await answer(self._callers, context, lambda caller: method(caller, request))

    async def DeleteHost(self, request: api_pb2.DeleteHostRequest, context: Context) -> api_pb2.DeleteHostResponse:
        method = partial(remove_host, self._database, self._end_session)
        return await answer(self._callers, context, lambda caller: method(caller, request))

    async def ListOffers(self, request: api_pb2.ListOffersRequest, context: Context) -> api_pb2.ListOffersResponse:
        return await answer(self._callers, context, lambda _caller: list_offers(self._database, request))

    async def ListGateways(
        self, request: api_pb2.ListGatewaysRequest, context: Context
    ) -> api_pb2.ListGatewaysResponse:
        async def method(_caller: Caller) -> api_pb2.ListGatewaysResponse:
            return api_pb2.ListGatewaysResponse(gateways=await self._gateways.list())

        return await answer(self._callers, context, method)

    async def WatchGateways(
        self, request: api_pb2.ListGatewaysRequest, context: Context
    ) -> AsyncIterator[api_pb2.ListGatewaysResponse]:
        async for response in stream(self._callers, context, lambda _caller: self._gateways.watch()):
            yield response

    async def PlanGateway(self, request: api_pb2.PlanGatewayRequest, context: Context) -> api_pb2.PlanGatewayResponse:
        return await answer(self._callers, context, lambda _caller: self._gateways.plan(request))

    async def ApplyGateway(self, request: api_pb2.PlanGatewayRequest, context: Context) -> api_pb2.ApplyGatewayResponse:
        return await answer(self._callers, context, lambda caller: self._gateways.apply(caller, request))

    async def DeleteGateway(self, request: api_pb2.GatewayRequest, context: Context) -> api_pb2.GatewayAnswer:
        return await answer(self._callers, context, lambda caller: self._gateways.delete(caller, request.name))

    async def GetGatewayCa(self, request: api_pb2.GatewayRequest, context: Context) -> api_pb2.GatewayCaResponse:
        return await answer(self._callers, context, lambda _caller: self._gateways.ca(request.name))

    async def SetDefaultGateway(self, request: api_pb2.GatewayRequest, context: Context) -> api_pb2.GatewayAnswer:
        return await answer(self._callers, context, lambda caller: self._gateways.set_default(caller, request.name))

    async def CreateJoinToken(
        self, request: api_pb2.CreateJoinTokenRequest, context: Context
    ) -> api_pb2.CreateJoinTokenResponse:
        async def method(caller: Caller) -> api_pb2.CreateJoinTokenResponse:
            caller.must_be_admin("let hosts join")
            made = await tokens.create_join(
                self._database,
                self._facts.ca_sha256,
                request.fleet,
                request.ttl_s,
                one_use=request.one_use,
                actor=caller.actor,
            )
            made.joining.MergeFrom(self._joining())
            return made

        return await answer(self._callers, context, method)

    async def PlanFleet(self, request: api_pb2.PlanFleetRequest, context: Context) -> api_pb2.PlanFleetResponse:
        return await answer(self._callers, context, lambda _caller: self._fleets.plan(request))

    async def ApplyFleet(self, request: api_pb2.PlanFleetRequest, context: Context) -> api_pb2.ApplyFleetResponse:
        return await answer(self._callers, context, lambda caller: self._fleets.apply(caller, request))

    async def ReportRegistration(
        self, request: api_pb2.RegistrationReport, context: Context
    ) -> api_pb2.RegistrationAnswer:
        return await answer(self._callers, context, lambda caller: self._fleets.report(caller, request))

    async def UpgradeHosts(
        self, request: api_pb2.UpgradeHostsRequest, context: Context
    ) -> api_pb2.UpgradeHostsResponse:
        async def method(caller: Caller) -> api_pb2.UpgradeHostsResponse:
            build = self._facts.joining.build
            return await upgrade_hosts(self._database, self._ask_upgrade, caller, build, request)

        return await answer(self._callers, context, method)

    async def DeleteFleet(self, request: api_pb2.DeleteFleetRequest, context: Context) -> api_pb2.DeleteFleetResponse:
        return await answer(self._callers, context, lambda caller: self._fleets.delete(caller, request.name))

    async def CreateToken(self, request: api_pb2.CreateTokenRequest, context: Context) -> api_pb2.CreateTokenResponse:
        return await answer(self._callers, context, lambda caller: tokens.create(self._database, caller, request))

    async def ListTokens(self, request: api_pb2.ListTokensRequest, context: Context) -> api_pb2.ListTokensResponse:
        return await answer(self._callers, context, lambda caller: tokens.list_all(self._database, caller))

    async def RevokeToken(self, request: api_pb2.RevokeTokenRequest, context: Context) -> api_pb2.RevokeTokenResponse:
        return await answer(self._callers, context, lambda caller: tokens.revoke(self._database, caller, request.id))

    async def CreateUser(self, request: api_pb2.CreateUserRequest, context: Context) -> api_pb2.CreateUserResponse:
        return await answer(self._callers, context, lambda caller: users.create(self._database, caller, request))

    async def ListUsers(self, request: api_pb2.ListUsersRequest, context: Context) -> api_pb2.ListUsersResponse:
        return await answer(self._callers, context, lambda _caller: users.list_all(self._database))

    async def DeleteUser(self, request: api_pb2.DeleteUserRequest, context: Context) -> api_pb2.DeleteUserResponse:
        return await answer(self._callers, context, lambda caller: users.delete(self._database, caller, request.name))

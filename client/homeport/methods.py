"""The methods of the API, one line each: what is asked and what is answered. A test holds the table to api.proto."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message
from homeport_protos.api.v1 import api_pb2 as pb

Ask = TypeVar("Ask", bound=Message)
Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True, slots=True)
class Method(Generic[Ask, Answer]):
    name: str
    ask: type[Ask]
    answer: type[Answer]

    @property
    def path(self) -> str:
        return f"/homeport_protos.api.v1.Api/{self.name}"


APPLY = Method("Apply", pb.ApplyRequest, pb.ApplyResponse)
APPLY_FLEET = Method("ApplyFleet", pb.PlanFleetRequest, pb.ApplyFleetResponse)
APPLY_GATEWAY = Method("ApplyGateway", pb.PlanGatewayRequest, pb.ApplyGatewayResponse)
CHECK_CODE = Method("CheckCode", pb.CheckCodeRequest, pb.CheckCodeResponse)
CREATE_JOIN_TOKEN = Method("CreateJoinToken", pb.CreateJoinTokenRequest, pb.CreateJoinTokenResponse)
CREATE_TOKEN = Method("CreateToken", pb.CreateTokenRequest, pb.CreateTokenResponse)
CREATE_USER = Method("CreateUser", pb.CreateUserRequest, pb.CreateUserResponse)
DELETE_FLEET = Method("DeleteFleet", pb.DeleteFleetRequest, pb.DeleteFleetResponse)
DELETE_GATEWAY = Method("DeleteGateway", pb.GatewayRequest, pb.GatewayAnswer)
DELETE_HOST = Method("DeleteHost", pb.DeleteHostRequest, pb.DeleteHostResponse)
DELETE_USER = Method("DeleteUser", pb.DeleteUserRequest, pb.DeleteUserResponse)
DRAIN = Method("Drain", pb.DrainRequest, pb.DrainResponse)
EVENTS = Method("Events", pb.EventsRequest, pb.EventsResponse)
GET_GATEWAY_CA = Method("GetGatewayCa", pb.GatewayRequest, pb.GatewayCaResponse)
GET_SERVER = Method("GetServer", pb.GetServerRequest, pb.GetServerResponse)
LIST_GATEWAYS = Method("ListGateways", pb.ListGatewaysRequest, pb.ListGatewaysResponse)
LIST_HOSTS = Method("ListHosts", pb.ListHostsRequest, pb.ListHostsResponse)
LIST_OFFERS = Method("ListOffers", pb.ListOffersRequest, pb.ListOffersResponse)
LIST_RUNS = Method("ListRuns", pb.ListRunsRequest, pb.ListRunsResponse)
LIST_TOKENS = Method("ListTokens", pb.ListTokensRequest, pb.ListTokensResponse)
LIST_USERS = Method("ListUsers", pb.ListUsersRequest, pb.ListUsersResponse)
LOGS = Method("Logs", pb.LogsRequest, pb.LogsResponse)
METRICS = Method("Metrics", pb.MetricsRequest, pb.MetricsResponse)
PLAN = Method("Plan", pb.PlanRequest, pb.PlanResponse)
PLAN_FLEET = Method("PlanFleet", pb.PlanFleetRequest, pb.PlanFleetResponse)
PLAN_GATEWAY = Method("PlanGateway", pb.PlanGatewayRequest, pb.PlanGatewayResponse)
REPORT_REGISTRATION = Method("ReportRegistration", pb.RegistrationReport, pb.RegistrationAnswer)
REVOKE_TOKEN = Method("RevokeToken", pb.RevokeTokenRequest, pb.RevokeTokenResponse)
ROLLBACK = Method("Rollback", pb.RollbackRequest, pb.RollbackResponse)
SCALE = Method("Scale", pb.ScaleRequest, pb.ScaleResponse)
SET_DEFAULT_GATEWAY = Method("SetDefaultGateway", pb.GatewayRequest, pb.GatewayAnswer)
STOP_RUNS = Method("StopRuns", pb.StopRunsRequest, pb.StopRunsResponse)
UNDRAIN = Method("Undrain", pb.DrainRequest, pb.DrainResponse)
UPGRADE_HOSTS = Method("UpgradeHosts", pb.UpgradeHostsRequest, pb.UpgradeHostsResponse)
UPLOAD_CODE = Method("UploadCode", pb.UploadCodeRequest, pb.UploadCodeResponse)
USAGE = Method("Usage", pb.UsageRequest, pb.UsageResponse)
WATCH_GATEWAYS = Method("WatchGateways", pb.ListGatewaysRequest, pb.ListGatewaysResponse)
WATCH_HOSTS = Method("WatchHosts", pb.ListHostsRequest, pb.ListHostsResponse)
WATCH_RUNS = Method("WatchRuns", pb.ListRunsRequest, pb.ListRunsResponse)

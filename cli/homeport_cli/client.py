"""The one seam to the server: typed calls over gRPC with TLS, a bearer token and a deadline each.

Every failure leaves as a CliError with one line. Blocking on purpose: a command does one thing at a time, and Ctrl-C
ends any of these waits. What it does not cover: the wording of errors (`errors`), where the server is (`config`).
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # the C core would print its own lines into ours

import grpc
from homeport_protos.api.v1 import api_pb2
from homeport_protos.common.v1.code_pb2 import CodeManifest

from homeport_cli.config import Config
from homeport_cli.errors import CliError, TooSlow, Unreachable, status_error
from homeport_cli.logfollow import LogReader

SERVER_NAME = "homeport-server"  # a SAN of every server's certificate, whatever address it is called by
CALL_DEADLINE_S = 30.0
WATCH_DEADLINE_S = 300.0  # then the watch is opened anew: the first answer of one is the whole list, nothing is lost
LOGS_DEADLINE_S = 7 * 86400.0
RECONNECT_FOR_S = 60.0
RECONNECT_EVERY_S = 1.0
OPTIONS = [
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.enable_http_proxy", 0),  # the server is on the owner's network, not behind a web proxy
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5000),  # so long may one try take, its handshakes included: a far or busy server
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Slower than the 5 minutes below which a gRPC server calls pings abuse; finds a dead peer under `logs -f`.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]

Answer = TypeVar("Answer")


class Api:
    """The server's API. Use as a context manager; each method raises CliError."""

    def __init__(self, config: Config, deadline_s: float = CALL_DEADLINE_S) -> None:
        """`deadline_s`: of each call that is no stream."""
        self._server = config.server
        self._deadline_s = deadline_s
        self._metadata = (("authorization", f"Bearer {config.token}"),)
        try:
            credentials = grpc.ssl_channel_credentials(config.ca_pem.encode())
            self._channel = grpc.secure_channel(config.server, credentials, options=OPTIONS)
        except ValueError:
            raise CliError("the CA certificate is not valid; run `homeport login` again") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def get_server(self) -> api_pb2.GetServerResponse:
        return self._call("GetServer", api_pb2.GetServerRequest(), api_pb2.GetServerResponse)

    def plan(self, document: api_pb2.Document) -> api_pb2.PlanResponse:
        return self._call("Plan", api_pb2.PlanRequest(document=document), api_pb2.PlanResponse)

    def apply(self, request: api_pb2.ApplyRequest) -> api_pb2.ApplyResponse:
        return self._call("Apply", request, api_pb2.ApplyResponse)

    def check_code(self, manifest: CodeManifest) -> api_pb2.CheckCodeResponse:
        return self._call("CheckCode", api_pb2.CheckCodeRequest(manifest=manifest), api_pb2.CheckCodeResponse)

    def upload_code(self, messages: Iterable[api_pb2.UploadCodeRequest], deadline_s: float) -> None:
        """Send them as fast as the server takes them. What `messages` raises ends the upload and is raised here."""
        trouble: list[Exception] = []
        is_open = threading.Event()

        def watched() -> Iterator[api_pb2.UploadCodeRequest]:
            """In a thread of gRPC's: an exception that left here would be printed by it, and an end would look whole."""
            try:
                yield from messages
            except Exception as error:  # raised below, where the caller is
                trouble.append(error)
                if is_open.wait(CALL_DEADLINE_S):
                    call.cancel()

        open_stream = self._channel.stream_unary(
            _path("UploadCode"),
            api_pb2.UploadCodeRequest.SerializeToString,
            _parser(api_pb2.UploadCodeResponse),
        )
        call = open_stream.future(watched(), timeout=deadline_s, metadata=self._metadata)
        is_open.set()
        try:
            call.result()
        except (grpc.RpcError, grpc.FutureCancelledError):
            if trouble:
                raise trouble[0] from None
            raise status_error(call.code().name, call.details() or "", self._server, deadline_s) from None
        finally:
            call.cancel()

    def list_runs(self, *, finished: bool = False, names: Sequence[str] = ()) -> api_pb2.ListRunsResponse:
        request = api_pb2.ListRunsRequest(all=finished, names=names)
        return self._call("ListRuns", request, api_pb2.ListRunsResponse)

    def stop_runs(self, names: Sequence[str], *, abort: bool = False) -> api_pb2.StopRunsResponse:
        return self._call("StopRuns", api_pb2.StopRunsRequest(names=names, abort=abort), api_pb2.StopRunsResponse)

    def rollback(self, name: str, *, plan_only: bool = False, from_revision: int = 0) -> api_pb2.RollbackResponse:
        request = api_pb2.RollbackRequest(name=name, plan_only=plan_only, from_revision=from_revision)
        return self._call("Rollback", request, api_pb2.RollbackResponse)

    def list_hosts(self, request: api_pb2.ListHostsRequest | None = None) -> api_pb2.ListHostsResponse:
        return self._call("ListHosts", request or api_pb2.ListHostsRequest(), api_pb2.ListHostsResponse)

    def drain(self, host: str, gpus: Sequence[str]) -> str:
        """What was done, in a sentence."""
        request = api_pb2.DrainRequest(host=host, gpu_uuids=gpus)
        return self._call("Drain", request, api_pb2.DrainResponse).sentence

    def undrain(self, host: str, gpus: Sequence[str]) -> str:
        """What was done, in a sentence."""
        request = api_pb2.DrainRequest(host=host, gpu_uuids=gpus)
        return self._call("Undrain", request, api_pb2.DrainResponse).sentence

    def delete_host(self, host: str, *, force: bool) -> str:
        """What was done, in a sentence."""
        request = api_pb2.DeleteHostRequest(host=host, force=force)
        return self._call("DeleteHost", request, api_pb2.DeleteHostResponse).sentence

    def list_gateways(self) -> api_pb2.ListGatewaysResponse:
        return self._call("ListGateways", api_pb2.ListGatewaysRequest(), api_pb2.ListGatewaysResponse)

    def watch_gateways(self, deadline_s: float) -> Iterator[api_pb2.ListGatewaysResponse]:
        """The whole list, at once and after each change. Raises TooSlow when the deadline is over."""
        yield from self._stream(
            "WatchGateways", api_pb2.ListGatewaysRequest(), api_pb2.ListGatewaysResponse, deadline_s
        )

    def plan_gateway(self, document_json: str) -> api_pb2.PlanGatewayResponse:
        return self._call("PlanGateway", api_pb2.PlanGatewayRequest(json=document_json), api_pb2.PlanGatewayResponse)

    def apply_gateway(
        self, document_json: str, plan_token: str, *, reinstall: bool = False
    ) -> api_pb2.ApplyGatewayResponse:
        request = api_pb2.PlanGatewayRequest(json=document_json, plan_token=plan_token, reinstall=reinstall)
        return self._call("ApplyGateway", request, api_pb2.ApplyGatewayResponse)

    def delete_gateway(self, name: str) -> api_pb2.GatewayAnswer:
        return self._call("DeleteGateway", api_pb2.GatewayRequest(name=name), api_pb2.GatewayAnswer)

    def get_gateway_ca(self, name: str) -> api_pb2.GatewayCaResponse:
        """Of the default gateway without a name."""
        return self._call("GetGatewayCa", api_pb2.GatewayRequest(name=name), api_pb2.GatewayCaResponse)

    def set_default_gateway(self, name: str) -> str:
        """What was done, in a sentence."""
        return self._call("SetDefaultGateway", api_pb2.GatewayRequest(name=name), api_pb2.GatewayAnswer).sentence

    def list_offers(self, request: api_pb2.ListOffersRequest) -> api_pb2.ListOffersResponse:
        return self._call("ListOffers", request, api_pb2.ListOffersResponse)

    def plan_fleet(self, document_json: str) -> api_pb2.PlanFleetResponse:
        return self._call("PlanFleet", api_pb2.PlanFleetRequest(json=document_json), api_pb2.PlanFleetResponse)

    def apply_fleet(self, document_json: str, server: str, *, reinstall: bool) -> api_pb2.ApplyFleetResponse:
        """`server`: HOST:PORT as the hosts reach it."""
        request = api_pb2.PlanFleetRequest(json=document_json, reinstall=reinstall, server=server)
        return self._call("ApplyFleet", request, api_pb2.ApplyFleetResponse)

    def report_registration(self, report: api_pb2.RegistrationReport) -> None:
        self._call("ReportRegistration", report, api_pb2.RegistrationAnswer)

    def upgrade_hosts(self, names: Sequence[str]) -> api_pb2.UpgradeHostsResponse:
        request = api_pb2.UpgradeHostsRequest(hosts=names)
        return self._call("UpgradeHosts", request, api_pb2.UpgradeHostsResponse)

    def delete_fleet(self, name: str) -> str:
        return self._call("DeleteFleet", api_pb2.DeleteFleetRequest(name=name), api_pb2.DeleteFleetResponse).sentence

    def create_join_token(self, fleet: str, ttl_s: float, *, one_use: bool) -> api_pb2.CreateJoinTokenResponse:
        request = api_pb2.CreateJoinTokenRequest(fleet=fleet, ttl_s=ttl_s, one_use=one_use)
        return self._call("CreateJoinToken", request, api_pb2.CreateJoinTokenResponse)

    def create_token(self, request: api_pb2.CreateTokenRequest) -> api_pb2.CreateTokenResponse:
        return self._call("CreateToken", request, api_pb2.CreateTokenResponse)

    def list_tokens(self) -> api_pb2.ListTokensResponse:
        return self._call("ListTokens", api_pb2.ListTokensRequest(), api_pb2.ListTokensResponse)

    def revoke_token(self, token: str) -> api_pb2.RevokeTokenResponse:
        return self._call("RevokeToken", api_pb2.RevokeTokenRequest(id=token), api_pb2.RevokeTokenResponse)

    def create_user(self, name: str, role: str, ttl_s: float) -> api_pb2.CreateUserResponse:
        request = api_pb2.CreateUserRequest(name=name, role=role, ttl_s=ttl_s)
        return self._call("CreateUser", request, api_pb2.CreateUserResponse)

    def list_users(self) -> api_pb2.ListUsersResponse:
        return self._call("ListUsers", api_pb2.ListUsersRequest(), api_pb2.ListUsersResponse)

    def delete_user(self, name: str) -> api_pb2.DeleteUserResponse:
        return self._call("DeleteUser", api_pb2.DeleteUserRequest(name=name), api_pb2.DeleteUserResponse)

    def logs(
        self, request: api_pb2.LogsRequest, *, on_trouble: Callable[[str], None] = lambda line: None
    ) -> Iterator[api_pb2.LogsResponse]:
        """As the server sends them; with `follow` until the run ends, over a server that goes away and comes back."""
        if not request.follow:
            yield from self._stream("Logs", request, api_pb2.LogsResponse, LOGS_DEADLINE_S)
            return
        reader, end = LogReader(request), api_pb2.LogsResponse()

        def opened() -> Iterator[api_pb2.LogsResponse]:
            yield from self._stream("Logs", reader.request(), api_pb2.LogsResponse, LOGS_DEADLINE_S)
            yield end

        for answer in self._watched(opened, on_trouble):
            if answer is end:
                return
            yield answer
            reader.note(answer)

    def metrics(
        self, request: api_pb2.MetricsRequest, *, on_trouble: Callable[[str], None] = lambda line: None
    ) -> Iterator[api_pb2.MetricsResponse]:
        """One answer; with `follow` one each interval until the run ends, over a server that goes away and comes back."""
        if not request.follow:
            yield from self._stream("Metrics", request, api_pb2.MetricsResponse, CALL_DEADLINE_S)
            return
        end = api_pb2.MetricsResponse()

        def opened() -> Iterator[api_pb2.MetricsResponse]:
            yield from self._stream("Metrics", request, api_pb2.MetricsResponse, WATCH_DEADLINE_S)
            yield end

        for answer in self._watched(opened, on_trouble):
            if answer is end:
                return
            yield answer

    def watch_runs(
        self,
        *,
        finished: bool = False,
        names: Sequence[str] = (),
        on_trouble: Callable[[str], None] = lambda line: None,
    ) -> Iterator[api_pb2.ListRunsResponse]:
        """The whole list, at once and after each change, without an end.

        A server that goes away is waited for (RECONNECT_FOR_S): what runs goes on without it, so a watcher may too.
        `on_trouble` hears one line when that begins.
        """
        request = api_pb2.ListRunsRequest(all=finished, names=names)
        yield from self._watched(
            lambda: self._stream("WatchRuns", request, api_pb2.ListRunsResponse, WATCH_DEADLINE_S), on_trouble
        )

    def watch_hosts(
        self, request: api_pb2.ListHostsRequest, *, on_trouble: Callable[[str], None] = lambda line: None
    ) -> Iterator[api_pb2.ListHostsResponse]:
        """The hosts, at once and after each change, once a second at most, without an end. As `watch_runs`."""
        yield from self._watched(
            lambda: self._stream("WatchHosts", request, api_pb2.ListHostsResponse, WATCH_DEADLINE_S), on_trouble
        )

    def usage(self, request: api_pb2.UsageRequest) -> api_pb2.UsageResponse:
        return self._call("Usage", request, api_pb2.UsageResponse)

    def events(self, request: api_pb2.EventsRequest) -> Iterator[api_pb2.EventsResponse]:
        """What is there of them; `watch_events` goes on."""
        yield from self._stream("Events", request, api_pb2.EventsResponse, CALL_DEADLINE_S)

    def watch_events(
        self, request: api_pb2.EventsRequest, *, on_trouble: Callable[[str], None] = lambda line: None
    ) -> Iterator[api_pb2.EventsResponse]:
        """Without an end; over a server that goes away none is lost and none comes twice. `request.after_id` is moved."""
        request.follow = True
        for answer in self._watched(
            lambda: self._stream("Events", request, api_pb2.EventsResponse, WATCH_DEADLINE_S), on_trouble
        ):
            request.after_id = answer.last_id
            yield answer

    def _watched(
        self, open_stream: Callable[[], Iterator[Answer]], on_trouble: Callable[[str], None]
    ) -> Iterator[Answer]:
        """A stream that is opened anew whenever it ends, for RECONNECT_FOR_S after it was last heard."""
        lost_at_s: float | None = None
        was_answered = False
        while True:
            try:
                for answer in open_stream():
                    was_answered, lost_at_s = True, None
                    yield answer
                trouble = Unreachable(f"the server at {self._server} ended the watch")
            except TooSlow:
                if not was_answered:
                    raise
                continue  # nothing but the stream's own deadline
            except Unreachable as error:
                if not was_answered:
                    raise
                trouble = error
            if lost_at_s is None:
                lost_at_s = time.monotonic()
                on_trouble(f"{trouble}; trying again for {RECONNECT_FOR_S:g} s")
            elif time.monotonic() - lost_at_s > RECONNECT_FOR_S:
                raise trouble
            time.sleep(RECONNECT_EVERY_S)

    def _call(self, method: str, request: Any, answer: type[Answer]) -> Answer:
        call = self._channel.unary_unary(_path(method), type(request).SerializeToString, _parser(answer))
        try:
            return call(request, timeout=self._deadline_s, metadata=self._metadata)
        except grpc.RpcError as error:
            self._fail(error, self._deadline_s)

    def _stream(self, method: str, request: Any, answer: type[Answer], deadline_s: float) -> Iterator[Answer]:
        open_stream = self._channel.unary_stream(_path(method), type(request).SerializeToString, _parser(answer))
        call = open_stream(request, timeout=deadline_s, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            self._fail(error, deadline_s)
        except RuntimeError as error:
            # A Ctrl-C in the very moment in which gRPC takes its lock: leaving the lock fails over it.
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
        finally:
            call.cancel()

    def _fail(self, error: grpc.RpcError, deadline_s: float) -> NoReturn:
        # Every error of a grpc call is a grpc.Call too; the base class RpcError just does not say so.
        code, message = error.code(), error.details() or ""
        raise status_error(code.name, message, self._server, deadline_s) from None


def _path(method: str) -> str:
    service = api_pb2.DESCRIPTOR.services_by_name["Api"]
    return f"/{service.full_name}/{service.methods_by_name[method].name}"


def _parser(answer: type[Answer]) -> Callable[[bytes], Answer]:
    parse: Callable[[bytes], Answer] = answer.FromString  # type: ignore[attr-defined]
    return parse

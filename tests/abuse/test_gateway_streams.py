"""A gateway's host that was taken over, or an Envoy that is broken: its streams are cut or held back, the others go on."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import pytest
from envoy.service.auth.v3 import external_auth_pb2
from envoy.service.discovery.v3 import discovery_pb2
from envoy.service.load_stats.v3 import lrs_pb2
from fixtures.hostile import ANSWER_S, HostileHost, Victim, bearer
from fixtures.messages import messages
from homeport_protos.api.v1 import api_pb2
from homeport_protos.envoy.v1 import metrics_pb2
from hypothesis import HealthCheck, Phase, given, settings
from rig.stack import wait_for

MOST_GROWTH_MIB = 150.0
KINDS: dict[str, tuple[str, Any, Any]] = {
    "ads": (
        "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        discovery_pb2.DeltaDiscoveryRequest,
        discovery_pb2.DeltaDiscoveryResponse,
    ),
    "lrs": (
        "envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats",
        lrs_pb2.LoadStatsRequest,
        lrs_pb2.LoadStatsResponse,
    ),
    "metrics": (
        "envoy.service.metrics.v3.MetricsService/StreamMetrics",
        metrics_pb2.StreamMetricsMessage,
        metrics_pb2.StreamMetricsResponse,
    ),
}
CHECK = "/envoy.service.auth.v3.Authorization/Check"


@pytest.fixture(scope="module")
def gateway(server: Victim) -> HostileHost:
    """A host with the role of the gateway `evil`."""
    host = HostileHost(server, "evil-gate")
    file = {
        "type": "gateway",
        "name": "evil",
        "host": {"hostname": "evil-gate"},
        "domain": "evil.example.org",
        "certificate": None,
    }
    answer = server.stub.ApplyGateway(
        api_pb2.PlanGatewayRequest(json=json.dumps(file)), metadata=bearer("admin"), timeout=ANSWER_S
    )
    assert not answer.problems, answer.problems

    def is_known() -> bool:
        return asyncio.run(answered(host, "ads", first("ads", f"{host.host_id}/evil")))

    wait_for("the server knows its gateway", is_known, ANSWER_S)
    return host


def first(kind: str, node: str) -> Any:
    message = KINDS[kind][1]()
    (message.identifier.node if kind == "metrics" else message.node).id = node
    if kind == "ads":
        message.type_url = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    return message


def call_of(channel: grpc.aio.Channel, kind: str) -> Any:
    path, request, response = KINDS[kind]
    make = channel.stream_unary if kind == "metrics" else channel.stream_stream
    return make(f"/{path}", request_serializer=request.SerializeToString, response_deserializer=response.FromString)(
        timeout=60
    )


async def answered(host: HostileHost, kind: str, message: Any) -> bool:
    async with host.channel() as channel:
        call = call_of(channel, kind)
        await call.write(message)
        try:
            await asyncio.wait_for(call.read(), 3.0)
        except (grpc.aio.AioRpcError, TimeoutError):
            return False
        return True


@asynccontextmanager
async def bounded(server: Victim) -> AsyncIterator[None]:
    before_mib = server.rss_mib
    yield
    await asyncio.to_thread(server.must_be_well)
    assert server.rss_mib - before_mib < MOST_GROWTH_MIB


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "node", ["", "h1", "h1/local", "nobody/evil", "x" * 100_000, "\0", "{host}/other", "{host}/evil/keeper/x"]
)
async def test_who_says_it_is_another_gateway_is_cut_off(
    server: Victim, gateway: HostileHost, kind: str, node: str
) -> None:
    async with gateway.channel() as channel:
        call = call_of(channel, kind)
        await call.write(first(kind, node.replace("{host}", gateway.host_id)))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await (call if kind == "metrics" else call.read())
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert len(refused.value.details() or "") < 1000


def lrs(**fields: Any) -> Any:
    message = lrs_pb2.LoadStatsRequest()
    cluster = message.cluster_stats.add(cluster_name=fields.pop("cluster", "hello"))
    cluster.load_report_interval.seconds = fields.pop("interval_s", 1)
    endpoint = cluster.upstream_locality_stats.add().upstream_endpoint_stats.add(total_issued_requests=2**64 - 1)
    endpoint.address.pipe.path = fields.pop("pipe", "/a/b-80.sock")
    return message


def metrics(name: str = "cluster.hello.upstream_rq_2xx", value: float = 1.0, metrics: int = 1) -> Any:
    message = metrics_pb2.StreamMetricsMessage()
    family = message.metrics.add(name=name)
    for _ in range(metrics):
        family.metric.add().counter.value = value
    return message


BAD: dict[str, tuple[str, Callable[[], Any]]] = {
    "an interval of ages": ("lrs", lambda: lrs(interval_s=315_576_000_000)),
    "an interval below zero": ("lrs", lambda: lrs(interval_s=-5)),
    "a socket without a port": ("lrs", lambda: lrs(pipe="/nothing")),
    "a socket with a port of letters": ("lrs", lambda: lrs(pipe="/a-b\u00b2.sock")),
    "a huge name": ("lrs", lambda: lrs(cluster="x" * (1 << 20))),
    "a counter that is no number": ("metrics", lambda: metrics(value=float("nan"))),
    "an endless counter": ("metrics", lambda: metrics(value=float("inf"))),
    "a family without a number": ("metrics", lambda: metrics(metrics=0)),
    "a huge family": ("metrics", lambda: metrics(name="cluster." + "x" * (1 << 20) + ".upstream_rq_2xx")),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_report_that_cannot_be_is_left_out_and_the_stream_goes_on(
    server: Victim, gateway: HostileHost, what: str
) -> None:
    kind, make = BAD[what]
    async with bounded(server), gateway.channel() as channel:
        call = call_of(channel, kind)
        await call.write(first(kind, f"{gateway.host_id}/evil"))
        for _ in range(3):
            await call.write(make())
        await call.done_writing()
        async with asyncio.timeout(ANSWER_S):
            if kind == "metrics":
                await call
            else:
                while await call.read() is not grpc.aio.EOF:
                    pass
        assert await call.code() is grpc.StatusCode.OK, await call.details()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_flood_is_read_at_a_pace(server: Victim, gateway: HostileHost, kind: str) -> None:
    flood = {
        "ads": lambda number: discovery_pb2.DeltaDiscoveryRequest(
            type_url=f"type.googleapis.com/{number}", resource_names_subscribe=[f"{number}-{it}" for it in range(500)]
        ),
        "lrs": lambda number: lrs(cluster=f"s{number}"),
        "metrics": lambda number: metrics(name=f"cluster.s{number}.upstream_rq_2xx"),
    }[kind]
    async with bounded(server), gateway.channel() as channel:
        call = call_of(channel, kind)
        await call.write(first(kind, f"{gateway.host_id}/evil"))
        with suppress(TimeoutError, grpc.aio.AioRpcError):
            async with asyncio.timeout(2.0):
                for number in range(1_000_000):
                    await call.write(flood(number))
        await asyncio.to_thread(server.must_be_well)
        call.cancel()


async def test_a_host_has_so_many_streams_and_a_stream_begins_in_time(server: Victim, gateway: HostileHost) -> None:
    async with bounded(server), gateway.channel() as channel:
        calls = [call_of(channel, "lrs") for _ in range(200)]
        ended = await asyncio.gather(*(asyncio.wait_for(call.read(), 30) for call in calls), return_exceptions=True)
    refused = [it for it in ended if isinstance(it, grpc.aio.AioRpcError)]
    assert len(refused) == 200
    assert {it.code() for it in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}


async def test_calls_that_hold_requests_of_no_service_are_refused_at_once(server: Victim, gateway: HostileHost) -> None:
    async with bounded(server), gateway.channel() as channel:
        check = channel.unary_unary(
            CHECK,
            request_serializer=external_auth_pb2.CheckRequest.SerializeToString,
            response_deserializer=external_auth_pb2.CheckResponse.FromString,
        )

        def request(number: int) -> Any:
            message = external_auth_pb2.CheckRequest()
            message.attributes.context_extensions["gateway"] = "evil"
            message.attributes.context_extensions["service"] = f"service-{number}-" + "x" * 1000
            return message

        answers = await asyncio.gather(*(check(request(number), timeout=ANSWER_S) for number in range(3000)))
        assert {it.denied_response.status.code for it in answers} == {503}


def _any_messages(server: Victim, gateway: HostileHost, kind: str, cases: int) -> None:
    async def say(message: Any) -> None:
        async with gateway.channel() as channel:
            call = call_of(channel, kind)
            with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
                await call.write(first(kind, f"{gateway.host_id}/evil"))
                await call.write(message)
                await call.done_writing()
                async with asyncio.timeout(1.0):
                    await (call if kind == "metrics" else call.read())
            call.cancel()

    @settings(
        max_examples=cases, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(messages(KINDS[kind][1], words=("hello", "cluster.hello.upstream_rq_time", "local", "evil")))
    def one(message: Any) -> None:
        asyncio.run(say(message))

    one()
    server.must_be_well()


@pytest.mark.parametrize("kind", KINDS)
def test_any_message_of_an_envoy_leaves_the_server_well(server: Victim, gateway: HostileHost, kind: str) -> None:
    _any_messages(server, gateway, kind, 20)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
def test_many_messages_of_an_envoy_leave_the_server_well(server: Victim, gateway: HostileHost, kind: str) -> None:
    _any_messages(server, gateway, kind, 1000)

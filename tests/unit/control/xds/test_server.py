"""xds/server: streams over real mTLS, driven by a client that speaks delta ADS as Envoy does, message by message."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from homeport_control.domain.gateway import Endpoint, GatewaySnapshot, PublishedModel, ServiceRoute
from homeport_control.xds.resources import world
from homeport_control.xds.subscription import CDS, ECDS, EDS, LDS, RDS
from rig.gateway import GATEWAY, HOST, Authority, ControlPlane

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


def snapshot(port: int = 9000) -> GatewaySnapshot:
    hello = ServiceRoute("hello", ("hello.localhost",), True, (Endpoint("r", "127.0.0.1", port),))
    return GatewaySnapshot("local", "127.0.0.1", 7480, "localhost", (hello,))


class Stream:
    """One Envoy's stream; `settle` acknowledges whatever comes until the version is acknowledged completely."""

    def __init__(self, control: ControlPlane, identity: str = HOST, node: str = f"{HOST}/{GATEWAY}") -> None:
        key, certificate = control.authority.issue(identity)
        credentials = grpc.ssl_channel_credentials(control.authority.pem(), key, certificate)
        options = (("grpc.ssl_target_name_override", "homeport-server"),)
        self.channel = grpc.aio.secure_channel(f"127.0.0.1:{control.port}", credentials, options)
        self.call: Any = self.channel.stream_stream(
            METHOD,
            request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
        )()
        self.node = node
        self.held: dict[str, dict[str, str]] = {}

    async def ask(self, kind: str, *names: str, held: dict[str, str] | None = None, **fields: Any) -> None:
        message = discovery_pb2.DeltaDiscoveryRequest(
            type_url=kind, resource_names_subscribe=names, initial_resource_versions=held or {}, **fields
        )
        message.node.id = self.node
        await self.call.write(message)

    async def read(self) -> Any:
        async with asyncio.timeout(10):
            return await self.call.read()

    async def hello(self, held: dict[str, dict[str, str]]) -> None:
        for kind, names in ((CDS, ()), (EDS, ("hello",)), (LDS, ()), (ECDS, ("homeport.token",)), (RDS, ("homeport",))):
            await self.ask(kind, *names, held=held.get(kind))

    async def take(self, count: int) -> list[str]:
        """Acknowledge so many responses; their types."""
        kinds = []
        for _ in range(count):
            response = await self.read()
            kinds.append(response.type_url)
            for resource in response.resources:
                self.held.setdefault(response.type_url, {})[resource.name] = resource.version
            await self.ask(response.type_url, response_nonce=response.nonce)
        return kinds

    async def close(self) -> None:
        self.call.cancel()
        await self.channel.close()


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    made = ControlPlane(Authority(tmp_path))
    await made.start()
    yield made
    await made.stop()


async def settled(control: ControlPlane, version: int) -> Stream:
    stream = Stream(control)
    await stream.hello({})
    kinds = await stream.take(5)
    assert set(kinds) == {CDS, EDS, LDS, ECDS, RDS}
    assert kinds[-1] == RDS
    assert await control.xds.wait_acked("local", version, 10)
    return stream


async def test_an_equal_snapshot_is_no_new_version(control: ControlPlane) -> None:
    first = control.xds.publish(snapshot())
    assert control.xds.publish(snapshot()) == first
    assert control.xds.publish(snapshot(9001)) > first


async def test_waiting_ends_with_the_ack_and_with_the_deadline(control: ControlPlane) -> None:
    version = control.xds.publish(snapshot())
    assert not await control.xds.wait_acked("local", version, 0.01)
    stream = await settled(control, version)
    assert control.acked == [version]
    assert control.xds.acked("local") == version
    await stream.close()


async def test_a_new_version_that_changes_no_resource_is_acknowledged_at_once(control: ControlPlane) -> None:
    (hello,) = snapshot().services
    sharing = [replace(hello, model=PublishedModel("llama", weight=weight)) for weight in (None, 100)]
    one, same = (replace(snapshot(), services=(service,)) for service in sharing)
    stream = await settled(control, control.xds.publish(one))
    version = control.xds.publish(same)
    assert await control.xds.wait_acked("local", version, 10)
    assert control.acked[-1] == version
    await stream.close()


async def test_after_a_restart_of_the_server_an_envoy_that_holds_everything_is_sent_only_its_endpoints(
    control: ControlPlane,
) -> None:
    before = await settled(control, control.xds.publish(snapshot()))
    await before.close()
    await control.stop()
    await control.start()

    stream = Stream(control)
    await stream.hello(before.held)
    await control.until(lambda: control.connections == 2)
    version = control.xds.publish(snapshot())
    assert await stream.take(1) == [EDS]
    assert await control.xds.wait_acked("local", version, 10)
    # Whatever else had been sent would come before this answer.
    await stream.ask(EDS, "nobody")
    answer = await stream.read()
    assert list(answer.removed_resources) == ["nobody"]
    assert not answer.resources
    await stream.close()


async def test_a_second_stream_of_a_gateway_replaces_the_first(control: ControlPlane) -> None:
    version = control.xds.publish(snapshot())
    first = await settled(control, version)
    second = Stream(control)
    await second.hello(first.held)
    await control.until(lambda: control.connections == 2)
    assert await first.read() is grpc.aio.EOF
    assert control.xds.is_connected("local")
    await second.close()
    await first.close()


async def test_a_refusal_leads_back_to_the_last_good_world_and_is_told(control: ControlPlane) -> None:
    stream = await settled(control, control.xds.publish(snapshot()))
    good = stream.held[EDS]["hello"]
    bad = control.xds.publish(snapshot(9001))
    response = await stream.read()
    await stream.ask(EDS, response_nonce=response.nonce, error_detail={"code": 3, "message": "malformed"})
    assert not await control.xds.wait_acked("local", bad, 10)
    assert control.nacked == [(bad, "the endpoints of hello: malformed")]
    again = await stream.read()
    assert [r.version for r in again.resources] == [good]
    await stream.close()


async def test_what_was_refused_is_tried_again_also_when_the_last_good_world_was_refused_too(
    control: ControlPlane,
) -> None:
    stream = await settled(control, control.xds.publish(snapshot()))
    version = control.xds.publish(snapshot(9001))
    for _ in range(2):  # it, and then the one that it is led back to
        response = await stream.read()
        await stream.ask(EDS, response_nonce=response.nonce, error_detail={"code": 13, "message": "no memory now"})
    await control.until(lambda: len(control.nacked) == 2)
    control.xds.try_again("local")
    assert await stream.take(1) == [EDS]
    assert await control.xds.wait_acked("local", version, 10)
    await stream.close()


@pytest.mark.parametrize(("identity", "node"), [("stranger", "stranger"), ("stranger", HOST), (HOST, "other")])
async def test_only_the_host_that_is_the_gateway_may_ask(control: ControlPlane, identity: str, node: str) -> None:
    control.xds.publish(snapshot())
    stream = Stream(control, identity, node)
    await stream.ask(CDS)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream.read()
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert refused.value.details() == f"host {identity} is no gateway of this server"
    await stream.channel.close()


async def test_who_keeps_the_last_configuration_gets_what_envoy_has_acknowledged_and_only_that(
    control: ControlPlane,
) -> None:
    version = control.xds.publish(snapshot())
    keeper = Stream(control, node=f"{HOST}/{GATEWAY}/keeper")
    for kind in (ECDS, CDS, EDS, LDS, RDS):
        await keeper.ask(kind, "*")
    envoy = await settled(control, version)
    assert await keeper.take(5) == [ECDS, CDS, EDS, LDS, RDS]
    assert keeper.held == envoy.held

    refused = control.xds.publish(snapshot(9001))
    response = await envoy.read()
    await envoy.ask(response.type_url, response_nonce=response.nonce, error_detail={"message": "no"})
    assert not await control.xds.wait_acked(GATEWAY, refused, 10)
    await envoy.take(1)  # led back
    control.xds.publish(replace(snapshot(9002), services=()))
    await envoy.take(2)
    await keeper.take(1)
    assert keeper.held[EDS] == {"hello": world(snapshot(), 0).of(EDS)["hello"].version}
    assert control.acked[-1] != refused
    await keeper.close()
    await envoy.close()


async def test_who_keeps_it_is_sent_what_changed_while_it_was_away(control: ControlPlane) -> None:
    version = control.xds.publish(snapshot())
    envoy = await settled(control, version)
    held = {kind: {name: it.version for name, it in of.items()} for kind, of in world(snapshot(), 0).resources.items()}
    held[EDS] = {"hello": "older", "gone": "1"}
    keeper = Stream(control, node=f"{HOST}/{GATEWAY}/keeper")
    for kind in (ECDS, CDS, EDS, LDS, RDS):
        await keeper.ask(kind, "*", held=held.get(kind))
    response = await keeper.read()
    assert [response.type_url, [it.name for it in response.resources], list(response.removed_resources)] == [
        EDS,
        ["hello"],
        ["gone"],
    ]
    assert control.connections == 1  # it is no Envoy
    await keeper.close()
    await envoy.close()

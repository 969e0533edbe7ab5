"""agent/envoy/last_keeper: what the server says at the end of a stream is heard, at whatever moment it ends it."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from homeport_agent.envoy.last_keeper import METHOD, say
from homeport_protos.agent.v1.discovery_pb2 import DeltaRequest, DeltaResponse


async def refuse(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this host carries no gateway")


async def end(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Without a word."""


@pytest.fixture
async def ended(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A stream that its server has ended, as the client knows."""
    service, method = METHOD.strip("/").split("/")
    handler = grpc.stream_stream_rpc_method_handler(
        request.param, DeltaRequest.FromString, DeltaResponse.SerializeToString
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stream = channel.stream_stream(METHOD, DeltaRequest.SerializeToString, DeltaResponse.FromString)()
        await stream.code()
        yield stream
    await server.stop(None)


@pytest.mark.parametrize("ended", [refuse], indirect=True)
async def test_a_refusal_that_came_before_a_request_is_heard(ended: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="this host carries no gateway"):
        await say(ended, DeltaRequest(type_url="any"))


@pytest.mark.parametrize("ended", [end], indirect=True)
async def test_an_end_without_a_word_is_an_end(ended: Any) -> None:
    await say(ended, DeltaRequest(type_url="any"))
    assert await ended.read() is grpc.aio.EOF

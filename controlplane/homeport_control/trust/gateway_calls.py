"""Which gateway it is that calls us: by the certificate of its host and the id of its node."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from homeport_control.domain.errors import HomeportError
from homeport_control.trust.callers import caller_common_name
from homeport_control.trust.pace import Crowd, Pace

Authorize = Callable[[str, str], str | None]  # (host id of the certificate, node id) -> name of the gateway


def host_of(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """The id in its certificate; empty without one."""
    return caller_common_name(context)


async def gateway_of(context: grpc.aio.ServicerContext[Any, Any], node_id: str, authorize: Authorize) -> str:
    """Its name. Who is none is cut off with PERMISSION_DENIED."""
    host = host_of(context)
    gateway = authorize(host, node_id)
    if gateway is None:
        await context.abort(
            grpc.StatusCode.PERMISSION_DENIED, f"host {host or '(no certificate)'} is no gateway of this server"
        )
    return gateway


FIRST_S = 10.0  # in which a stream says whose it is; Envoy does so at once
MOST_STREAMS = 64  # of one host and one kind: a host may have several gateways, and a stream that broke is noticed late
MOST_SERVICE_NAME = 100  # no service has a longer one
Stream = Callable[[Any, Any, grpc.aio.ServicerContext[Any, Any]], Any]  # (first, requests, context)


class Streams:
    """Streams of one kind that gateways open: so many of each host, each begun in time, each read at a pace."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s, self._burst = per_s, burst
        self._crowd = Crowd(MOST_STREAMS, "streams of this kind")

    async def run(self, requests: Any, context: grpc.aio.ServicerContext[Any, Any], body: Stream) -> Any:
        """`body(first, requests, context)`; it is not called when the peer closes without a word."""
        try:
            with self._crowd.one_more(host_of(context)):
                try:
                    async with asyncio.timeout(FIRST_S):
                        first = await anext(aiter(requests), None)
                except TimeoutError:
                    raise HomeportError(f"the stream has said nothing for {FIRST_S:g} s") from None
                if first is not None:
                    return await body(first, self._paced(requests), context)
        except HomeportError as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        return None

    async def _paced(self, requests: Any) -> AsyncIterator[Any]:
        pace = Pace(self._per_s, self._burst)
        async for message in requests:
            yield message
            if wait_s := pace.take(time.monotonic()):
                await asyncio.sleep(wait_s)

"""Before a message is read: a stranger's is not.

A message of the API may have 16 MB (a manifest of 50,000 files), and gRPC reads it whole before a method is called, so that
a few strangers could fill the memory. Their calls are answered without reading; of those that need no token (joining) few are
read at a time. Who calls is looked at again by each method (auth): this decides nothing but what is read.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc

from homeport_control.api.auth import Callers
from homeport_control.api.errors import code_of
from homeport_control.domain.errors import HomeportError
from homeport_control.trust.guesses import address_of, group_of
from homeport_control.trust.pace import Crowd

API = "/homeport_protos.api.v1.Api/"
OPEN = "/homeport_protos.agent.v1.Enrollment/"
READ_S = 10.0  # in which a stranger's message must have come
MOST_OF_ADDRESS = 8  # strangers' messages that are read at a time
MOST_OF_ALL = 16
Handler = Any
Context = grpc.aio.ServicerContext[Any, Any]
Method = Callable[[Any, Context], Awaitable[Any]]
Find = Callable[[grpc.HandlerCallDetails], Awaitable[Handler]]


class Gate(grpc.aio.ServerInterceptor):
    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._reading = asyncio.Semaphore(MOST_OF_ALL)
        self._crowd = Crowd(MOST_OF_ADDRESS, "requests to join")

    async def intercept_service(self, continuation: Find, details: grpc.HandlerCallDetails) -> Handler:
        handler = await continuation(details)
        if handler is None:
            return None
        if details.method.startswith(OPEN):
            return self._read_slowly(handler)
        if details.method.startswith(API) and not await self._callers.is_known(details.invocation_metadata):
            return grpc.stream_unary_rpc_method_handler(self._refuse)
        return handler

    async def _refuse(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        try:
            await self._callers.of(context)
        except HomeportError as error:
            await context.abort(code_of(error), str(error))
        await context.abort(grpc.StatusCode.ABORTED, "the token had not been looked at yet; run the command again")

    def _read_slowly(self, handler: Handler) -> Handler:
        """The same method, whose first message is read here. One that is passed on to another server is a stream of bytes."""
        if handler.unary_unary is None:
            return grpc.stream_stream_rpc_method_handler(partial(self._passed_on, handler.stream_stream))
        return grpc.stream_unary_rpc_method_handler(
            partial(self._answered, handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    async def _answered(self, method: Method, requests: AsyncIterator[Any], context: Context) -> Any:
        return await method(await self._first(requests, context), context)

    async def _passed_on(self, method: Method, requests: AsyncIterator[Any], context: Context) -> None:
        first = await self._first(requests, context)

        async def whole() -> AsyncIterator[Any]:
            yield first
            async for message in requests:
                yield message

        await method(whole(), context)

    async def _first(self, requests: AsyncIterator[Any], context: Context) -> Any:
        try:
            with self._crowd.one_more(group_of(address_of(context.peer()))):
                async with asyncio.timeout(READ_S), self._reading:
                    return await anext(aiter(requests))
        except (TimeoutError, StopAsyncIteration):
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the request did not come within {READ_S:g} s")
        except HomeportError as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))

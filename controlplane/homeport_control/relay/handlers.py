"""Handlers of services, collected apart from a server: what a leader puts into the doors, and takes out again.

Covers where they are kept and how one is ended from outside. Does not cover when (door).
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

import grpc

from homeport_control.trust.callers import is_from_server

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler: its fields are in no stub
Bound = Callable[[Any, Context], Awaitable[Any]]

ENDED = "this server does not lead any more; try again"


class Handlers:
    """Stands where a `grpc.aio.Server` would for the `add_…_to_server` of services."""

    def __init__(self) -> None:
        self._generic: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._generic.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """The same ones as the generic handler of the service."""

    @classmethod
    def together(cls, *of: "Handlers") -> "Handlers":
        made = cls()
        for handlers in of:
            made.add_generic_rpc_handlers(handlers._generic)
        return made

    @property
    def as_server(self) -> grpc.aio.Server:
        return cast("grpc.aio.Server", self)

    def find(self, details: Any) -> Handler | None:
        return next((found for it in self._generic if (found := it.service(details)) is not None), None)


class Calls:
    """Those that are answered here now. `end()` ends all of them with UNAVAILABLE."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self._none = asyncio.Event()
        self._none.set()

    async def end(self, within_s: float) -> None:
        """And wait for what they still do at their end, so long at the most."""
        now_s = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now_s)
        try:
            async with asyncio.timeout(within_s):
                await self._none.wait()
        except TimeoutError:
            return

    def bound(self, handler: Handler, *, servers_only: bool) -> Handler:
        """The same method, that ends with these calls. `servers_only`: it is for what another server passes on."""
        behaviour = _behaviour(handler)

        async def method(request: Any, context: Context) -> Any:
            if servers_only and not is_from_server(context):
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this port is for hosts")
            scope = asyncio.timeout(None)
            self._scopes.add(scope)
            self._none.clear()
            try:
                async with scope:
                    return await behaviour(request, context)
            except TimeoutError:
                if not scope.expired():
                    raise
            finally:
                self._scopes.discard(scope)
                if not self._scopes:
                    self._none.set()
            return await context.abort(grpc.StatusCode.UNAVAILABLE, ENDED)

        return _like(handler, method)


def _behaviour(handler: Handler) -> Bound:
    """What answers; a stream of answers is written by it, so that an end from outside meets it in its own task."""
    found = next(
        it
        for it in (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
        if it is not None
    )
    if not inspect.isasyncgenfunction(found):
        return cast("Bound", found)

    async def write(request: Any, context: Context) -> None:
        answers = found(request, context)
        try:
            async for answer in answers:
                await context.write(answer)
        finally:
            await answers.aclose()

    return write


def _like(handler: Handler, method: Any) -> Handler:
    make: Any = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[(handler.request_streaming, handler.response_streaming)]
    return make(method, handler.request_deserializer, handler.response_serializer)

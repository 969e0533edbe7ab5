"""The door of one port: each call goes to the handlers of the leader when this server leads, else on to who does.

Covers which of the two, per call. Does not cover how a call is passed on (forward), nor who leads (loops/lease).
"""

from collections.abc import Callable
from typing import Any

import grpc

from homeport_control.relay.forward import NOT_LEADING_KEY, Forward
from homeport_control.relay.handlers import Calls, Context, Handlers
from homeport_control.trust.callers import RELAYED_KEY


class Door(grpc.GenericRpcHandler):
    """Register it with the server of the port. `takes` says whether this port is for a method.

    `passes` says whether it is for what other servers pass on besides: their calls come in at one port for all.
    """

    def __init__(
        self, forward: Forward, takes: Callable[[str], bool], passes: Callable[[str], bool] = lambda method: False
    ) -> None:
        self._forward = forward
        self._takes = takes
        self._passes = passes
        self._handlers: Handlers | None = None
        self._calls = Calls()
        self._bound: dict[str, Any] = {}

    def open(self, handlers: Handlers) -> None:
        """This server leads: its handlers answer from now on."""
        self._handlers, self._bound = handlers, {}

    async def close(self, within_s: float) -> None:
        """It does not any more. What is under way ends; new calls are passed on."""
        self._handlers, self._bound = None, {}
        await self._calls.end(within_s)

    def service(self, details: Any) -> Any:
        method = details.method
        is_ours = self._takes(method)
        if not is_ours and not self._passes(method):
            return None
        if self._handlers is not None:
            return self._local(self._handlers, details, servers_only=not is_ours)
        if any(key == RELAYED_KEY for key, _ in details.invocation_metadata or ()):
            return _NOT_LEADING
        return self._forward.handler(method) if is_ours else None

    def _local(self, handlers: Handlers, details: Any, *, servers_only: bool) -> Any:
        bound = self._bound.get(details.method)
        if bound is None:
            found = handlers.find(details)
            if found is None:
                return None
            bound = self._bound[details.method] = self._calls.bound(found, servers_only=servers_only)
        return bound


async def _not_leading(_requests: Any, context: Context) -> None:
    await context.abort(
        grpc.StatusCode.UNAVAILABLE, "this server does not lead", trailing_metadata=((NOT_LEADING_KEY, "1"),)
    )


_NOT_LEADING: Any = grpc.stream_stream_rpc_method_handler(_not_leading)

"""Which gateway it is that calls us: by the certificate of its host and the id of its node."""

from collections.abc import Callable
from typing import Any

import grpc

from homeport_control.trust.callers import caller_common_name

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

"""Which gateway it is that streams to us: by the certificate of its host and the node's id."""

from collections.abc import Callable
from typing import Any

import grpc

Authorize = Callable[[str, str], str | None]  # (host id of the certificate, node id) -> name of the gateway


async def gateway_of(context: grpc.aio.ServicerContext[Any, Any], node_id: str, authorize: Authorize) -> str:
    """Its name. Who is none is cut off with PERMISSION_DENIED."""
    host = next(iter(context.auth_context().get("x509_common_name", ())), b"").decode()
    gateway = authorize(host, node_id)
    if gateway is None:
        await context.abort(
            grpc.StatusCode.PERMISSION_DENIED, f"host {host or '(no certificate)'} is no gateway of this server"
        )
    return gateway

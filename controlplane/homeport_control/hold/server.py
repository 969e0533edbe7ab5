"""The call that a gateway's Envoy makes for each request that it holds (ext_authz): answered when it is known how it goes on.

Covers the call, who may make it, and its answers. Does not cover who waits for what (waiting), nor when Envoy calls
(xds/hold_filter). Nothing of the request is in it but the name of the service.
"""

import json
from collections.abc import Callable
from typing import Any

import grpc
from envoy.service.auth.v3 import external_auth_pb2

from homeport_control.domain.holding import GATEWAY_KEY, SERVICE_KEY, Refusal
from homeport_control.hold.waiting import Waiting
from homeport_control.trust.gateway_calls import Authorize, gateway_of, host_of

SERVICE = "envoy.service.auth.v3.Authorization"
STATUS = 503


class HoldServer:
    def __init__(
        self,
        waiting: Waiting,
        *,
        authorize: Authorize,
        publishes: Callable[[str, str], bool] = lambda _gateway, _service: True,
    ) -> None:
        self._waiting = waiting
        self._authorize = authorize
        self._publishes = publishes

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server that asks for client certificates and carries xds.server.SERVER_OPTIONS."""
        handler = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=external_auth_pb2.CheckRequest.FromString,
            response_serializer=external_auth_pb2.CheckResponse.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Check": handler}),))

    async def _check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        said = request.attributes.context_extensions
        node_id = f"{host_of(context)}/{said.get(GATEWAY_KEY, '')}"
        gateway = await gateway_of(context, node_id, self._authorize)
        if request.attributes.request.http.headers:
            return _GO_ON  # still sealed: the filter for tokens did not run, and the router will refuse it
        service = said.get(SERVICE_KEY, "")
        if not self._publishes(gateway, service):
            return refused(Refusal("There is no such service at this gateway.", "service_not_running"))
        found = await self._waiting.wait(gateway, service)
        return refused(found) if isinstance(found, Refusal) else _GO_ON


_GO_ON = external_auth_pb2.CheckResponse(ok_response=external_auth_pb2.OkHttpResponse())


def refused(refusal: Refusal) -> Any:
    """In the shape that OpenAI's clients understand, as all answers of a gateway."""
    said = {"message": refusal.message, "type": "service_unavailable_error", "param": None, "code": refusal.code}
    answer = external_auth_pb2.CheckResponse()
    answer.status.code = grpc.StatusCode.UNAVAILABLE.value[0]
    answer.denied_response.status.code = STATUS
    answer.denied_response.body = json.dumps({"error": said})
    if refusal.retry_after_s is not None:
        header = answer.denied_response.headers.add().header
        header.key, header.value = "retry-after", str(refusal.retry_after_s)
    return answer

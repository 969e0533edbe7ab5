"""hold/server: what a refusal looks like, and that what was never let in is not held. The rest: tests/envoy/test_hold.py."""

import json
from typing import Any

from envoy.service.auth.v3 import external_auth_pb2
from homeport_control.domain.holding import Refusal
from homeport_control.hold.server import HoldServer, refused
from homeport_control.hold.waiting import Waiting


def test_a_refusal_is_a_503_in_the_shape_of_all_answers_of_a_gateway() -> None:
    answer = refused(Refusal('No replica: "x".', "start_failed", 7))
    assert answer.denied_response.status.code == 503
    assert [(it.header.key, it.header.value) for it in answer.denied_response.headers] == [("retry-after", "7")]
    said = {"message": 'No replica: "x".', "type": "service_unavailable_error", "param": None, "code": "start_failed"}
    assert json.loads(answer.denied_response.body) == {"error": said}
    assert answer.status.code != 0
    assert not refused(Refusal("", "", None)).denied_response.headers


class Call:
    """Of a gateway's host; it ends when it is aborted."""

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_common_name": [b"h1"]}

    async def abort(self, code: Any, words: str) -> None:
        raise PermissionError(words)


async def test_a_request_that_is_sealed_still_goes_on_to_the_router_that_refuses_it() -> None:
    held: list[tuple[str, int]] = []
    server = HoldServer(Waiting(lambda *it: held.append(it)), authorize=lambda _host, node: node.partition("/")[2])
    request = external_auth_pb2.CheckRequest()
    request.attributes.context_extensions.update({"gateway": "local", "service": "llm"})
    request.attributes.request.http.headers["x-envoy-max-retries"] = "sealed"
    answer = await server._check(request, Call())  # type: ignore[arg-type]
    assert answer.status.code == 0
    assert held == []

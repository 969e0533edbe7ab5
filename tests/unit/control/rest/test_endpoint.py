"""rest/endpoint over HTTPS, with a leader's link port behind it: who may ask, what is read, how a stream begins and ends."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from fixtures.control import DEADLINE_S, State, add_token, until_true
from homeport_control.api.auth import Callers
from homeport_control.api.errors import answer, stream
from homeport_control.domain.errors import Conflict, NotFound
from homeport_control.listeners import grpc_server, web_server
from homeport_control.relay.door import Door
from homeport_control.relay.forward import Forward
from homeport_control.relay.handlers import Handlers
from homeport_control.relay.inside import SERVICE, Inside
from homeport_control.relay.leader import LeaderChannel
from homeport_control.rest.endpoint import Rest
from homeport_control.store import tokens
from homeport_control.trust.callers import caller_peer
from homeport_protos.api.v1 import api_pb2
from rig.ports import free_port
from starlette.applications import Starlette

MOST_BYTES = 1 << 20
TOKEN = "hp_user_of_rest"


class Served:
    """A server of which these tests answer two methods of the Api themselves."""

    def __init__(self, state: State) -> None:
        self.over = asyncio.Event()
        self.asked = 0
        self.port = free_port()
        self._state = state
        pair, link_port = state.ca.server_pair(), free_port()
        self.leader = LeaderChannel(state.ca.pem, pair)
        self._door = Door(Forward(self.leader, "alpha"), lambda _method: False, lambda _method: True)
        self._link = grpc_server("127.0.0.1", link_port, pair, client_ca=state.ca.pem)
        self._link.add_generic_rpc_handlers((self._door,))
        self._callers = Callers(state.database)
        inside = Inside(self.leader, "alpha", hold_s=0.5)
        rest = Rest(inside, self._callers, "1.2.3", most_bytes=MOST_BYTES, most_streams=1)
        self._web = web_server(Starlette(routes=rest.routes), "127.0.0.1", self.port, pair, state.directory)
        self._address = f"127.0.0.1:{link_port}"

    async def start(self) -> asyncio.Task[None]:
        made = Handlers()
        methods = {
            "GetServer": grpc.unary_unary_rpc_method_handler(
                self._who, api_pb2.GetServerRequest.FromString, api_pb2.GetServerResponse.SerializeToString
            ),
            "Events": grpc.unary_stream_rpc_method_handler(
                self._events, api_pb2.EventsRequest.FromString, api_pb2.EventsResponse.SerializeToString
            ),
        }
        made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, methods),))
        self._door.open(made)
        await self._link.start()
        self.leader.is_at(self._address, 1)
        serving = asyncio.create_task(self._web.serve())
        await until_true(lambda: self._web.started)
        return serving

    async def stop(self, serving: asyncio.Task[None]) -> None:
        self._web.should_exit = True
        await self.leader.close()
        await self._link.stop(0)
        await serving

    async def _who(self, _request: Any, context: Any) -> Any:
        async def method(caller: Any) -> Any:
            self.asked += 1
            return api_pb2.GetServerResponse(user=caller.role, server_id=caller_peer(context).rpartition(":")[0])

        return await answer(self._callers, context, method)

    async def _events(self, request: Any, context: Any) -> Any:
        async def method(_caller: Any) -> Any:
            try:
                if request.name == "none":
                    raise NotFound("there is none")
                yield api_pb2.EventsResponse(last_id=1)
                if request.follow:
                    await asyncio.Event().wait()
                if request.name == "late":
                    raise Conflict("it broke")
            finally:
                self.over.set()

        async for response in stream(self._callers, context, method):
            yield response

    @asynccontextmanager
    async def sent(self, line: str, *headers: str, token: str = TOKEN, body: bytes = b"") -> AsyncIterator[Any]:
        """A request as bytes; the reader of its answer. Without `content-length` among the headers it is that of the body."""
        trust = ssl.create_default_context(cadata=self._state.ca.pem.decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=trust)
        said = [f"{line} HTTP/1.1", "host: homeport", "connection: close", *headers]
        said += [f"authorization: Bearer {token}"] if token else []
        said += [] if any(it.startswith("content-length") for it in headers) else [f"content-length: {len(body)}"]
        writer.write("\r\n".join([*said, "", ""]).encode("latin-1") + body)
        try:
            async with asyncio.timeout(DEADLINE_S):
                yield reader
        finally:
            writer.transport.abort()

    async def ask(self, line: str, *headers: str, **more: Any) -> tuple[int, str, str]:
        """Status, headers in lower case, body."""
        async with self.sent(line, *headers, **more) as reader:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            body = (await reader.read()).decode()
        return int(head.split()[1]), head, body


@pytest.fixture
async def served(state: State) -> AsyncIterator[Served]:
    await add_token(state, TOKEN, "user")
    made = Served(state)
    serving = await made.start()
    yield made
    await made.stop(serving)


def error(body: str) -> tuple[str, str]:
    said = json.loads(body)["error"]
    return said["code"], said["message"]


async def test_the_api_is_asked_by_the_callers_token_from_its_address(served: Served) -> None:
    status, head, body = await served.ask("GET /api/v1/server")
    assert (status, json.loads(body)["user"], json.loads(body)["server_id"]) == (200, "user", "ipv4:127.0.0.1")
    assert "content-type: application/json" in head
    assert "cache-control: no-store" in head
    assert "access-control" not in head


@pytest.mark.parametrize("token", ["", "hp_wrong", "hp_wröng"])
async def test_a_strangers_body_is_not_waited_for(served: Served, token: str) -> None:
    status, head, body = await served.ask("POST /api/v1/users", "content-length: 1000", token=token)
    assert (status, error(body)[0]) == (401, "UNAUTHENTICATED")
    assert "www-authenticate: bearer" in head
    assert served.asked == 0


async def test_who_guesses_tokens_is_slowed_and_others_are_not(served: Served) -> None:
    await served.ask("GET /api/v1/server")
    statuses = [(await served.ask("GET /api/v1/server", token="hp_wrong"))[0] for _ in range(22)]
    assert (statuses[0], statuses[-1]) == (401, 429)
    assert (await served.ask("GET /api/v1/server"))[0] == 200


async def test_a_cookie_is_nobody(served: Served) -> None:
    assert (await served.ask("GET /api/v1/server", f"cookie: token={TOKEN}", token=""))[0] == 401


async def test_a_body_that_is_too_long_is_refused(served: Served) -> None:
    status, _, body = await served.ask("POST /api/v1/users", f"content-length: {MOST_BYTES + 1}")
    assert (status, error(body)) == (413, ("RESOURCE_EXHAUSTED", "the body is longer than 1 MiB; no call needs that"))


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("GET /api/v1/nothing", 404, "there is no /api/v1/nothing; /api/v1/openapi.json says what there is"),
        ("GET /api/v1/", 404, "there is no /api/v1/; /api/v1/openapi.json says"),
        ("POST /api/v1/openapi.json", 405, "POST is not for /api/v1/openapi.json; it takes GET"),
        ("GET /api/v1/runs/a%0A/nothing", 404, "there is no /api/v1/runs/a%0A/nothing; /api/v1/openapi.json says"),
        ("PATCH /api/v1/tokens", 405, "PATCH is not for /api/v1/tokens; it takes GET, POST"),
        ("DELETE /api/v1/tokens/%ff", 400, "a name in the path is no text in UTF-8"),
        ("GET /api/v1/server?x=%1b[2J", 400, "x: there is no such parameter; there are: none"),
        ("GET /api/v1/runs", 501, "Method not found!"),  # by gRPC: these tests have no such method
    ],
)
async def test_what_is_refused_is_an_error_with_a_code_and_one_line(
    served: Served, line: str, status: int, words: str
) -> None:
    found, head, body = await served.ask(line)
    assert found == status
    assert error(body)[1].startswith(words)
    if status == 405:
        assert f"allow: {words.rpartition('takes ')[2].lower()}\r\n" in head


async def test_the_document_is_for_everybody(served: Served) -> None:
    status, _, body = await served.ask("GET /api/v1/openapi.json", token="")
    assert (status, json.loads(body)["info"]["version"]) == (200, "1.2.3")


async def test_nobody_who_leads_is_unavailable(served: Served) -> None:
    served.leader.is_at("", 2, "nobody was elected")
    status, _, body = await served.ask("GET /api/v1/server")
    assert (status, error(body)[0]) == (503, "UNAVAILABLE")
    assert "nobody was elected" in error(body)[1]


async def test_a_stream_is_lines_or_events(served: Served) -> None:
    status, head, body = await served.ask("GET /api/v1/events")
    assert (status, '{"last_id":"1","events":[]}\n' in body) == (200, True)
    assert "content-type: application/x-ndjson" in head
    status, head, body = await served.ask("GET /api/v1/events", "accept: text/event-stream")
    assert (status, 'data: {"last_id":"1","events":[]}\n\n' in body) == (200, True)
    assert "content-type: text/event-stream" in head


async def test_a_stream_that_is_refused_has_a_status_and_one_that_breaks_a_last_line(served: Served) -> None:
    status, head, body = await served.ask("GET /api/v1/events?name=none")
    assert (status, error(body)) == (404, ("NOT_FOUND", "there is none"))
    assert "content-type: application/json" in head
    status, _, body = await served.ask("GET /api/v1/events?name=late")
    assert status == 200
    assert '{"error":{"code":"ABORTED","message":"it broke"}}\n' in body


async def test_a_reader_that_leaves_ends_the_call_and_makes_room(served: Served) -> None:
    async with served.sent("GET /api/v1/events?follow=true") as reader:
        assert b" 200 " in await reader.readuntil(b'"last_id":"1"')
        status, _, body = await served.ask("GET /api/v1/events?follow=true")
        assert (status, error(body)[0]) == (429, "RESOURCE_EXHAUSTED")
        assert not served.over.is_set()
    await asyncio.wait_for(served.over.wait(), DEADLINE_S)
    while (await served.ask("GET /api/v1/events"))[0] != 200:
        pass


async def test_a_token_that_is_revoked_ends_its_streams(served: Served, state: State) -> None:
    token_id = await add_token(state, "hp_another", "user")
    async with served.sent("GET /api/v1/events?follow=true", token="hp_another") as reader:
        await reader.readuntil(b'"last_id":"1"')
        async with state.database.write() as write:
            assert await tokens.revoke(write, token_id, 1.0)
        assert b'"code":"UNAUTHENTICATED"' in await reader.read()

"""/api/v1: who asks is looked at before anything is read; then the request is made, and asked at the leader (relay/inside).

Thin: what a path means is in routes, what a request may say in transcode, what is refused in failures. It takes bearer tokens
and no cookies, so no page of another site can use its reader's login here; there are no CORS headers either.
"""

import asyncio
import ipaddress
import json
from contextlib import AsyncExitStack, aclosing
from functools import cached_property
from importlib.resources import files

import grpc
import structlog
import yaml
from google.protobuf.message import Message
from homeport_protos.text import one_line
from starlette.datastructures import URLPath
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import ASGIApp, Receive, Scope, Send

from homeport_control.api.auth import Callers
from homeport_control.api.errors import code_of
from homeport_control.domain.errors import BadRequest, Conflict, HomeportError
from homeport_control.relay.inside import SERVICE, Failed, Inside, Reader
from homeport_control.rest.failures import Failure
from homeport_control.rest.openapi import document
from homeport_control.rest.reading import SMALL_BYTES, Bodies, Refused
from homeport_control.rest.routes import NOT_OVER_HTTP, PREFIX, Found, Route, Routes, routes_of
from homeport_control.rest.streaming import FIRST_S, Answers, Framing, Writer, chunks
from homeport_control.rest.transcode import request_of
from homeport_control.trust.guesses import group_of
from homeport_control.trust.pace import Crowd

DOCUMENT_PATH = f"{PREFIX}/openapi.json"
MOST_STREAMS = 32  # of one address: half of the connections that it may have
MOST_STREAMS_OF_ALL = 256  # and of all
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
JSON = "application/json"
OUR_BUG = "the server failed at this; its log says why"  # as api/errors says it
log = structlog.get_logger()


def api_routes() -> Routes:
    """Of the Api, by the rules beside its .proto file."""
    rules = yaml.safe_load(files("homeport_protos.api.v1").joinpath("api.http.yaml").read_text())
    return routes_of(SERVICE, rules["http"]["rules"], NOT_OVER_HTTP)


class Rest:
    """Its `routes` are for web_app. `most_bytes`: how long a body may be."""

    def __init__(
        self, inside: Inside, callers: Callers, version: str, *, most_bytes: int, most_streams: int = MOST_STREAMS
    ) -> None:
        self._inside = inside
        self._callers = callers
        self._version = version
        self._table = api_routes()
        self._bodies = Bodies(most_bytes)
        self._writer = Writer()
        self._most_streams = most_streams
        self._streams = Crowd(most_streams, "streams")
        self._open = Crowd(MOST_STREAMS_OF_ALL, "streams")
        self.routes: tuple[BaseRoute, ...] = (Everything(self),)

    @cached_property
    def document(self) -> bytes:
        """It is public knowledge, and so for everybody."""
        comments = json.loads(files("homeport_protos").joinpath("comments.json").read_text())
        return json.dumps(document(self._table, self._version, comments), ensure_ascii=False).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        async with AsyncExitStack() as held:
            try:
                response = await self._answer(request, held)
            except ClientDisconnect:
                return
            except Refused as refused:
                response = _refusal(refused.failure)
            except Failed as failed:
                response = _refusal(Failure.of(failed.code, str(failed)))
            except HomeportError as error:
                response = _refusal(Failure.of(code_of(error), one_line(str(error))))
            except Exception:
                log.exception("the API over HTTP failed")
                response = _refusal(Failure.of(grpc.StatusCode.INTERNAL, OUR_BUG))
            await response(scope, receive, send)

    async def _answer(self, request: Request, held: AsyncExitStack) -> Response:
        """`held`: what lives as long as the response is sent. Raises what __call__ knows."""
        found = self._found(request)
        if found is None:
            return Response(self.document, media_type=JSON, headers=HEADERS)
        reader = await self._reader(request)
        async with self._bodies.of(request) as body:
            message = await self._request(found, str(request.url.query), body)
        if not found.route.streams:
            answer = await self._inside.call(found.route.method, message, found.route.answer, reader)
            return Response(await self._writer.json(answer), media_type=JSON, headers=HEADERS)
        return await self._stream(found.route, message, reader, Framing(request.headers.get("accept", "")), held)

    def _found(self, request: Request) -> Found | None:
        """None: the document. Raises Refused for what is no call."""
        path = bytes(request.scope["raw_path"]).decode("ascii", "replace")
        if path == DOCUMENT_PATH:
            found: Found | tuple[str, ...] = ("GET",)
            if request.method == "GET":
                return None
        else:
            try:
                found = self._table.find(request.method, path)
            except UnicodeDecodeError:
                raise BadRequest("a name in the path is no text in UTF-8") from None
        if isinstance(found, Found):
            return found
        if found:
            words = f"{one_line(request.method, 20)} is not for {one_line(path, 200)}; it takes {', '.join(found)}"
            raise Refused(Failure(grpc.StatusCode.UNIMPLEMENTED.name, words, 405, {"allow": ", ".join(found)}))
        words = f"there is no {one_line(path, 200)}; {DOCUMENT_PATH} says what there is"
        raise Refused(Failure.of(grpc.StatusCode.NOT_FOUND, words))

    async def _reader(self, request: Request) -> Reader:
        """Who asks, whose words may be read. Raises HomeportError for others (as api/gate does)."""
        authorization = request.headers.get("authorization", "")
        metadata = [("authorization", authorization)]
        host, port = _address(request)
        if not authorization.isascii() or not await self._callers.is_known(metadata):
            await self._callers.who(metadata, host)
            raise Conflict("the token had not been looked at yet; ask again")
        return Reader(authorization.partition(" ")[2], host, port)

    async def _request(self, found: Found, query: str, body: bytes) -> Message:
        if len(body) < SMALL_BYTES:
            return request_of(found.route, found.values, query, body)
        return await asyncio.to_thread(request_of, found.route, found.values, query, body)

    async def _stream(
        self, route: Route, message: Message, reader: Reader, framing: Framing, held: AsyncExitStack
    ) -> Response:
        try:
            held.enter_context(self._streams.one_more(group_of(reader.host)))
            held.enter_context(self._open.one_more(""))
        except HomeportError:
            words = (
                f"there are {self._most_streams} streams of {reader.host} open already, or {MOST_STREAMS_OF_ALL} of all"
            )
            failure = Failure.of(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{words}; end one and ask again")
            raise Refused(failure) from None
        stream = self._inside.stream(route.method, message, route.answer, reader)
        answers = await held.enter_async_context(aclosing(Answers(stream)))
        try:
            first = await answers.next(FIRST_S)
        except TimeoutError:
            begin = b""
        else:
            if first is None:
                return Response(b"", media_type=framing.content_type, headers=HEADERS)
            begin = framing.answer(await self._writer.json(first))
        body = await held.enter_async_context(aclosing(chunks(answers, begin, framing, self._writer)))
        return StreamingResponse(body, media_type=framing.content_type, headers=HEADERS)


class Everything(BaseRoute):
    """All paths below the prefix: Starlette's Mount leaves out those with a line end in them."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        is_ours = scope["type"] == "http" and scope["path"].startswith(f"{PREFIX}/")
        return Match.FULL if is_ours else Match.NONE, {}

    def url_path_for(self, name: str, /, **path_params: object) -> URLPath:
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)


def _refusal(failure: Failure) -> Response:
    return Response(failure.body, failure.status, media_type=JSON, headers=HEADERS | failure.headers)


def _address(request: Request) -> tuple[str, int]:
    """Of the connection; what a proxy on this machine says in its place may be no address."""
    client = request.client
    try:
        return (str(ipaddress.ip_address(client.host)), client.port) if client else ("0.0.0.0", 0)  # noqa: S104
    except ValueError:
        return "0.0.0.0", 0  # noqa: S104

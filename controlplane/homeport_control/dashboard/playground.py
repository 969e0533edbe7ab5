"""A place to try a model: what is typed goes through its gateway, as any client's request does, and streams back.

The gateway asks for a service token; one is made by the API in the name of who types, for that service alone and for an
hour, and is kept in this server's memory only. Covers the page and that token; how a gateway is asked: chat.py.
"""

import asyncio
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
from homeport_protos.api.v1 import api_pb2
from starlette.responses import HTMLResponse, Response, StreamingResponse

from homeport_control.dashboard.chat import ANSWER_S, NotAnswered, Where, answer
from homeport_control.dashboard.guard import Refused, body_of
from homeport_control.dashboard.render import Renderer
from homeport_control.dashboard.service_cells import chat_models
from homeport_control.dashboard.visits import Visit
from homeport_control.relay.inside import Failed, Inside
from homeport_control.trust.tokens import sha256_hex

TOKEN_S = 3600.0
MOST_TOKENS = 256  # that are kept
MOST_CHATS = 16  # at a time
TOO_MANY = f"{MOST_CHATS} answers are under way here; try again in a moment"
MOST_BYTES = 256 << 10
MOST_MESSAGES = 64
MOST_ANSWER_TOKENS = 2048
KNOWN_S, AGAIN_S = 5.0, 0.2  # until a gateway knows a token that is new; between two tries
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Kept:
    token: str
    until_s: float


class Playground:
    def __init__(self, inside: Inside, renderer: Renderer) -> None:
        self._inside = inside
        self._renderer = renderer
        self._tokens: OrderedDict[tuple[str, str], Kept] = (
            OrderedDict()
        )  # by the session's token (hash) and the service
        self._chats = 0

    async def page(self, visit: Visit) -> Response:
        models = [(name, run.model, run.published) for name, run in (await self._models(visit)).items()]
        chosen = visit.request.query_params.get("service", "")
        return HTMLResponse(self._renderer.page("playground", models=models, chosen=chosen, **visit.values))

    async def chat(self, visit: Visit) -> Response:
        """Lines of JSON: {"text"}, {"note"}, at last {"done"} or {"error"}."""
        name, messages = _asked(await body_of(visit.request, MOST_BYTES))
        run = (await self._models(visit)).get(name)
        if run is None:
            raise Refused(404, f"no service {name} answers as a model now; load the page anew")
        if self._chats >= MOST_CHATS:
            raise Refused(429, TOO_MANY)
        return StreamingResponse(self._lines(visit, run, messages), media_type="application/x-ndjson")

    async def _lines(self, visit: Visit, run: api_pb2.Run, messages: list[dict[str, str]]) -> AsyncIterator[str]:
        if self._chats >= MOST_CHATS:  # many may have been let in since, and begun nothing yet
            yield _line(error=TOO_MANY)
            return
        self._chats += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                where = Where(run.model_url, await self._ca(visit, run))
                token = "" if run.open else await self._token(visit, run.name)
                async for text in self._answer(visit, where, token, run, messages):
                    yield _line(text=text)
            yield _line(done=True)
        except (NotAnswered, Failed) as error:
            yield _line(error=str(error))
        except TimeoutError:
            yield _line(error=f"the answer took longer than {ANSWER_S:g} s; the rest is not shown")
        finally:
            self._chats -= 1

    async def _answer(
        self, visit: Visit, where: Where, token: str, run: api_pb2.Run, messages: list[dict[str, str]]
    ) -> AsyncIterator[str]:
        """Again while the gateway does not know a token that was made just now."""
        deadline_s = time.monotonic() + KNOWN_S
        while True:
            try:
                async for text in answer(where, token, run.model, messages, MOST_ANSWER_TOKENS):
                    yield text
                return
            except NotAnswered as error:
                if error.status not in {401, 403} or not token or time.monotonic() > deadline_s:
                    self._tokens.pop((sha256_hex(visit.session.token), run.name), None)
                    raise
            await asyncio.sleep(AGAIN_S)

    async def _models(self, visit: Visit) -> dict[str, api_pb2.Run]:
        found = await self._inside.call("ListRuns", api_pb2.ListRunsRequest(), api_pb2.ListRunsResponse, visit.reader)
        return dict(chat_models(found.runs))

    async def _token(self, visit: Visit, service: str) -> str:
        place, now_s = (sha256_hex(visit.session.token), service), time.time()
        kept = self._tokens.get(place)
        if kept is not None and kept.until_s - now_s > ANSWER_S:
            return kept.token
        request = api_pb2.CreateTokenRequest(
            name=f"playground-{secrets.token_hex(4)}", role="service", services=[service], ttl_s=TOKEN_S
        )
        made = await self._inside.call("CreateToken", request, api_pb2.CreateTokenResponse, visit.reader)
        until_s = made.description.expires_at.seconds or now_s + TOKEN_S
        self._tokens[place] = Kept(made.token, until_s)
        while len(self._tokens) > MOST_TOKENS:
            self._tokens.popitem(last=False)
        return made.token

    async def _ca(self, visit: Visit, run: api_pb2.Run) -> str:
        """Of the gateway that publishes it, where that signs its own certificates."""
        if not run.model_url.startswith("https:"):
            return ""
        found = await self._inside.call(
            "ListGateways", api_pb2.ListGatewaysRequest(), api_pb2.ListGatewaysResponse, visit.reader
        )
        gateway = next((it for it in found.gateways if run.name in it.services), None)
        if gateway is None or gateway.certificate != "self-signed":
            return ""
        try:
            request = api_pb2.GatewayRequest(name=gateway.name)
            said = await self._inside.call("GetGatewayCa", request, api_pb2.GatewayCaResponse, visit.reader)
        except Failed as failed:
            if failed.code is grpc.StatusCode.NOT_FOUND:
                return ""
            raise
        return str(said.ca_pem)


def _asked(content: bytes) -> tuple[str, list[dict[str, str]]]:
    """Which service, and the talk so far. Raises Refused."""
    try:
        said: Any = json.loads(content)
        name, messages = said["service"], said["messages"]
        talk = [{"role": it["role"], "content": it["content"]} for it in messages]
        is_good = isinstance(name, str) and 0 < len(talk) <= MOST_MESSAGES
        is_good = is_good and all(it["role"] in ROLES and isinstance(it["content"], str) for it in talk)
    except (ValueError, KeyError, TypeError):
        is_good = False
    if not is_good:
        raise Refused(400, f"the request is a service and 1 to {MOST_MESSAGES} messages with role and content")
    return name, talk


def _line(**said: object) -> str:
    return json.dumps(said) + "\n"

"""Who looks at a page, and what each request must pass before it is answered.

Every page and action is for a session whose token the API takes now; what fails is told on a page, in the API's own words.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import grpc
import structlog
from homeport_protos.api.v1 import api_pb2
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from homeport_control.dashboard.guard import (
    FORM_SECRET,
    SECRET_HEADER,
    Refused,
    form_of,
    must_be_from_here,
    must_have_secret,
    secured,
)
from homeport_control.dashboard.render import Renderer
from homeport_control.dashboard.session import Session, Sessions
from homeport_control.relay.inside import Failed, Inside, Reader
from homeport_control.relay.statuses import status_of

LINES = "application/x-ndjson"  # what a script of ours asks for
log = structlog.get_logger()


class LoggedOut(Exception):
    """There is no session, or its token is not taken any more; the words say why, or nothing."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of somebody who is logged in."""

    request: Request
    session: Session
    reader: Reader
    user: str
    role: str
    form: dict[str, str]

    @property
    def is_part(self) -> bool:
        """Asked for by htmx, to be put into a page that is there."""
        return self.request.headers.get("hx-request") == "true"

    @property
    def values(self) -> dict[str, Any]:
        """What each template of a page needs."""
        return {
            "user": self.user,
            "role": self.role,
            "form_secret": self.session.form_secret,
            "is_part": self.is_part,
            "at": self.request.url.path,
        }


Handler = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Visits:
    def __init__(self, inside: Inside, sessions: Sessions, renderer: Renderer) -> None:
        self._inside = inside
        self._sessions = sessions
        self._renderer = renderer

    def page(self, handler: Handler) -> Endpoint:
        """For who is logged in; else the way to the login."""

        async def answered(request: Request) -> Response:
            return await handler(await self._visit(request))

        return self.open(answered)

    def action(self, handler: Handler, *, is_form: bool = True) -> Endpoint:
        """For a POST of a page of ours: `form` has its fields. Without a form the secret is in a header."""

        async def answered(request: Request) -> Response:
            must_be_from_here(request.headers)
            session = self._session(request)
            form = await form_of(request) if is_form else {}
            must_have_secret(session, form.get(FORM_SECRET, "") if is_form else request.headers.get(SECRET_HEADER, ""))
            return await handler(await self._visit(request, form))

        return self.open(answered)

    def open(self, handler: Endpoint) -> Endpoint:
        """For everybody: errors as pages, the headers of every answer."""

        async def answered(request: Request) -> Response:
            try:
                response = await handler(request)
            except LoggedOut as error:
                response = self._to_login(request, str(error))
            except Refused as error:
                response = self._error(request, error.status, str(error))
            except Failed as error:
                response = self._error(request, status_of(error.code), str(error))
            except Exception:
                log.exception("the dashboard failed")
                response = self._error(request, 500, "the server failed at this; its log says why")
            return secured(response)

        return answered

    async def who(self, reader: Reader) -> api_pb2.GetServerResponse:
        """Raises LoggedOut for a token that is not taken, Failed."""
        try:
            return await self._inside.call(
                "GetServer", api_pb2.GetServerRequest(), api_pb2.GetServerResponse, reader, timeout_s=10.0
            )
        except Failed as failed:
            if failed.code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
                raise LoggedOut(str(failed)) from None
            raise

    def _session(self, request: Request) -> Session:
        session = self._sessions.of(request.cookies, time.time())
        if session is None:
            raise LoggedOut
        return session

    async def _visit(self, request: Request, form: dict[str, str] | None = None) -> Visit:
        session = self._session(request)
        reader = reader_of(request, session.token)
        said = await self.who(reader)
        return Visit(request, session, reader, said.user, said.role, form or {})

    def _to_login(self, request: Request, because: str) -> Response:
        response: Response
        if request.headers.get("hx-request") == "true":
            response = Response(status_code=204, headers={"hx-redirect": "/login"})
        elif request.headers.get("accept") == LINES:
            response = PlainTextResponse("You were signed out; load the page anew.", status_code=401)
        elif request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site" and not because:
            # SameSite=Strict: the cookie is not sent with a link from elsewhere; it is with our own next request.
            path = quote(request.url.path, safe="/")
            return HTMLResponse(self._renderer.page("again", path=path))
        elif request.url.path.startswith("/live/"):
            response = Response(status_code=204)  # tells an EventSource to come no more
        else:
            response = RedirectResponse("/login", status_code=303)
        if because:
            self._sessions.end(response)
        return response

    def _error(self, request: Request, status: int, words: str) -> Response:
        if request.headers.get("accept") == LINES:
            return PlainTextResponse(words, status_code=status)
        is_part = request.headers.get("hx-request") == "true"
        page = self._renderer.page("error", status=status, words=words, is_part=is_part)
        return HTMLResponse(page, status_code=status)


def reader_of(request: Request, token: str) -> Reader:
    client = request.client
    return Reader(token, client.host, client.port) if client else Reader(token)

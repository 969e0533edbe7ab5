"""The dashboard put together: its routes, the login, the static files. `run` keeps the feeds of what is looked at."""

import time

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from homeport_control.dashboard.actions import Actions
from homeport_control.dashboard.guard import form_of, must_be_from_here
from homeport_control.dashboard.hub import Hubs
from homeport_control.dashboard.pages import Pages
from homeport_control.dashboard.playground import Playground
from homeport_control.dashboard.render import Renderer, load_static
from homeport_control.dashboard.session import Sessions, is_token
from homeport_control.dashboard.streams import CHECK_AGAIN_S, Streams
from homeport_control.dashboard.visits import LoggedOut, Visit, Visits, reader_of
from homeport_control.relay.inside import Failed, Inside
from homeport_control.relay.statuses import status_of
from homeport_control.trust.sealing import Sealer

FOR_EVER = "public, max-age=31536000, immutable"
NO_TOKEN = "That is no token of this server. `homeport token create NAME` makes one."  # noqa: S105 -- words for a reader


class Site:
    """`routes` are for web_app. Constructing it starts nothing."""

    def __init__(
        self, inside: Inside, sealer: Sealer, hubs: Hubs | None = None, *, check_again_s: float = CHECK_AGAIN_S
    ) -> None:
        self._static = load_static()
        self._renderer = Renderer(self._static)
        self._sessions = Sessions(sealer)
        self._hubs = hubs or Hubs()
        self._visits = visits = Visits(inside, self._sessions, self._renderer)
        pages = Pages(inside, self._renderer, self._hubs, Streams(self._hubs, visits, check_again_s))
        actions = Actions(inside, self._renderer)
        playground = Playground(inside, self._renderer)
        page, action, anyone = visits.page, visits.action, visits.open
        self.routes: list[BaseRoute] = [
            Route("/", page(pages.fleet)),
            Route("/services", page(pages.services)),
            Route("/services/{name}", page(pages.service)),
            Route("/events", page(pages.events)),
            Route("/playground", page(playground.page)),
            Route("/playground/chat", action(playground.chat, is_form=False), methods=["POST"]),
            Route("/live/fleet", page(pages.live_fleet)),
            Route("/live/services", page(pages.live_services)),
            Route("/live/services/{name}", page(pages.live_service)),
            Route("/live/events", page(pages.live_events)),
            Route("/services/{name}/stop", page(actions.ask_stop)),
            Route("/services/{name}/stop", action(actions.stop), methods=["POST"]),
            Route("/services/{name}/scale", page(actions.ask_scale)),
            Route("/services/{name}/scale", action(actions.scale), methods=["POST"]),
            Route("/hosts/{host}/drain", page(actions.ask_drain)),
            Route("/hosts/{host}/drain", action(actions.drain), methods=["POST"]),
            Route("/hosts/{host}/undrain", page(actions.ask_undrain)),
            Route("/hosts/{host}/undrain", action(actions.undrain), methods=["POST"]),
            Route("/login", anyone(self._login_page)),
            Route("/login", anyone(self._login), methods=["POST"]),
            Route("/logout", action(self._logout), methods=["POST"]),
            Route("/static/{version}/{name}", anyone(self._file)),
        ]

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._hubs.run()

    async def _login_page(self, request: Request) -> Response:
        if self._sessions.of(request.cookies, time.time()) is not None:
            return RedirectResponse("/", status_code=303)
        return HTMLResponse(self._renderer.page("login", words=""))

    async def _login(self, request: Request) -> Response:
        must_be_from_here(request.headers)
        token = (await form_of(request)).get("token", "").strip()
        if not is_token(token):
            return self._not_in(NO_TOKEN, 403)
        try:
            await self._visits.who(reader_of(request, token))
        except LoggedOut as error:
            return self._not_in(str(error), 403)
        except Failed as failed:
            return self._not_in(str(failed), status_of(failed.code))
        response = RedirectResponse("/", status_code=303)
        self._sessions.begin(response, token, time.time())
        return response

    def _not_in(self, words: str, status: int) -> Response:
        return HTMLResponse(self._renderer.page("login", words=words), status_code=status)

    async def _logout(self, _visit: Visit) -> Response:
        response = RedirectResponse("/login", status_code=303)
        self._sessions.end(response)
        return response

    async def _file(self, request: Request) -> Response:
        found = self._static.files.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("no such file\n", status_code=404)
        kind, content = found
        is_ours = request.path_params["version"] == self._static.version  # else: of another server's page
        return Response(content, media_type=kind, headers={"cache-control": FOR_EVER if is_ours else "no-cache"})

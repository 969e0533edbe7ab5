"""`/metrics`: the page of numbers, for who shows a token that may read it."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from homeport_control.domain.errors import Denied, HomeportError
from homeport_control.trust.guesses import TooManyGuesses

FOLLOWS = b"""# HELP homeport_server_leads 1: it leads, and has all other numbers too.
# TYPE homeport_server_leads gauge
homeport_server_leads 0
"""


class Metrics:
    """Its `route` is for web_app. `check` raises Denied for an Authorization header, of an address, that may not."""

    def __init__(self, check: Callable[[str, str], Awaitable[None]], content_type: str) -> None:
        self.page: Callable[[], Awaitable[bytes]] | None = (
            None  # gives the text; None: another server leads, and has it
        )
        self._check = check
        self._content_type = content_type
        self.route = Route("/metrics", self._answer)

    async def _answer(self, request: Request) -> Response:
        try:
            await self._check(request.headers.get("authorization", ""), request.client.host if request.client else "")
            text = await self.page() if self.page is not None else FOLLOWS
        except TooManyGuesses as error:
            return PlainTextResponse(f"{error}\n", status_code=429)
        except Denied as error:
            return PlainTextResponse(f"{error}\n", status_code=401, headers={"www-authenticate": "Bearer"})
        except HomeportError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        return Response(text, media_type=self._content_type)

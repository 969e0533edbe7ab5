"""`/metrics`: the page of numbers, for who shows a token that may read it."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from homeport_control.domain.errors import Denied, HomeportError


class Metrics:
    """Its `route` is for web_app. `check` raises Denied for an Authorization header that may not; `page` gives the text."""

    def __init__(
        self, check: Callable[[str], Awaitable[None]], page: Callable[[], Awaitable[bytes]], content_type: str
    ) -> None:
        self._check = check
        self._page = page
        self._content_type = content_type
        self.route = Route("/metrics", self._answer)

    async def _answer(self, request: Request) -> Response:
        try:
            await self._check(request.headers.get("authorization", ""))
            text = await self._page()
        except Denied as error:
            return PlainTextResponse(f"{error}\n", status_code=401, headers={"www-authenticate": "Bearer"})
        except HomeportError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        return Response(text, media_type=self._content_type)

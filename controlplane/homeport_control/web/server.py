"""The small HTTPS surface. Now: the CA's certificate, for those who hold its hash, and a health check.

`/ca.pem` is public by nature: it proves nothing to who does not pin it. Nothing else is served without a token.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


def web_app(ca_pem: bytes) -> Starlette:
    async def ca(_request: Request) -> Response:
        return Response(ca_pem, media_type="application/x-pem-file")

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(routes=[Route("/ca.pem", ca), Route("/healthz", healthz)])

"""The small HTTPS surface: the CA's certificate, a health check, what a host that joins downloads, and what others add to it.

All that stands here is public by nature: the CA proves nothing to who does not pin it, and the rest is Homeport itself.
"""

import asyncio
from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from homeport_control.web.downloads import BUNDLE, Downloads
from homeport_control.web.uv_program import compressed


def web_app(
    ca_pem: bytes, downloads: Downloads, why_not: Callable[[], str] = lambda: "", routes: Sequence[BaseRoute] = ()
) -> Starlette:
    """`why_not`: why this server cannot be used now, for who balances between several; empty: it can.

    `routes`: what else is served; each of them says who may.
    """

    async def ca(_request: Request) -> Response:
        return Response(ca_pem, media_type="application/x-pem-file")

    async def healthz(_request: Request) -> Response:
        because = why_not()
        return PlainTextResponse(f"{because or 'ok'}\n", status_code=503 if because else 200)

    async def script(_request: Request) -> Response:
        return Response(downloads.script, media_type="text/x-shellscript; charset=utf-8")

    async def manifest(_request: Request) -> Response:
        return PlainTextResponse(downloads.manifest())

    async def requirements(_request: Request) -> Response:
        return Response(downloads.requirements, media_type="text/plain; charset=utf-8")

    async def wheel(_request: Request) -> Response:
        return Response(downloads.wheel, media_type="application/octet-stream")

    async def bundle(_request: Request) -> Response:
        if not downloads.bundle.exists():
            return PlainTextResponse("no bundle is served; `homeport bundle` makes one\n", status_code=404)
        return FileResponse(downloads.bundle, media_type="application/gzip")

    packing = asyncio.Lock()

    async def uv(_request: Request) -> Response:
        if downloads.uv is None:
            return PlainTextResponse("this server has no uv; hosts use their pip\n", status_code=404)
        async with packing:  # many hosts may join at once
            packed = await asyncio.to_thread(compressed, downloads.uv, downloads.bundle.parent)
        return FileResponse(packed, media_type="application/gzip")

    return Starlette(
        routes=[
            Route("/ca.pem", ca),
            Route("/healthz", healthz, methods=["GET", "HEAD"]),
            Route("/install.sh", script),
            Route("/host/manifest", manifest),
            Route("/host/requirements.txt", requirements),
            Route(f"/host/{downloads.wheel_name}", wheel),
            Route("/host/uv.gz", uv),
            Route(f"/host/{BUNDLE}", bundle),
            *routes,
        ]
    )

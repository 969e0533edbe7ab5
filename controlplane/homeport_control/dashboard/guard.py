"""What every answer of the dashboard has, and what a request that changes something must be.

Covers the headers (a strict CSP: no inline script or style, nothing from elsewhere, no frame), where a POST must come from, and
forms read with a bound. Who is logged in: session.py.
"""

import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request
from starlette.responses import Response

from homeport_control.dashboard.session import Session

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
FORM_SECRET = "form_secret"  # noqa: S105 -- a field's name
SECRET_HEADER = "x-homeport-form"  # noqa: S105 -- the same for who sends JSON
MOST_BYTES = 64 << 10  # of a form
MOST_FIELDS = 32


class Refused(Exception):
    """The request is not taken: `status`, and why in one line."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def secured(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers[name] = value
    response.headers.setdefault("cache-control", "no-store")
    return response


def must_be_from_here(headers: Mapping[str, str]) -> None:
    """Raises Refused for a request that another site has caused. Every browser says one of the two at a POST."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        raise Refused(403, f"this request came from another site ({site}); open the dashboard and do it there")
    if origin is not None and urlsplit(origin)[:2] != ("https", headers.get("host", "")):
        raise Refused(403, "this request came from another site; open the dashboard and do it there")
    if site is None and origin is None:
        raise Refused(403, "this request does not say where it came from; use a browser, or the API")


def must_have_secret(session: Session, said: str) -> None:
    """Raises Refused."""
    if not hmac.compare_digest(session.form_secret.encode(), said.encode()):
        raise Refused(403, "this form is of another session; load the page anew and try again")


async def body_of(request: Request, most_bytes: int) -> bytes:
    """Raises Refused for a longer one, before it is read."""
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > most_bytes:
            raise Refused(413, f"the request is longer than {most_bytes} bytes")
    return bytes(content)


async def form_of(request: Request) -> dict[str, str]:
    content = await body_of(request, MOST_BYTES)
    try:
        return dict(parse_qsl(content.decode(), max_num_fields=MOST_FIELDS, keep_blank_values=True))
    except ValueError:
        raise Refused(400, "the form cannot be read") from None

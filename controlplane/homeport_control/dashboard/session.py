"""Who is logged in: a cookie that holds the token, sealed by the server's key, and a secret for the forms of this session.

Nothing is kept on the server, so each of several servers takes it; the token is checked by the API at each look, so that
revoking it ends the session. Covers the cookie; what a request must be to change something: guard.py.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.responses import Response

from homeport_control.domain.errors import NotReady
from homeport_control.trust.sealing import Sealer

COOKIE = "__Host-homeport"  # the prefix: a browser takes it over HTTPS alone, for this host alone
LIFE_S = 12 * 3600.0
MOST_COOKIE = 4096
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
_USE = "dashboard"  # what the sealed text is for: the same key seals other things


@dataclass(frozen=True, slots=True)
class Session:
    token: str = field(repr=False)
    form_secret: str = field(repr=False)
    until_s: float


def is_token(text: str) -> bool:
    """Whether it could be one: what else may not stand in a header."""
    return _TOKEN.fullmatch(text) is not None


class Sessions:
    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def begin(self, response: Response, token: str, now_s: float) -> None:
        """Set the cookie; HttpOnly, Secure, SameSite=Strict."""
        said = {"use": _USE, "token": token, "form": secrets.token_urlsafe(24), "until": now_s + LIFE_S}
        sealed = self._sealer.seal(json.dumps(said)).decode().rstrip("=")
        response.set_cookie(
            COOKIE, sealed, max_age=int(LIFE_S), path="/", secure=True, httponly=True, samesite="strict"
        )

    def end(self, response: Response) -> None:
        response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")

    def of(self, cookies: Mapping[str, str], now_s: float) -> Session | None:
        """None: there is none, it is over, or somebody made it up."""
        sealed = cookies.get(COOKIE, "")
        if not sealed or len(sealed) > MOST_COOKIE or not sealed.isascii():
            return None
        try:
            said = json.loads(self._sealer.open((sealed + "=" * (-len(sealed) % 4)).encode()))
        except (NotReady, ValueError):
            return None
        if not isinstance(said, dict) or said.get("use") != _USE or said["until"] <= now_s:
            return None
        return Session(said["token"], said["form"], said["until"])

"""Certificates of gateways, as they are kept: for which name, for how long, and why there is no newer one."""

from dataclasses import dataclass, field

CA = ""  # the name under which a gateway's own CA is kept
ALL_NAMES = "*"  # and a certificate that is shown to everybody (by HTTP/3 there must be one)
ACCOUNT = "@account"  # and the key of its account with an authority
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
HTTP_01, DNS_01 = "http-01", "dns-01"  # how a name is proved (RFC 8555, section 8)
NO_SERVER = frozenset({CA, ACCOUNT})  # what is kept and never shown


@dataclass(frozen=True, slots=True)
class Kept:
    gateway: str
    name: str
    source: str  # the type of the gateway's certificate that it was made for
    chain_pem: str = ""  # empty: none yet
    key: bytes = field(default=b"", repr=False)  # sealed
    not_before_s: float = 0.0
    not_after_s: float = 0.0
    problem: str = ""
    failures: int = 0  # in a row
    next_try_s: float = 0.0  # after a failure


@dataclass(frozen=True, slots=True)
class Issued:
    """What an authority gave us."""

    chain_pem: str
    key_pem: str = field(repr=False)


class CannotIssue(Exception):
    """One line why. `wait_s`: how long the authority wants to be left alone at least."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s

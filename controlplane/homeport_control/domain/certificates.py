"""Certificates of gateways, as they are kept: for which name, for how long, and why there is no newer one."""

from dataclasses import dataclass, field

CA = ""  # the name under which a gateway's own CA is kept
ALL_NAMES = "*"  # and a certificate that is shown to everybody


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

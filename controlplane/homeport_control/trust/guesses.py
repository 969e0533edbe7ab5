"""Wrong tokens: how many one address may try, and all together, before they are not even looked up.

A token cannot be guessed (256 random bits); what is limited is the work that trying makes, and the noise. PURE but for its
memory, which is bounded; of one server process. A token that was good lately is never slowed, so whoever shares an address
with one that guesses (NAT, a balancer) goes on; nor is an address that has tried nothing wrong.
"""

import ipaddress
import math
from collections import OrderedDict
from dataclasses import dataclass

from homeport_control.domain.errors import HomeportError

BURST, PER_S = 20.0, 0.2  # of one address: so many at once, then one each 5 s
ALL_BURST, ALL_PER_S = 500.0, 50.0  # of all that have tried a wrong one
MOST_ADDRESSES = 10_000
MOST_GOOD = 10_000


class TooManyGuesses(HomeportError):
    """Try again later; the line says when."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at_s: float

    def refill(self, now_s: float, per_s: float, burst: float) -> None:
        self.left = min(burst, self.left + max(0.0, now_s - self.at_s) * per_s)
        self.at_s = now_s

    def wait_s(self, per_s: float) -> float:
        return max(0.0, 1.0 - self.left) / per_s


class Guesses:
    """`now_s` by a monotonic clock."""

    def __init__(self) -> None:
        self._by_address: OrderedDict[str, _Bucket] = OrderedDict()
        self._all = _Bucket(ALL_BURST, 0.0)
        self._good: OrderedDict[str, None] = OrderedDict()  # SHA-256 of tokens

    def check(self, address: str, sha256: str, now_s: float) -> None:
        """Before a token is looked up. Raises TooManyGuesses."""
        known = self._by_address.get(group_of(address))
        if known is None or sha256 in self._good:
            return
        known.refill(now_s, PER_S, BURST)
        self._all.refill(now_s, ALL_PER_S, ALL_BURST)
        wait_s = max(known.wait_s(PER_S), self._all.wait_s(ALL_PER_S))
        if wait_s > 0:
            raise TooManyGuesses(
                f"too many wrong tokens came from {address}; try again in {max(1, math.ceil(wait_s))} s, with one that is good"
            )

    def are_too_many(self, now_s: float) -> bool:
        """All together have tried as many wrong ones as may be."""
        self._all.refill(now_s, ALL_PER_S, ALL_BURST)
        return self._all.left < 1

    def is_good(self, sha256: str) -> bool:
        """It was, when it was looked up last."""
        return sha256 in self._good

    def was_wrong(self, address: str, sha256: str, now_s: float) -> None:
        self._good.pop(sha256, None)
        group = group_of(address)
        known = self._by_address.setdefault(group, _Bucket(BURST, now_s))
        self._by_address.move_to_end(group)
        for bucket, per_s, burst in ((known, PER_S, BURST), (self._all, ALL_PER_S, ALL_BURST)):
            bucket.refill(now_s, per_s, burst)
            bucket.left -= 1
        while len(self._by_address) > MOST_ADDRESSES:
            self._by_address.popitem(last=False)

    def was_good(self, sha256: str) -> None:
        self._good[sha256] = None
        self._good.move_to_end(sha256)
        while len(self._good) > MOST_GOOD:
            self._good.popitem(last=False)


def address_of(peer: str) -> str:
    """The address in gRPC's peer string: "ipv4:127.0.0.1:51734", "ipv6:%5B::1%5D:51734"."""
    family, _, rest = peer.partition(":")
    if family == "ipv6":
        return rest.rpartition(":")[0].removeprefix("%5B").removesuffix("%5D").strip("[]")
    return rest.rpartition(":")[0]


def group_of(address: str) -> str:
    """Who counts as one: an IPv4 address, an IPv6 network of /64, which is what one machine gets."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((found, 64), strict=False))

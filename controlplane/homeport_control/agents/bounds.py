"""What of a host's word is taken: text that a terminal may show, numbers that a number can be, lists of a bounded length.

PURE. A host has a certificate, but it is a machine that somebody else may have taken over: what it says goes into the
database, into tables and to gateways, so it is cut to size here, and nowhere else. What is cut is never what an agent of
ours says: its own limits are below these.
"""

import ipaddress
import math
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar

from homeport_protos.text import one_line

MOST_MESSAGE_BYTES = 4 << 20  # of one message but an answer with logs or usage
MOST_REPLICAS = 2048  # in one report
MOST_GPUS = 256  # of one host, MIG instances too
MOST_PROCESSES = 256  # that hold memory of one GPU
MOST_FINDINGS = 512
MOST_IMAGES = 500  # as the agent's own limit
MOST_PORTS = 4096  # of a door
MOST_LOG_TAIL = 50  # lines that come with a failure
MOST_GATEWAYS = 64  # of one host
MOST_REACHED = 10_000  # hosts that a gateway's host says it can dial
MOST_NAME = 200
MOST_SENTENCE = 1000
MOST_LINE = 4000
MOST_AMOUNT = 2**50  # of MiB, bytes and the like
MOST_TIME_S = 4e9  # unix time, about the year 2096
T = TypeVar("T")


def name(text: str) -> str:
    return one_line(text, MOST_NAME)


def sentence(text: str) -> str:
    return one_line(text, MOST_SENTENCE)


def line(text: str) -> str:
    """Of a log: tabs and colours are its own, they are shown as they are where a log is shown."""
    return text.replace("\0", "")[:MOST_LINE]


def amount(number: int) -> int:
    return min(max(number, 0), MOST_AMOUNT)


def count(number: int) -> int:
    return min(max(number, 0), 2**31 - 1)


def port(number: int) -> int:
    """0: none that can be one."""
    return number if 0 < number < 65536 else 0


def ports(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(it for it in islice(numbers, MOST_PORTS) if port(it))


def address(text: str) -> str:
    """Of a door: Envoy takes a numeric one only, and one that it refuses would be refused with everything beside it."""
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text else ""
    except ValueError:
        return ""


def time_s(at_s: float) -> float:
    return min(max(at_s, 0.0), MOST_TIME_S) if math.isfinite(at_s) else 0.0


def share(part: float) -> float:
    return min(max(part, 0.0), 1.0) if math.isfinite(part) else 0.0


def first(items: Sequence[T], most: int) -> Iterable[T]:
    return islice(items, most)

"""Requests that are held at a gateway's door: how many and how long, and what their answers may be."""

from dataclasses import dataclass

MOST_HELD = 1_000  # of one service, over all gateways; further ones are answered at once
LONGEST_HELD_S = 600.0
# What a gateway says of a held request, by these names.
GATEWAY_KEY = "gateway"
SERVICE_KEY = "service"


@dataclass(frozen=True, slots=True)
class GoOn:
    """A replica is in rotation at that gateway."""


@dataclass(frozen=True, slots=True)
class Wait:
    """`until_s`: when it is judged anew even if nothing changes (unix seconds)."""

    until_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answered 503 with this sentence."""

    message: str
    code: str  # a word for programs
    retry_after_s: int | None = None  # None: trying again later is not known to help


Verdict = GoOn | Wait | Refusal


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a service that requests wait for."""

    cold_start_s: float | None = None  # median of its last starts, from creation to ready; None: none was measured
    hopeless: str = ""  # why no replica will come: nobody is held
    failure: str = ""  # why the last start failed: who waited for it waits no longer
    failed_at_s: float = 0.0
    next_start_s: float = 0.0  # of the next try, when it is known


UNKNOWN = Outlook()

"""What a load client has seen: how many of each kind, what failed and how, how long it took; and a table of it.

`Wrong` is how a check says that an answer is not what it must be. Does not ask and does not check (exchanges).
"""

import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from rig.answers import Ask

KEPT_FAILURES = 20
EXCERPT_BYTES = 200
_OWNER = re.compile(rb"n=(\d+)&nonce=(\w+)")
_EVENT_ID = re.compile(rb"^id: (\d+)$", re.MULTILINE)


class Kind(StrEnum):
    PLAIN = "plain"
    UPLOAD = "upload"
    EVENTS = "events"
    SOCKET = "socket"


class Wrong(Exception):
    """An answer that is not what it must be. The text is the reason by which failures are counted: it has no numbers."""


@dataclass
class Exchange:
    """One request and what came back of it, as far as it came."""

    kind: Kind
    ask: Ask
    began_at_s: float = field(default_factory=time.time)  # of the clock on the wall, to find it in logs
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    got: bytes = b""  # what was to be the answer; of a websocket the last frame
    first_answer_s: float | None = None  # from the begin to the first part of the answer that was right


@dataclass(frozen=True, slots=True)
class Failure:
    kind: Kind
    number: int
    nonce: str
    reason: str
    status: int
    headers: Mapping[str, str]
    got_bytes: int
    excerpt: bytes  # the end of what came
    began_at_s: float
    after_s: float

    def __str__(self) -> str:
        when = time.strftime("%H:%M:%S", time.gmtime(self.began_at_s)) + f"{self.began_at_s % 1:.3f}"[1:]
        return (
            f"{self.kind} {self.number} ({self.nonce}) begun {when}: {self.reason} after {self.after_s:.3f} s; status "
            f"{self.status or 'none'}, {self.got_bytes} bytes {self.excerpt!r}, headers {dict(self.headers)}"
        )


@dataclass
class Tally:
    """Of one kind."""

    sent: int = 0
    ok: int = 0
    failed: Counter[str] = field(default_factory=Counter)  # by reason
    seconds: list[float] = field(default_factory=list)  # of those that are ok: to the end of an answer, to the first
    # event or frame of what lasts longer
    revisions: Counter[str] = field(default_factory=Counter)  # that answered

    @property
    def unanswered(self) -> int:
        """Sent, and neither ok nor failed: under way, or lost by this client when it has ended."""
        return self.sent - self.ok - self.failed.total()

    def quantile_ms(self, share: float) -> float:
        """Milliseconds below which that share of the answers was there; nan when there was none."""
        if not self.seconds:
            return math.nan
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


@dataclass
class Results:
    tallies: dict[Kind, Tally] = field(default_factory=lambda: {kind: Tally() for kind in Kind})
    failures: list[Failure] = field(default_factory=list)  # the first ones
    right_at_s: list[float] = field(default_factory=list)  # when each right answer had ended, of time.monotonic

    @property
    def sent(self) -> int:
        return sum(tally.sent for tally in self.tallies.values())

    @property
    def answered(self) -> int:
        return sum(tally.ok + tally.failed.total() for tally in self.tallies.values())

    @property
    def not_ok(self) -> int:
        """Failed, and those of which nothing is known."""
        return sum(tally.failed.total() + tally.unanswered for tally in self.tallies.values())

    @property
    def revisions(self) -> Counter[str]:
        return sum((tally.revisions for tally in self.tallies.values()), Counter())

    def begin(self, kind: Kind) -> None:
        self.tallies[kind].sent += 1

    def succeed(self, exchange: Exchange, after_s: float) -> None:
        tally = self.tallies[exchange.kind]
        tally.ok += 1
        self.right_at_s.append(time.monotonic())
        tally.seconds.append(after_s if exchange.first_answer_s is None else exchange.first_answer_s)
        tally.revisions[exchange.headers.get("x-revision", "none")] += 1

    def fail(self, exchange: Exchange, reason: str, after_s: float) -> None:
        self.tallies[exchange.kind].failed[reason] += 1
        if len(self.failures) >= KEPT_FAILURES:
            return
        ask, got = exchange.ask, exchange.got
        self.failures.append(
            Failure(
                exchange.kind,
                ask.number,
                ask.nonce,
                reason,
                exchange.status,
                exchange.headers,
                len(got),
                got[-EXCERPT_BYTES:],
                exchange.began_at_s,
                after_s,
            )
        )

    def table(self) -> str:
        lines = [f"{'kind':8}{'sent':>9}{'ok':>9}{'failed':>8}{'p50 ms':>10}{'p99 ms':>10}{'max ms':>10}  reasons"]
        for kind, tally in self.tallies.items():
            if tally.sent:
                reasons = ", ".join(f"{count} {reason}" for reason, count in tally.failed.most_common())
                reasons += f", {tally.unanswered} without an end" if tally.unanswered else ""
                times = "".join(f"{tally.quantile_ms(share):10.1f}" for share in (0.5, 0.99, 1.0))
                failed = tally.failed.total() + tally.unanswered
                lines.append(f"{kind:8}{tally.sent:9}{tally.ok:9}{failed:8}{times}  {reasons}".rstrip())
        return "\n".join([*lines, *(f"  {failure}" for failure in self.failures)])


def difference(expected: bytes, got: bytes, ask: Ask) -> str:
    """What is wrong with the whole of an answer, in few words; empty: nothing."""
    if got == expected:
        return ""
    if not got:
        return "an empty answer"
    owners = {(int(number), nonce.decode()) for number, nonce in _OWNER.findall(got)}
    if owners - {(ask.number, ask.nonce)}:
        return "swapped: it answers another request"
    if expected.startswith(got):
        return "cut: it ends too early"
    if got.startswith(expected):
        return "doubled" if got[len(expected) :].startswith(expected) else "more than the answer"
    ids = [int(number) for number in _EVENT_ID.findall(got)]
    if ids:
        return _events_difference(ids)
    return "corrupted: other bytes"


def _events_difference(ids: Sequence[int]) -> str:
    if len(set(ids)) < len(ids):
        return "doubled: an event came twice"
    if ids != sorted(ids):
        return "swapped: events out of order"
    if ids != list(range(len(ids))):
        return "lost: an event is missing"
    return "corrupted: other bytes"

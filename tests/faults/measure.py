"""A fault, measured: requests run and are checked byte by byte while it strikes, and what came of it is held to its promise.

    with measuring(stage, "server-kill-9") as it:       # requests of all four kinds, already answered well
        it.struck()                                     # time zero: now
        stage.stack.server.kill()
        it.client.more(200)                             # answers that come while it is gone
        it.until("it answers again", lambda: ...)       # seconds from zero, held to promise.times_s
    # here every request has ended, and AssertionError says what of the promise did not hold

With HOMEPORT_FAULTS_RECORD=1 the result of a test that has passed whole, with what it checks after its requests, is written to
results/KEY.json (conftest), of which docs/reliability.md is made (table.py).
"""

import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from faults.promises import PROMISES
from faults.words import Promise
from homeport_agent.envoy.host import run_dir
from rig.load_client import Flow, Kind, LoadClient, loading
from rig.nothing_lost import Stage, flows
from rig.stack import wait_for

ANSWER = TypeVar("ANSWER")
RESULTS = Path(__file__).with_name("results")
RECORD = "HOMEPORT_FAULTS_RECORD"
FLOWS = flows(plain_per_s=60, longest_s=4.0)
WARM = 100  # answers before the fault
CAP_S = 60.0  # waited beyond a promise, to say how long it takes in truth


HELD: "list[Measured]" = []  # of the test that runs: what kept its promise, and is not written yet


@dataclass(frozen=True, slots=True)
class Measured:
    """What one cell came to. Requests are counted from before the fault to the end of those that were under way."""

    key: str
    commit: str
    day: str
    requests: int
    after_fault: int  # of them, answered after it
    failed: int  # plain ones
    broken: int  # uploads, streams, websockets
    last_failure_s: float  # when the last failure that is known of began, after the fault
    silent_s: float  # longest time without a right answer, from the fault on
    times_s: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def breaches(self, promise: Promise) -> list[str]:
        """What was promised and did not hold, a sentence each."""
        found = []
        if self.after_fault < promise.least:
            found.append(f"only {self.after_fault} requests were answered after the fault, not {promise.least}")
        if self.failed > promise.may_fail:
            found.append(f"{self.failed} plain requests failed, {promise.may_fail} may")
        if self.broken > promise.may_break:
            found.append(f"{self.broken} POSTs and streams broke, {promise.may_break} may")
        if self.failed + self.broken and self.last_failure_s > promise.failing_s:
            found.append(
                f"a request that began {self.last_failure_s} s after the fault failed, {promise.failing_s} s may"
            )
        if self.silent_s > promise.silent_s:
            found.append(f"{self.silent_s} s without an answer, {promise.silent_s} s may be")
        for what, within_s in promise.times_s.items():
            if what not in self.times_s:
                found.append(f"{what}: was not measured")
            elif self.times_s[what] > within_s:
                found.append(f"{what}: after {self.times_s[what]} s, promised within {within_s} s")
        return found


class Measuring:
    """What the test says while the client runs."""

    def __init__(self, promise: Promise, client: LoadClient) -> None:
        self.promise, self.client = promise, client
        self.times_s: dict[str, float] = {}
        self.zero_s: float | None = None  # monotonic
        self.last_begun_s = 0.0  # monotonic; after it no request begins
        self._zero_wall_s = 0.0
        self._answered_before = 0

    def struck(self) -> None:
        """Time zero; just before the fault strikes."""
        self._answered_before = self.client.results.answered
        self.zero_s, self._zero_wall_s = time.monotonic(), time.time()

    @property
    def since_s(self) -> float:
        """Seconds since the fault."""
        assert self.zero_s is not None, "the fault has not struck: call struck() first"
        return time.monotonic() - self.zero_s

    def until(self, what: str, look: Callable[[], ANSWER | None]) -> ANSWER:
        """Wait for it and note when it came. A name of promise.times_s is held to its bound, at the end, with the number."""
        bound_s = self.promise.times_s.get(what, 0.0)
        answer = wait_for(what, look, max(0.0, bound_s - self.since_s) + CAP_S)
        self.times_s.setdefault(what, round(self.since_s, 2))
        return answer

    def lasts(self, whole_s: float) -> None:
        """The fault lasts so long, from time zero: requests go on until then."""
        while (left_s := whole_s - self.since_s) > 0:
            time.sleep(min(left_s, 0.5))

    def measured(self) -> Measured:
        assert self.zero_s is not None, "nothing has struck"
        results = self.client.results
        tallies = results.tallies
        failed = {kind: tally.failed.total() + tally.unanswered for kind, tally in tallies.items()}
        # Every second plain request is a POST of a kilobyte, which is not sent again either (of the failures that are kept).
        posts = sum(1 for it in results.failures if it.kind is Kind.PLAIN and it.number % 2)
        reasons = sum((tally.failed for tally in tallies.values()), type(tallies[Kind.PLAIN].failed)())
        return Measured(
            key=self.promise.key,
            commit=_git("rev-parse", "--short", "HEAD"),
            day=datetime.now(UTC).date().isoformat(),
            requests=results.sent,
            after_fault=results.answered - self._answered_before,
            failed=failed[Kind.PLAIN] - posts,
            broken=sum(failed.values()) - failed[Kind.PLAIN] + posts,
            last_failure_s=round(max((it.began_at_s - self._zero_wall_s for it in results.failures), default=0.0), 2),
            silent_s=round(longest_gap_s(results.right_at_s, self.zero_s, self.last_begun_s), 2),
            times_s=self.times_s,
            reasons=dict(reasons),
        )


def longest_gap_s(right_at_s: Sequence[float], from_s: float, until_s: float) -> float:
    """The longest time without a right answer between these moments. After the second no request begins: those that waited for
    what had failed end one by one then, and are no silence."""
    moments = [from_s, *(at_s for at_s in sorted(right_at_s) if from_s <= at_s <= until_s), until_s]
    return max((after - before for before, after in itertools.pairwise(moments)), default=0.0)


@contextmanager
def measuring(stage: Stage, key: str, flows: Sequence[Flow] = FLOWS) -> Iterator[Measuring]:
    """See the module. The stage must be settled: what fails before the fault fails the test."""
    promise = PROMISES[key]
    with loading(stage.target, flows) as client:
        client.more(WARM)
        assert client.results.not_ok - sum(it.unanswered for it in client.results.tallies.values()) == 0
        it = Measuring(promise, client)
        yield it
        left = promise.least - (client.results.answered - it._answered_before)
        if left > 0:
            client.more(left, timeout_s=120)
        it.last_begun_s = time.monotonic()
    result = it.measured()
    print(f"{key}: {json.dumps(asdict(result))}\n{client.results.table()}")
    breaches = result.breaches(promise)
    if breaches:
        print("\n".join(refused(stage)))
    assert not breaches, f"{key}: {'; '.join(breaches)}\n{client.results.table()}"
    HELD.append(result)


def refused(stage: Stage) -> list[str]:
    """The newest lines of the gateway's log about requests that were not answered well: replica, flags, times."""
    log = run_dir(stage.stack.agent_state, "local") / "access.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []  # another gateway's is elsewhere
    return [line for line in lines if '"status":2' not in line and '"status":101' not in line][-100:]


def record(results: Sequence[Measured], folder: Path = RESULTS) -> None:
    """Only when asked: a plain test run leaves the working tree as it is."""
    if os.environ.get(RECORD):
        folder.mkdir(exist_ok=True)
        for result in results:
            (folder / f"{result.key}.json").write_text(json.dumps(asdict(result), indent=2, sort_keys=True) + "\n")


def _git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=RESULTS.parent, capture_output=True, text=True, check=True
    ).stdout.strip()

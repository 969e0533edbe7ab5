"""What must cost no request: rollouts, drains, deaths of the server, each as a function that does it once or some times.

Covers the doing on a `Stack`, and one service there whose answers can be checked (`answering`). Requests and their checking:
load_client; what is expected: tests/e2e/test_nothing_lost.py and tests/bench/bench_nothing_lost.py.
"""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from homeport_agent.envoy import admin
from homeport_agent.envoy.host import run_dir
from rig.load_client import Flow, Kind, LoadClient, Target
from rig.log_excerpt import around
from rig.stack import Stack, wait_for

ROLLED_OUT_S = 90.0
SCALED_S = 60.0
SERVER_FLAGS = ["--ready-timeout-s", "6"]  # a revision that never listens is given up while a test waits
SERVICE = """
type: service
name: {name}
image: homeport-test/hello:1
commands: ["{command}"]
port: 8000
replicas: {replicas}
stop_duration: {stop_duration_s}s
probes: [{{type: http, url: /healthz, interval: 1s}}]
env: [REVISION={revision}]
{more}
"""
ANSWERS = "exec python3 -m rig.answering"
BREAKS = "echo it breaks; exit 7"
NEVER_LISTENS = "echo it never listens; exec sleep 600"
# Each replica carries a fifth of what `scale_up_and_down` sends at its most.
RANGE = "{{metric: rps, target: {target:g}, window: 2s, scale_up_delay: 1s, scale_down_delay: 2s}}"


def flows(*, plain_per_s: float, longest_s: float) -> tuple[Flow, ...]:
    """All four kinds. Long ones last up to `longest_s`; so many begin that some run at each moment."""
    return (
        Flow(Kind.PLAIN, workers=16, rate_per_s=plain_per_s),
        Flow(Kind.UPLOAD, workers=2, rate_per_s=max(0.5, plain_per_s / 200)),
        Flow(Kind.EVENTS, workers=10, rate_per_s=15 / longest_s, longest_s=longest_s),
        Flow(Kind.SOCKET, workers=10, rate_per_s=15 / longest_s, longest_s=longest_s),
    )


class Stage:
    """The service on a stack. Every `apply` is a new revision unless told otherwise."""

    def __init__(self, stack: Stack, name: str = "web", *, replicas: int = 2, stop_duration_s: int = 60) -> None:
        self.stack, self.name = stack, name
        self.replicas, self.stop_duration_s = replicas, stop_duration_s
        self.revision = ""  # the word that its answers carry
        self.target = Target(stack.gateway_port, f"{name}.localhost", stack.token)
        self._revisions = itertools.count(1)
        (stack.documents / "rig").mkdir(exist_ok=True)
        for module in ("answers.py", "answering.py"):
            shutil.copy(Path(__file__).with_name(module), stack.documents / "rig" / module)

    def document(self, command: str = ANSWERS, replicas: str = "", more: str = "") -> str:
        return SERVICE.format(
            name=self.name,
            command=command,
            replicas=replicas or self.replicas,
            stop_duration_s=self.stop_duration_s,
            revision=self.revision,
            more=more,
        )

    def apply(
        self, *flags: str, command: str = ANSWERS, new: bool = True, expect: int = 0, replicas: str = "", more: str = ""
    ) -> str:
        """Its output. `new`: a revision of its own; `expect`: the exit status."""
        if new:
            self.revision = f"r{next(self._revisions)}"
        document = self.document(command, replicas, more)
        done = self.stack.apply(document, *flags, timeout_s=ROLLED_OUT_S + 60)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(self) -> dict[str, Any]:
        return self.stack.run(self.name)

    def in_rotation(self) -> list[dict[str, Any]]:
        return [it for it in self.run().get("replicas", ()) if it.get("in_rotation")]

    def until(self, what: str, is_so: Callable[[dict[str, Any]], object], timeout_s: float = ROLLED_OUT_S) -> None:
        wait_for(what, lambda: is_so(self.run()), timeout_s)

    def replaced(self) -> None:
        """As many as are wanted are in rotation, all of the current revision; those of before may still drain."""
        self.until("the current revision serves alone", self._is_replaced)

    def _is_replaced(self, run: dict[str, Any]) -> bool:
        revisions = [it["revision"] for it in run.get("replicas", ()) if it.get("in_rotation")]
        return revisions == [run.get("revision")] * run.get("replicas_wanted", 0)

    def settled(self) -> None:
        """Rolled out, and nothing of before runs any more: all drains have ended."""
        self.until("it is rolled out", lambda run: run.get("rolled_out"), self.stop_duration_s + ROLLED_OUT_S)

    def kill_server(self) -> None:
        """kill -9, and started again; returns when it and the host answer."""
        self.stack.server.kill()
        self.stack.server.start()
        wait_for("the server answers again", lambda: self.stack.homeport("ps").returncode == 0)
        self.stack.ready()

    def log_lines(self, word: str) -> list[str]:
        """Those with this word, of the replicas there are and of those whose place they took."""
        lines: list[str] = []
        for flags in ([], ["-p"]):
            done = self.stack.homeport("logs", self.name, *flags)
            assert done.returncode == 0, done.stderr
            lines += [line for line in done.stdout.splitlines() if word in line]
        return lines


def must_have_lost_nothing(stack: Stack, client: LoadClient) -> None:
    """Raises AssertionError, with what server and agent wrote around the first request that failed, and what Envoy says."""
    results = client.results
    print(results.table())
    said = []
    for failure in results.failures[:1]:
        for process in (stack.server, stack.agent):
            lines = around(process.output, failure.began_at_s - 2, failure.began_at_s + 1)
            said += [f"-- {process.name}, around {failure.number}", *lines]
        said += ["-- Envoy", *_of_envoy(stack)]
    assert results.not_ok == 0, "\n".join([*said, results.table()])


def _of_envoy(stack: Stack) -> list[str]:
    """Its counts of connections and endpoints, what it holds of each endpoint, and its last answers without a replica."""
    folder = run_dir(stack.agent_state, "local")
    try:
        counts = admin.get(folder, "/stats?filter=connect_fail|upstream_rq_retry$|membership|ejections").decode()
        endpoints = admin.get(folder, "/clusters").decode()
        answers = (folder / "access.log").read_text().splitlines()
    except OSError as error:
        return [f"it does not say: {error}"]
    of_services = [line for line in counts.splitlines() if "homeport/" not in line]
    told = ("::health_flags::", "::rq_error::", "::rq_total::", "::cx_connect_fail::")
    of_services += [
        line for line in endpoints.splitlines() if any(it in line for it in told) and "homeport/" not in line
    ]
    return [*of_services, *[line for line in answers if '"status":503' in line][-5:]]


Scenario = Callable[[Stage, LoadClient, int], None]  # stage, client, how many requests must be answered in it


def roll(stage: Stage, client: LoadClient, answers: int) -> None:
    """A new revision replaces the one that serves."""
    stage.apply("-d")
    stage.replaced()
    client.more(answers)


def scale_down_and_up(stage: Stage, client: LoadClient, answers: int) -> None:
    """One replica is drained and stopped, and one comes back."""
    stage.replicas -= 1
    stage.apply(new=False)
    stage.settled()
    client.more(answers // 2)
    stage.replicas += 1
    stage.apply(new=False)
    stage.replaced()
    client.more(answers // 2)


def breaks(stage: Stage, client: LoadClient, answers: int) -> None:
    """A revision whose program ends: the one before it goes on by itself."""
    _give_up(stage, client, answers, BREAKS, "it breaks")


def never_listens(stage: Stage, client: LoadClient, answers: int) -> None:
    """A revision that is not ready in time: the one before it goes on by itself."""
    _give_up(stage, client, answers, NEVER_LISTENS, "it never listens")


def _give_up(stage: Stage, client: LoadClient, answers: int, command: str, says: str) -> None:
    before = stage.revision
    output = stage.apply(command=command, expect=1)
    assert says in output, output
    stage.revision = before
    stage.settled()
    client.more(answers)


def kill_in_rollout(stage: Stage, client: LoadClient, answers: int) -> None:
    """kill -9 of the server while replicas are being replaced; it goes on when it is back."""
    stage.apply("-d")
    stage.until("a new replica is there", lambda run: any(it["revision"] == run["revision"] for it in run["replicas"]))
    stage.kill_server()
    stage.replaced()
    client.more(answers)


def kill_in_drain(stage: Stage, client: LoadClient, answers: int) -> None:
    """kill -9 of the server while a replica drains."""
    stage.replicas -= 1
    stage.apply("-d", new=False)
    stage.until("one drains", lambda run: any(it["state"] == "draining" for it in run["replicas"]))
    stage.kill_server()
    stage.settled()
    stage.replicas += 1
    stage.apply(new=False)
    stage.replaced()
    client.more(answers)


def kill_in_giving_up(stage: Stage, client: LoadClient, answers: int) -> None:
    """kill -9 of the server while a revision is tried that will never be ready."""
    before = stage.revision
    stage.apply("-d", command=NEVER_LISTENS)
    stage.until("it is tried", lambda run: any(it["state"] == "probing" for it in run["replicas"]))
    stage.kill_server()
    stage.settled()
    stage.revision = before
    client.more(answers)


def apply_in_succession(stage: Stage, client: LoadClient, answers: int) -> None:
    """Four revisions, none waits for the one before: the last wins."""
    for _ in range(4):
        stage.apply("-d")
    stage.replaced()
    seen = client.results.revisions[stage.revision]
    client.more(answers)
    assert client.results.revisions[stage.revision] > seen, f"none was answered by {stage.revision}"


def scale_up_and_down(stage: Stage, client: LoadClient, answers: int) -> None:
    """1 → 5 → 1, by load. The client's plain requests are at a fifth of their rate at its begin and at its end."""
    plain_per_s = client.rate_per_s(Kind.PLAIN)
    client.speed = 0.15
    stage.apply(new=False, replicas="1..5", more=f"scaling: {RANGE.format(target=plain_per_s / 5)}")
    _has(stage, 1)
    client.speed = 1.0
    _has(stage, 5)
    client.more(answers)
    client.speed = 0.15
    _has(stage, 1)


def to_zero_and_back(stage: Stage, client: LoadClient, answers: int) -> None:
    """Nothing runs, and the requests that come then are held until something does."""
    stage.apply("-d", new=False, replicas="0..2", more=f"scaling: {RANGE.format(target=client.rate_per_s(Kind.PLAIN))}")
    client.speed = 0.0
    _has(stage, 0)
    client.speed = 1.0
    client.more(answers)


def kill_in_scaling(stage: Stage, client: LoadClient, answers: int) -> None:
    """kill -9 of the server as the load brings replicas; when it is back it measures anew, and goes on."""
    plain_per_s = client.rate_per_s(Kind.PLAIN)
    client.speed = 0.15
    stage.apply(new=False, replicas="1..5", more=f"scaling: {RANGE.format(target=plain_per_s / 5)}")
    _has(stage, 1)
    client.speed = 1.0
    stage.until("more are wanted", lambda run: run.get("replicas_wanted", 0) > 1)
    stage.kill_server()
    _has(stage, 5)
    client.more(answers)


def kill_while_held(stage: Stage, client: LoadClient, answers: int) -> None:
    """kill -9 of the server while requests are held: their gateway asks it again when it is back."""
    stage.apply("-d", new=False, replicas="0..2", more=f"scaling: {RANGE.format(target=client.rate_per_s(Kind.PLAIN))}")
    client.speed = 0.0
    _has(stage, 0)
    client.speed = 1.0
    stage.until("a replica is wanted for them", lambda run: run.get("replicas"))
    stage.kill_server()
    client.more(answers)


def _has(stage: Stage, count: int) -> None:
    wait_for(f"{count} replicas serve", lambda: len(stage.in_rotation()) == count, SCALED_S + stage.stop_duration_s)


SCENARIOS: dict[str, Scenario] = {
    "rolling updates": roll,
    "scale down and up": scale_down_and_up,
    "a revision breaks": breaks,
    "a revision is never ready": never_listens,
    "server killed in a rollout": kill_in_rollout,
    "server killed in a drain": kill_in_drain,
    "server killed as a revision is tried": kill_in_giving_up,
    "four applies in succession": apply_in_succession,
}
OF_A_RANGE: dict[str, Scenario] = {
    "1 to 5 to 1 by load": scale_up_and_down,
    "server killed as the load brings replicas": kill_in_scaling,
    "to zero and back": to_zero_and_back,
    "server killed while requests are held": kill_while_held,
}

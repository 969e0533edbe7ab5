"""Replicas come and go by the load that the gateway counts: no request is lost, and the sentence of each change has numbers."""

import json
import threading
import time
from collections import Counter
from datetime import datetime
from types import TracebackType
from typing import Any

import pytest
from rig.stack import Stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

WEB = """
type: service
name: scaled
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
repo: false
stop_duration: 20s
replicas: 1..3
scaling: {metric: concurrency, target: 1, scale_up_delay: 0s, scale_down_delay: 5s, window: 5s}
"""


class Busy:
    """So many requests under way at any time until it is left, each of half a second; every answer is counted."""

    def __init__(self, homeport: Stack, name: str, clients: int) -> None:
        self._homeport, self._name = homeport, name
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        self.answers: Counter[str] = Counter()

    def _ask(self) -> None:
        while not self._stop.is_set():
            try:
                status, _, body = get(
                    self._homeport.gateway_port, self._name, "/slow?s=0.5", self._homeport.token, timeout_s=20
                )
                said = str(status) if status != 200 or json.loads(body)["path"] == "/slow?s=0.5" else repr(body[:100])
            except Exception as failure:  # every kind of failure is counted
                said = repr(failure)
            with self._lock:
                self.answers[said] += 1

    def __enter__(self) -> "Busy":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def serving(homeport: Stack, name: str) -> int:
    return sum(bool(replica.get("in_rotation")) for replica in homeport.run(name).get("replicas", []))


def scalings(homeport: Stack, name: str) -> list[dict[str, Any]]:
    done = homeport.homeport("event", "--run", name, "--json")
    assert done.returncode == 0, done.stderr
    return [event for event in json.loads(done.stdout)["events"] if " is scaled " in event["sentence"]]


def test_load_adds_replicas_quiet_takes_them_away_and_no_request_is_lost(homeport: Stack) -> None:
    done = homeport.apply(WEB)
    assert done.returncode == 0, done.stderr
    assert "1..3 by concurrency, target 1" in done.stdout + done.stderr
    assert serving(homeport, "scaled") == 1
    with Busy(homeport, "scaled", 1) as quiet:
        began_s = time.time()
        with Busy(homeport, "scaled", 5) as busy:
            wait_for("three replicas serve", lambda: serving(homeport, "scaled") == 3, 60)
            wait_for("a verdict is told", lambda: homeport.run("scaled").get("scaling"))
            shown = homeport.homeport("ps", "-v").stdout
            assert "3/3 (1..3)" in shown
            assert "scaled: scaling: " in shown
        wait_for("one replica is left", lambda: len(homeport.containers("scaled", everything=False)) == 1, 90)
        assert serving(homeport, "scaled") == 1
    assert set(busy.answers) == {"200"}, busy.answers
    assert set(quiet.answers) == {"200"}, quiet.answers
    found = scalings(homeport, "scaled")
    print(f"{quiet.answers.total() + busy.answers.total()} requests, all 200")
    for event in found:
        print(f"{event['at']} {event['sentence']}")
    assert "from 1 to" in found[0]["sentence"]
    print(f"the first decision came after the load, in s: {seconds(found[0]['at']) - began_s:.2f}")
    assert found[-1]["sentence"].startswith("scaled is scaled from ")
    assert " to 1 replica: " in found[-1]["sentence"]


def seconds(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def test_a_wish_that_the_host_cannot_carry_says_why_and_what_serves_goes_on(homeport: Stack) -> None:
    cpus = max(1, int(homeport.hosts()[0]["facts"]["cpus"]))
    wide = WEB.replace("name: scaled", "name: wide") + f"resources: {{cpu: {cpus}}}\n"
    done = homeport.apply(wide)
    assert done.returncode == 0, done.stderr
    with Busy(homeport, "wide", 4) as busy:
        run = wait_for(
            "it says what is lacking",
            lambda: (
                run if "wait for a host: 0 of 1 host fit" in (run := homeport.run("wide")).get("scaling", "") else {}
            ),
            30,
        )
        print(run["reason"], "|", run["scaling"])
        assert run["reason"].startswith("1 of 3 replicas in rotation; replica 1 waits for a host: 0 of 1 host fit")
    assert set(busy.answers) == {"200"}, busy.answers
    assert homeport.homeport("stop", "-y", "wide").returncode == 0

"""`homeport metrics` end to end: numbers of real containers, requests that Envoy counted, a host that is away."""

import json
from typing import Any

import pytest
from rig.stack import Stack, wait_for
from rig.traffic import Traffic

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

BUSY = """
type: service
name: busy
image: homeport-test/hello:1
commands:
  - (while true; do true; done) & exec python3 /hello.py
port: 8000
replicas: 2
resources: {cpu: 1..1, memory: 64MB..256MB}
"""


def metrics(homeport: Stack, *flags: str) -> dict[str, Any]:
    done = homeport.homeport("metrics", "busy", "--json", *flags)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    answer: dict[str, Any] = json.loads(line)
    return answer


@pytest.fixture(scope="module")
def busy(homeport: Stack) -> Stack:
    done = homeport.apply(BUSY)
    assert done.returncode == 0, done.stderr
    return homeport


def test_one_call_shows_what_each_container_uses(busy: Stack) -> None:
    one, two = metrics(busy)["replicas"]
    for replica in (one, two):
        assert (replica["host"], replica["state"], replica["message"]) == ("test-host", "running", "")
        assert 0.05 < replica["cpu_cores"] <= 1.3, "a loop that never ends, held to one core"
        assert replica["cpu_limit"] == 1
        assert 1 <= int(replica["memory_mib"]) <= 256
        assert int(replica["memory_limit_mib"]) == 256
        assert "gpus" not in replica or replica["gpus"] == []
    table = busy.homeport("metrics", "busy").stdout.splitlines()[:4]
    assert [line.split()[0] for line in table] == ["NAME", "busy", "replica", "replica"]


def test_requests_are_counted_while_they_come(busy: Stack) -> None:
    wait_for("the gateway reports", lambda: "requests_per_s" in metrics(busy), 15)
    with Traffic(busy.gateway_port, "busy", busy.token, threads=2, rps=40) as traffic:
        seen = wait_for("requests are seen", lambda: a if (a := metrics(busy))["requests_per_s"] > 5 else None, 20)
        answered = wait_for(
            "answers are seen", lambda: a if (a := metrics(busy)["answers"])["success_per_s"] > 5 else None, 20
        )
    assert traffic.failures == []
    parts = sum(replica["requests_per_s"] for replica in seen["replicas"])
    assert parts == pytest.approx(seen["requests_per_s"])
    assert 0 < answered["p50_ms"] <= answered["p99_ms"] < 10_000
    assert answered["server_error_per_s"] == 0


def test_an_unknown_run_is_said_in_one_line(busy: Stack) -> None:
    done = busy.homeport("metrics", "nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: no run nobody; `homeport ps -a` shows all\n"


def test_a_host_that_is_away_is_said_and_its_requests_are_still_counted(busy: Stack) -> None:
    busy.agent.kill()
    try:
        seen = wait_for("the host is away", lambda: a if (a := metrics(busy))["replicas"][0]["message"] else None, 20)
        assert seen["replicas"][0]["message"] == "host test-host is not connected now"
        assert "cpu_cores" not in seen["replicas"][0]
        assert "requests_per_s" in seen, "Envoy runs on without the agent"
    finally:
        busy.agent.start()

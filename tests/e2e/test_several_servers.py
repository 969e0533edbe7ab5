"""Two servers on one PostgreSQL, and the one that leads is killed or frozen in the middle of a rollout: no request is lost.

The parts: tests/unit/control/relay, tests/unit/control/store/test_leadership.py, tests/property/test_leadership.py.
"""

import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from rig.load_client import Kind, LoadClient, loading
from rig.nothing_lost import SERVER_FLAGS, Stage, flows, must_have_lost_nothing
from rig.several import Several, several
from rig.stack import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

FLOWS = flows(plain_per_s=40, longest_s=4.0)
LEADS_WITHIN_S = 5.0
FROZEN_S = 30.0


@pytest.fixture(scope="module")
def stage(images: None) -> Iterator[Stage]:
    with several(*SERVER_FLAGS) as made:
        stage = Stage(made)
        stage.apply()
        stage.settled()
        yield stage


def servers(stage: Stage) -> Several:
    assert isinstance(stage.stack, Several)
    return stage.stack


def begin_a_rollout(stage: Stage) -> None:
    stage.apply("-d")
    stage.until("a new replica is there", lambda run: any(it["revision"] == run["revision"] for it in run["replicas"]))


def all_is_right(stage: Stage, client: LoadClient) -> None:
    must_have_lost_nothing(stage.stack, client)
    assert all(client.results.tallies[kind].ok for kind in Kind)
    stage.settled()
    containers = Counter(it.labels["homeport.replica"] for it in stage.stack.containers(stage.name, everything=False))
    assert len(containers) == stage.replicas
    assert set(containers.values()) == {1}, containers


def test_the_leader_is_killed_in_a_rollout(stage: Stage) -> None:
    several = servers(stage)
    with loading(stage.target, FLOWS) as client:
        client.more(100)
        before, term = several.leader()
        begin_a_rollout(stage)
        several.servers[before].kill()
        took_s = several.until_another_leads(before, time.monotonic())
        print(f"{before} was killed, another leads after {took_s:.1f} s")
        wait_for("the host is connected", lambda: [it["connection"] for it in several.hosts()] == ["connected"], 10)
        stage.replaced()
        client.more(200)
    assert took_s < LEADS_WITHIN_S
    assert several.leader()[1] == term + 1
    all_is_right(stage, client)
    several.servers[before].start()
    events = several.homeport("event", "--kind", "server").stdout
    assert f"leads, term {term + 1}: {before} has ended" in events, events
    assert "is lost" not in several.homeport("event").stdout


def test_the_leader_is_frozen_in_a_rollout_and_follows_when_it_wakes(stage: Stage) -> None:
    several = servers(stage)
    before, term = several.leader()
    with loading(stage.target, FLOWS) as client:
        client.more(100)
        begin_a_rollout(stage)
        several.send(before, signal.SIGSTOP)
        frozen_s = time.monotonic()
        try:
            took_s = several.until_another_leads(before, frozen_s)
            print(f"{before} was frozen, another leads after {took_s:.1f} s")
            stage.replaced()
            client.more(100)
            while time.monotonic() - frozen_s < FROZEN_S:
                client.more(20)
            said = len(several.servers[before].output)
        finally:
            several.send(before, signal.SIGCONT)
        wait_for("it follows", lambda: "event=follows" in several.servers[before].output[said:])
        client.more(100)
        stage.apply("-d")
        stage.replaced()
        client.more(100)
    assert took_s < LEADS_WITHIN_S
    name, now = several.leader()
    assert (name != before, now) == (True, term + 1)
    all_is_right(stage, client)
    assert (
        f"leads, term {term + 1}: {before} has not been heard" in several.homeport("event", "--kind", "server").stdout
    )

"""A host that is removed takes away all that is the server's, at once or when it comes back; its volumes stay."""

from collections.abc import Iterator

import pytest
from rig.stack import Stack, engine, stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

WEB = """
type: service
name: web
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
replicas: 2
stop_duration: 5s
volumes: [removal-data:/data]
"""


@pytest.fixture
def homeport(images: None) -> Iterator[Stack]:
    with stack() as made:
        assert made.apply(WEB).returncode == 0
        yield made


def is_clean(homeport: Stack) -> None:
    wait_for("the containers are gone", lambda: not homeport.containers())
    wait_for("its identity is gone", lambda: not (homeport.agent_state / "identity").exists())
    assert homeport.agent.wait() == 0
    assert [it.name for it in homeport.agent_state.iterdir() if it.name != "lock"] == []
    with engine() as client:
        kept = [it.name for it in client.volumes.list() if it.name.endswith("removal-data")]
        assert kept, "somebody's data"
        for name in kept:
            client.volumes.get(name).remove()
    assert homeport.hosts() == []


def test_a_host_that_is_removed_cleans_itself_and_its_runs_wait_for_another(homeport: Stack) -> None:
    refused = homeport.homeport("fleet", "delete", "no-such-host", "--force", "-y")
    assert (refused.returncode, "no host no-such-host" in refused.stderr) == (1, True)
    done = homeport.homeport("fleet", "delete", "test-host", "--force", "-y")
    assert done.returncode == 0, done.stderr
    assert "host test-host is removed; 2 replicas of it given up" in done.stdout
    is_clean(homeport)
    wait_for("the run says what it lacks", lambda: "no host" in homeport.run("web")["reason"])
    again = homeport.homeport("event", "--host", "test-host")
    assert "was removed from the fleet" in again.stdout


def test_one_that_was_away_cleans_itself_when_it_comes_back(homeport: Stack) -> None:
    homeport.agent.kill()
    done = homeport.homeport("fleet", "delete", "test-host", "--force", "-y")
    assert done.returncode == 0, done.stderr
    assert len(homeport.containers()) == 2, "nobody is there who could"
    homeport.agent.start()
    is_clean(homeport)

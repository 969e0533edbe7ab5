"""The agent is killed, stopped, started again, has no room on its disk: its containers and the gateway go on."""

import pytest
from faults.cells_agent import ADOPTED, CAUGHT_UP
from faults.doing import containers, document, frozen, full, until_connected
from faults.measure import measuring
from rig.nothing_lost import Stage
from rig.stack import wait_for

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]


def connection(stage: Stage) -> str:
    return str(stage.stack.hosts()[0].get("connection"))


def away(stage: Stage) -> bool:
    return connection(stage) != "connected"


def test_it_is_killed(stage: Stage) -> None:
    before = containers(stage)
    with measuring(stage, "agent-kill") as it:
        it.struck()
        stage.stack.agent.kill()
        wait_for("the server misses it", lambda: away(stage))
        stage.stack.agent.start()
        it.until(ADOPTED, lambda: until_connected(stage))
    assert containers(stage) == before


@pytest.mark.nightly
def test_it_hangs(stage: Stage) -> None:
    before = containers(stage)
    with measuring(stage, "agent-stop") as it:
        it.struck()
        with frozen(stage.stack.agent.pid):
            it.until("its host counts as unreachable", lambda: away(stage))
            it.lasts(30)
        it.until(ADOPTED, lambda: until_connected(stage))
    assert containers(stage) == before


@pytest.mark.nightly
def test_it_is_started_again(stage: Stage) -> None:
    before = containers(stage)
    with measuring(stage, "agent-restart") as it:
        it.struck()
        stage.stack.agent.stop()
        stage.stack.agent.start()
        it.until(ADOPTED, lambda: until_connected(stage))
    assert containers(stage) == before


@pytest.mark.nightly
def test_its_disk_is_full(stage: Stage) -> None:
    """A change comes meanwhile, and the agent is killed; then there is room, and the change is carried out."""
    before = containers(stage)
    with measuring(stage, "agent-disk") as it:
        it.struck()
        with full(stage.stack.agent_state):
            it.client.more(100)
            stage.revision = "while full"
            done = stage.stack.apply(document(stage), "-d")
            assert done.returncode == 0, done.stderr
            it.client.more(100)
            stage.stack.agent.kill()
            stage.stack.agent.start()
            it.until(ADOPTED, lambda: until_connected(stage))
            assert before.items() <= containers(stage).items()
        it.until(CAUGHT_UP, lambda: stage.run().get("rolled_out"))
        assert it.client.results.revisions["while full"]

"""The server is killed, stopped, started again, has no room on its disk: who calls a service does not notice."""

import pytest
from faults.cells_server import BACK, REFUSED, TAKEN
from faults.doing import applied, containers, frozen, full, refusal, until_connected
from faults.measure import measuring
from rig.nothing_lost import Stage

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]


def answers(stage: Stage) -> bool:
    return stage.stack.homeport("ps").returncode == 0


def test_it_is_killed(stage: Stage) -> None:
    before, revision = containers(stage), stage.run()["revision"]
    with measuring(stage, "server-kill") as it:
        it.struck()
        stage.stack.server.kill()
        it.client.more(100)
        stage.stack.server.start()
        it.until(BACK, lambda: answers(stage))
        stage.stack.ready()
    assert (containers(stage), stage.run()["revision"]) == (before, revision)


@pytest.mark.nightly
def test_it_hangs(stage: Stage) -> None:
    before = containers(stage)
    with measuring(stage, "server-stop") as it:
        it.struck()
        with frozen(stage.stack.server.pid):
            it.client.more(1500, timeout_s=60)
            it.lasts(30)
        it.until(BACK, lambda: answers(stage) and until_connected(stage))
    assert containers(stage) == before


@pytest.mark.nightly
def test_it_is_started_again(stage: Stage) -> None:
    before = containers(stage)
    with measuring(stage, "server-restart") as it:
        it.struck()
        stage.stack.server.stop()
        stage.stack.server.start()
        it.until(BACK, lambda: answers(stage))
        stage.stack.ready()
    assert containers(stage) == before


def test_its_disk_is_full(stage: Stage) -> None:
    before = containers(stage)
    with measuring(stage, "server-disk") as it:
        it.struck()
        with full(stage.stack.folder / "server"):
            it.until(REFUSED, lambda: refusal(stage, "disk", "free some space"))
            it.client.more(200)
        it.until(TAKEN, lambda: applied(stage))
        assert not stage.stack.run("refused")
    assert containers(stage) == before

"""The server is killed, stopped, started again: who calls a service does not notice."""

import pytest
from faults.cells_server import BACK
from faults.measure import measuring
from rig.nothing_lost import Stage

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]


def test_it_is_killed(stage: Stage) -> None:
    before = {it.id for it in stage.stack.containers(stage.name)}
    with measuring(stage, "server-kill") as it:
        it.struck()
        stage.stack.server.kill()
        it.client.more(100)
        back_s = it.since_s
        stage.stack.server.start()
        it.until(BACK, lambda: stage.stack.homeport("ps").returncode == 0)
        stage.stack.ready()
        assert it.times_s[BACK] - back_s < 10
    assert {it.id for it in stage.stack.containers(stage.name)} == before

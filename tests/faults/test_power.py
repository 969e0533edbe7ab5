"""The machine that is server, gateway and only host loses its power: everything dies at once, and comes back by itself."""

import os
import signal

import pytest
from faults.cells_server import BACK
from faults.doing import gateway_pids, program_pids
from faults.measure import measuring
from rig.nothing_lost import Stage

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]


def test_everything_dies_at_once_and_comes_back(stage: Stage) -> None:
    """Without the machine's own boot: as its supervisors would, agent and server are started again at once."""
    revision, pids = stage.run()["revision"], (*gateway_pids(stage), *program_pids(stage).values())
    with measuring(stage, "server-power") as it:
        it.struck()
        stage.stack.server.kill()
        stage.stack.agent.kill()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        right = len(it.client.results.right_at_s)
        stage.stack.agent.start()
        stage.stack.server.start()
        it.until("services answer again", lambda: len(it.client.results.right_at_s) > right)
        it.until(BACK, lambda: stage.stack.homeport("ps").returncode == 0)
        assert stage.run()["revision"] == revision
        stage.settled()

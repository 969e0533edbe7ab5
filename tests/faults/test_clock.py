"""The server's clock jumps by an hour: no host counts as lost by it, and what is applied is carried out."""

from collections.abc import Iterator

import pytest
from faults.doing import applied, containers, until_connected
from faults.measure import measuring
from rig.clock.clocks import Clock
from rig.nothing_lost import Stage
from rig.stack import stack

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow, pytest.mark.nightly]
LOOKS_S = 20.0  # twice lost_after


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def of_the_server(images: None, clock: Clock) -> Iterator[Stage]:
    with stack(server_env=clock.environment()) as made:
        stage = Stage(made)
        stage.apply()
        assert applied(
            stage
        )  # brings the limit of memory that all cells have: what is applied later changes no container
        yield stage


@pytest.mark.parametrize(("key", "hours"), [("server-clock-ahead", 1.0), ("server-clock-back", -1.0)])
def test_the_servers_clock_jumps(of_the_server: Stage, clock: Clock, key: str, hours: float) -> None:
    stage = of_the_server
    stage.settled()
    before = containers(stage)
    with measuring(stage, key) as it:
        it.struck()
        clock.jump(hours=hours)
        while it.since_s < LOOKS_S:
            assert until_connected(stage)
        assert applied(stage)
        clock.jump()
        begun_s = it.since_s
        while it.since_s - begun_s < LOOKS_S:
            assert until_connected(stage)
        assert applied(stage)
    assert containers(stage) == before

"""A gateway on a machine of its own loses its Envoy, its agent, its power, its server: what it knows it keeps."""

from collections.abc import Iterator

import pytest
from faults.cells_gateway import BACK, KNOWN
from faults.measure import measuring
from faults.on_scene import lasting
from rig.scene import ENVOYS, FLOWS, GATEWAY, Scene, gateway_scene

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow, pytest.mark.nightly]

AWAY_S = 30.0


@pytest.fixture(scope="module")
def made(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with gateway_scene(tmp_path_factory.mktemp("scene")) as made:
        yield made


@pytest.fixture
def here(made: Scene) -> Scene:
    """Settled: what the fault before broke is whole again."""
    made.settle()
    return made


def envoy_pid(here: Scene) -> str:
    return here.machine(GATEWAY).shell(f"cat {ENVOYS}/run/edge/envoy.pid").strip()


def serves(here: Scene) -> bool:
    return here.healthy() == len(here.names)


def test_its_envoy_is_killed(here: Scene) -> None:
    with measuring(here.stage, "gateway-kill", FLOWS) as it:
        it.struck()
        here.machine(GATEWAY).shell(f"kill -9 {envoy_pid(here)}")
        it.until(BACK, lambda: serves(here))


def test_its_agent_is_killed(here: Scene) -> None:
    machine, before = here.machine(GATEWAY), envoy_pid(here)
    with measuring(here.stage, "gateway-agent-kill", FLOWS) as it:
        it.struck()
        machine.shell("kill -9 $(systemctl show -P MainPID homeport-agent)")
        it.until("its session ended", lambda: GATEWAY in here.away())
        it.until(KNOWN, lambda: GATEWAY not in here.away())
    assert envoy_pid(here) == before


def test_its_power_is_lost_and_comes_back(here: Scene) -> None:
    machine = here.machine(GATEWAY)
    with measuring(here.stage, "gateway-power", FLOWS) as it:
        it.struck()
        machine.kill()
        lasting(it, 5)
        machine.boot()
        it.until(BACK, lambda: serves(here))
        it.until(KNOWN, lambda: GATEWAY not in here.away())


@pytest.mark.parametrize(("key", "everybody"), [("gateway-cable", False), ("gateway-away", True)])
def test_the_server_cannot_be_reached(here: Scene, key: str, everybody: bool) -> None:
    """By the gateway's machine alone, or by all: each has an Envoy and an agent that lose it."""
    machines = here.hosts.machines if everybody else [here.machine(GATEWAY)]
    ports = (here.stack.link_port, here.stack.api_port, here.stack.web_port)
    before, containers = envoy_pid(here), here.all_containers()
    with measuring(here.stage, key, FLOWS) as it:
        try:
            it.struck()
            for machine in machines:
                machine.fault("part", *ports)
            it.until("the server misses it", lambda: GATEWAY in here.away())
            lasting(it, AWAY_S)
        finally:
            for machine in machines:
                machine.fault("join", *ports)
        it.until(KNOWN, lambda: not here.away())
        it.client.more(200)
    assert here.all_containers() >= containers, "a container ended"
    assert envoy_pid(here) == before

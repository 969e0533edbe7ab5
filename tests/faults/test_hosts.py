"""A host loses its power, its network, its engine, its disk, its clock: another one serves, and nothing runs twice."""

import os
import signal
from collections.abc import Callable, Iterator

import pytest
from faults.cells_gateway import EDGE_BACK
from faults.cells_host import AGAIN, BACK, OUT, REPLACED, STOPPED
from faults.measure import Measuring, measuring
from faults.on_scene import lasting, no_get_failed
from rig.host_clock import HostClock
from rig.scene import DIRECT, ENVOYS, FLOWS, TUNNEL, Scene, scene
from rig.stack import wait_for
from rig.stale import let_expire

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

STRUCK, SMALL = DIRECT  # SMALL has disks of its own
AWAY_S = 30.0
ENGINE = ("docker", "containerd")


@pytest.fixture(scope="module")
def made(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("scene"), (SMALL,)) as made:
        yield made


@pytest.fixture
def here(made: Scene) -> Scene:
    """Settled: what the fault before broke is whole again."""
    made.settle()
    return made


def is_out_and_replaced(it: Measuring, here: Scene) -> None:
    it.until(OUT, lambda: not here.healthy(of=STRUCK))
    it.until(REPLACED, lambda: here.healthy(but=STRUCK) == len(here.names))


def is_back_and_runs_nothing_twice(it: Measuring, here: Scene) -> None:
    it.until(BACK, lambda: STRUCK not in here.away())
    it.until(STOPPED, lambda: not here.containers(STRUCK))
    assert len(here.all_containers()) == len(here.names)
    assert len(here.serving()) == len(here.names)


def goes_and_comes(here: Scene, key: str, strike: Callable[[], None], undo: Callable[[], None], away_s: float) -> None:
    with measuring(here.stage, key, FLOWS) as it:
        it.struck()
        strike()
        is_out_and_replaced(it, here)
        lasting(it, away_s)
        undo()
        is_back_and_runs_nothing_twice(it, here)
    no_get_failed(it)


def passes_unnoticed(here: Scene, key: str, strike: Callable[[], None], undo: Callable[[], None]) -> None:
    """For half a minute, and for some requests after it: the same containers serve."""
    before = here.all_containers()
    with measuring(here.stage, key, FLOWS) as it:
        try:
            it.struck()
            strike()
            lasting(it, AWAY_S)
        finally:
            undo()
        it.client.more(200)
        wait_for("all are connected", lambda: here.away() == set(), 60)
        for what in it.promise.times_s:
            it.times_s.setdefault(what, 0.0)
    assert here.all_containers() == before
    assert here.serving() == sorted(here.names)
    no_get_failed(it)


def test_its_power_is_lost_and_comes_back(here: Scene) -> None:
    machine = here.machine(STRUCK)
    goes_and_comes(here, "host-power", machine.kill, machine.boot, 20.0)


@pytest.mark.nightly
def test_it_falls_silent(here: Scene) -> None:
    machine = here.machine(STRUCK)
    goes_and_comes(here, "host-drop", lambda: machine.fault("cut"), lambda: machine.fault("mend"), AWAY_S)


@pytest.mark.nightly
def test_nothing_that_is_sent_to_it_arrives(here: Scene) -> None:
    machine = here.machine(STRUCK)
    goes_and_comes(here, "host-drop-to", lambda: machine.fault("deaf"), lambda: machine.fault("hear"), AWAY_S)


@pytest.mark.nightly
def test_nothing_that_it_sends_arrives(here: Scene) -> None:
    machine = here.machine(STRUCK)
    goes_and_comes(here, "host-drop-from", lambda: machine.fault("mute"), lambda: machine.fault("speak"), AWAY_S)


@pytest.mark.nightly
def test_its_cable_is_out_and_in_again(here: Scene) -> None:
    machine = here.machine(STRUCK)
    goes_and_comes(here, "host-cable", lambda: machine.fault("unplug"), lambda: machine.fault("plug"), AWAY_S)


@pytest.mark.nightly
def test_it_is_shut_down_and_started(here: Scene) -> None:
    machine = here.machine(STRUCK)
    with measuring(here.stage, "host-reboot", FLOWS) as it:
        it.struck()
        machine.off()
        machine.boot()
        it.until(BACK, lambda: STRUCK not in here.away())
        it.until(STOPPED, lambda: len(here.all_containers()) == len(here.names) == here.healthy())
        assert len(here.serving()) == len(here.names)
    no_get_failed(it)


@pytest.mark.nightly
def test_its_link_is_slow(here: Scene) -> None:
    machine = here.machine(STRUCK)
    passes_unnoticed(here, "host-slow", lambda: machine.fault("slow", 512), lambda: machine.fault("fast"))


@pytest.mark.nightly
@pytest.mark.parametrize(("key", "hours"), [("host-clock-ahead", 1), ("host-clock-back", -1)])
def test_its_clock_jumps(here: Scene, key: str, hours: float) -> None:
    """Of its agent and its Envoy; then its agent starts anew, so that nothing rests on a connection of before."""
    machine = here.machine(STRUCK)
    with HostClock(machine) as clock:
        here.settle()
        before = here.all_containers()
        with measuring(here.stage, key, FLOWS) as it:
            it.struck()
            clock.jump(hours=hours)
            lasting(it, 10)
            machine.shell("systemctl restart homeport-agent")
            machine.shell(f"kill -9 $(cat {ENVOYS}/door/envoy.pid)")
            jumped_s = it.since_s
            wait_for("it is connected", lambda: STRUCK not in here.away() and here.healthy(of=STRUCK), 60)
            it.times_s[BACK] = round(it.since_s - jumped_s, 2)
            lasting(it, 30)
        assert here.all_containers() == before
        no_get_failed(it)


@pytest.mark.nightly
def test_there_is_no_room_left_for_docker(here: Scene) -> None:
    machine, where = here.machine(SMALL), "/var/lib/docker"
    passes_unnoticed(
        here, "host-disk-docker", lambda: machine.fault("fill", where), lambda: machine.fault("free", where)
    )


@pytest.mark.nightly
def test_there_is_no_room_left_for_the_agents_state(here: Scene) -> None:
    machine, where = here.machine(SMALL), "/var/lib/homeport"
    passes_unnoticed(
        here, "host-disk-state", lambda: machine.fault("fill", where), lambda: machine.fault("free", where)
    )


@pytest.mark.nightly
def test_its_docker_engine_is_restarted(here: Scene) -> None:
    with measuring(here.stage, "host-engine-restart", FLOWS) as it:
        it.struck()
        here.machine(STRUCK).shell("systemctl restart docker")
        wait_for("its containers went", lambda: not here.healthy(of=STRUCK) or here.healthy() < 3 or it.since_s > 5)
        it.until(AGAIN, lambda: here.serving() == sorted(here.names) and here.healthy() == len(here.names))
        it.client.more(100)
    no_get_failed(it)
    assert len(here.all_containers()) == len(here.names)


@pytest.mark.nightly
def test_its_docker_engine_hangs(here: Scene) -> None:
    machine = here.machine(STRUCK)
    passes_unnoticed(
        here, "host-engine-hang", lambda: machine.fault("hang", *ENGINE), lambda: machine.fault("go", *ENGINE)
    )


@pytest.mark.nightly
def test_its_docker_engine_hangs_and_its_agent_starts_anew(here: Scene) -> None:
    machine = here.machine(STRUCK)

    def strike() -> None:
        machine.fault("hang", *ENGINE)
        machine.shell("systemctl restart homeport-agent")

    passes_unnoticed(here, "host-engine-hang-agent", strike, lambda: machine.fault("go", *ENGINE))


@pytest.mark.nightly
@pytest.mark.parametrize(("key", "name"), [("host-door-kill", STRUCK), ("host-door-kill-tunnel", TUNNEL[0])])
def test_its_envoy_is_killed(here: Scene, key: str, name: str) -> None:
    before, machine = here.all_containers(), here.machine(name)
    with measuring(here.stage, key, FLOWS) as it:
        it.struck()
        machine.shell(f"kill -9 $(cat {ENVOYS}/door/envoy.pid)")
        answered_by(it, here, name)
        it.client.more(100)
    no_get_failed(it)
    assert here.all_containers() == before


@pytest.mark.nightly
def test_the_edge_where_its_tunnel_ends_is_killed(here: Scene) -> None:
    before, edge = here.all_containers(), here.stack.agent_state / "envoy" / "edge" / "envoy.pid"
    with measuring(here.stage, "gateway-edge-kill", FLOWS) as it:
        it.struck()
        os.kill(int(edge.read_text()), signal.SIGKILL)
        answered_by(it, here, TUNNEL[0], EDGE_BACK)
        it.client.more(100)
    no_get_failed(it)
    assert here.all_containers() == before


@pytest.mark.nightly
def test_its_certificate_expired_while_its_agent_was_away(here: Scene) -> None:
    """Its Envoy shows the expired one too, until the agent is back. An agent that is away for longer than `lost_after` has its
    replicas replaced, whatever its certificate; what comes to it afterwards is reached by the new one."""
    machine = here.machine(STRUCK)
    with measuring(here.stage, "host-certificate", FLOWS) as it:
        it.struck()
        machine.shell("systemctl stop homeport-agent")
        let_expire(machine, here.stack.folder / "server")
        it.until(REPLACED, lambda: here.healthy(but=STRUCK) == len(here.names))
        lasting(it, 15)
        started_s = it.since_s
        machine.shell("systemctl start homeport-agent")
        wait_for("it is connected", lambda: STRUCK not in here.away(), 75)
        it.times_s[BACK] = round(it.since_s - started_s, 2)
        it.until(STOPPED, lambda: not here.containers(STRUCK))
        assert len(here.all_containers()) == len(here.names)
        it.client.more(200)
    no_get_failed(it)
    here.settle()


def answered_by(it: Measuring, here: Scene, name: str, what: str = AGAIN) -> None:
    """Its replica has answered since, by the counter of its endpoint."""
    begun = here.answered(name)
    it.until(what, lambda: here.healthy() == len(here.names) and here.answered(name) > begun + 5)

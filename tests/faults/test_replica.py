"""One of two replicas is killed, ends by itself, hangs, takes more memory than it may."""

import http.client
import os
import signal
from contextlib import closing, suppress

import pytest
from faults.cells_replica import BACK, OUT
from faults.doing import containers, frozen, in_rotation, program_pids
from faults.measure import FLOWS, Measuring, measuring
from rig.load_client import Flow, Kind
from rig.nothing_lost import Stage
from rig.stack import engine

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]


def out_and_back(it: Measuring, stage: Stage) -> None:
    it.until(OUT, lambda: in_rotation(stage) == 1)
    it.until(BACK, lambda: in_rotation(stage) == 2)


def only_one_changed(before: dict[str, str], stage: Stage) -> bool:
    return len(before.items() - containers(stage).items()) == 1


def test_it_is_killed(stage: Stage) -> None:
    before, victim = containers(stage), next(iter(program_pids(stage).values()))
    with measuring(stage, "replica-kill") as it:
        it.struck()
        os.kill(victim, signal.SIGKILL)
        out_and_back(it, stage)
    assert only_one_changed(before, stage)


def order(container: str, path: str) -> None:
    """Something that its program does, asked of it directly. There may be no answer."""
    with engine() as client:
        ports = client.api.inspect_container(container)["NetworkSettings"]["Ports"]
    connection = http.client.HTTPConnection("127.0.0.1", int(ports["8000/tcp"][0]["HostPort"]), timeout=30)
    with suppress(OSError, http.client.HTTPException), closing(connection):
        connection.request("POST", path)
        connection.getresponse().read()


@pytest.mark.nightly
def test_it_ends_by_itself(stage: Stage) -> None:
    before, victim = containers(stage), next(iter(containers(stage)))
    with measuring(stage, "replica-exit") as it:
        it.struck()
        order(victim, "/exit")
        out_and_back(it, stage)
    assert only_one_changed(before, stage)


@pytest.mark.nightly
def test_it_hangs(stage: Stage) -> None:
    """Each caller that waits for it holds one of the client's workers: there are enough for a quarter of all, for 36 s."""
    before, (victim, pid) = containers(stage), next(iter(program_pids(stage).items()))
    many = Flow(Kind.PLAIN, workers=800, rate_per_s=60, timeout_s=90)
    with measuring(stage, "replica-stop", (many, *FLOWS[1:])) as it:
        it.struck()
        with frozen(pid):
            it.until(OUT, lambda: in_rotation(stage) == 1)
            it.lasts(30)
        it.until(BACK, lambda: in_rotation(stage) == 2)
    now = containers(stage)
    assert {id_: at for id_, at in now.items() if id_ != victim}.items() <= before.items()


@pytest.mark.nightly
def test_it_takes_more_memory_than_it_may(stage: Stage) -> None:
    before, victim = containers(stage), next(iter(containers(stage)))
    with measuring(stage, "replica-memory") as it:
        it.struck()
        order(victim, "/eat?bytes=400000000")
        out_and_back(it, stage)
    assert only_one_changed(before, stage)

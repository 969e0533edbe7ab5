"""Server and agent become later versions and go back, under requests of which each answer is checked: none fails.

Later versions are real processes of changed copies of our packages (rig/later), with a schema, a protocol and a version of
their own. On whole machines, by `fleet upgrade`: tests/hosts/test_upgrade.py. With databases of real earlier versions:
test_earlier.py.
"""

import http.client
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from homeport_agent.envoy import supervisor
from homeport_agent.envoy.host import run_dir
from homeport_control.store.before_migration import revisions
from homeport_protos.versions import PROTOCOL
from rig.later import LATER, SCHEMA, VERSION, packages
from rig.load_client import loading
from rig.nothing_lost import Stage, flows, must_have_lost_nothing
from rig.stack import Stack, stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

THIS = ""  # the PYTHONPATH of these versions
ANSWERS = 60
AWAY_S = 8.0  # a gateway whose Envoy is started anew; a second or two on a machine that has time
FLOWS = flows(plain_per_s=40, longest_s=3)


@pytest.fixture(scope="module")
def stage(images: None) -> Iterator[Stage]:
    with stack() as made:
        stage = Stage(made, stop_duration_s=10)
        stage.apply()
        stage.settled()
        yield stage


def server_becomes(homeport: Stack, python_path: str) -> None:
    homeport.server.stop()
    homeport.server.restart_with({"PYTHONPATH": python_path})
    wait_for("the server answers", lambda: homeport.homeport("ps").returncode == 0)


def agent_becomes(homeport: Stack, python_path: str) -> None:
    sessions = homeport.agent.output.count("session with")
    homeport.agent.stop()
    homeport.agent.restart_with({"PYTHONPATH": python_path})
    wait_for("it has a session", lambda: homeport.agent.output.count("session with") > sessions)
    homeport.ready()


def processes(homeport: Stack, run: str = "web") -> dict[str, str]:
    """Its containers, and since when each runs."""
    return {it.id: it.attrs["State"]["StartedAt"] for it in homeport.containers(run, everything=False)}


@contextmanager
def calling(homeport: Stack) -> Iterator[list[tuple[float, bool]]]:
    """One request after the other, each on a connection of its own: when, and whether it was answered with 200."""
    seen: list[tuple[float, bool]] = []
    enough = threading.Event()

    def call() -> None:
        while not enough.wait(0.02):
            ok = False
            with suppress(OSError, http.client.HTTPException):
                path = "/plain?n=2&nonce=a"
                ok = get(homeport.gateway_port, "web", path, token=homeport.token)[0] == 200
            seen.append((time.monotonic(), ok))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        enough.set()
        thread.join(15)


def put_back(homeport: Stack, copy: Path) -> None:
    """As docs/operations.md says; the server is stopped."""
    state = homeport.folder / "server"
    for leftover in ("homeport.db-wal", "homeport.db-shm"):
        (state / leftover).unlink(missing_ok=True)
    shutil.copyfile(copy, state / "homeport.db")


def test_a_later_version_and_back_again_without_a_lost_request(stage: Stage, tmp_path: Path) -> None:
    homeport, head = stage.stack, revisions()[-1]
    later = packages(tmp_path, LATER, after_schema=head)
    began = processes(homeport)
    with loading(stage.target, FLOWS) as client:
        client.more(ANSWERS)
        server_becomes(homeport, later)
        homeport.ready()
        copy = homeport.folder / "server" / f"homeport.db.before-{SCHEMA}"
        told = f"the database was brought from schema {head} to {SCHEMA}; as it was before it is kept in {copy}"
        assert told in homeport.homeport("event").stdout
        client.more(ANSWERS)
        # The agent of before works for it.
        extra = Stage(homeport, "extra", replicas=1)
        for _ in range(3):
            extra.apply()
            extra.settled()

        agent_becomes(homeport, later)
        client.more(ANSWERS)
        assert processes(homeport) == began, "the containers are adopted as they are"
        assert len(processes(homeport, "extra")) == 1

        # The version of before does not touch what the later one has made.
        homeport.server.stop()
        homeport.server.restart_with({"PYTHONPATH": THIS})
        assert homeport.server.wait() == 1
        said = homeport.server.output.splitlines()[-1]
        assert f"has schema {SCHEMA}, written by Homeport {VERSION}, and this is Homeport" in said
        assert (
            f"knows schemas up to {head}; nothing was changed. Start the newer version again, or put back the" in said
        )
        assert f"the copy from before, {copy.name} (docs/operations.md says how)" in said

        put_back(homeport, copy)
        server_becomes(homeport, THIS)
        homeport.ready()  # the later agent, of a protocol that this server does not know
        wait_for("what came since is gone", lambda: not homeport.containers("extra"))
        assert homeport.run("extra") == {}
        client.more(ANSWERS)
        assert processes(homeport) == began
        stage.apply()  # it hears what this server says, though it had accepted more from the other one
        stage.settled()

        rolled = processes(homeport)
        agent_becomes(homeport, THIS)  # a journal of which it does not know all
        client.more(ANSWERS)
        assert processes(homeport) == rolled
        assert "the journal was broken" not in homeport.agent.output

        homeport.agent.stop()
        (homeport.agent_state / "journal.json").write_text("lost")
        agent_becomes(homeport, THIS)
        client.more(ANSWERS)
        assert processes(homeport) == rolled
        assert "the journal was broken" in homeport.agent.output
    must_have_lost_nothing(homeport, client)


@pytest.mark.nightly
def test_an_agent_that_is_too_old_is_told_and_its_containers_go_on(stage: Stage, tmp_path: Path) -> None:
    homeport = stage.stack
    needs = {"protos/homeport_protos/versions.py": "PROTOCOL += 1\nMIN_AGENT_PROTOCOL = PROTOCOL"}
    began = processes(homeport)
    with loading(stage.target, FLOWS) as client:
        client.more(ANSWERS)
        server_becomes(homeport, packages(tmp_path, needs))
        line = (
            f"this agent speaks protocol {PROTOCOL}, the server wants {PROTOCOL + 1} to {PROTOCOL + 1}; "
            "install the agent of the server's version"
        )
        wait_for("its log says so", lambda: line in homeport.agent.output)
        client.more(ANSWERS)
        assert processes(homeport) == began
        server_becomes(homeport, THIS)
        homeport.ready()
        assert processes(homeport) == began
    must_have_lost_nothing(homeport, client)


@pytest.mark.nightly
def test_a_later_agent_with_another_envoy_or_supervisor_costs_the_gateway_a_moment(
    stage: Stage, tmp_path: Path
) -> None:
    """What docs/operations.md says of it: it is started anew, and serves again by itself."""
    homeport = stage.stack
    later = packages(tmp_path, {"agent/homeport_agent/envoy/supervisor.sh": "# later"})
    folder = run_dir(homeport.agent_state, "local")
    before, began = supervisor.find(folder), processes(homeport)
    with calling(homeport) as seen:
        wait_for("requests are answered", lambda: len(seen) > 20)
        agent_becomes(homeport, later)
        wait_for("another one runs", lambda: supervisor.find(folder) not in (None, before))
        there = len(seen)
        wait_for("requests are answered again", lambda: len(seen) > there + 20 and all(ok for _, ok in seen[-20:]))
    failed_at_s = [at_s for at_s, ok in seen if not ok]
    away_s = max(failed_at_s, default=0.0) - min(failed_at_s, default=0.0)
    print(f"{len(failed_at_s)} of {len(seen)} requests failed, over {away_s:.2f} s")
    assert away_s < AWAY_S
    assert processes(homeport) == began
    agent_becomes(homeport, THIS)

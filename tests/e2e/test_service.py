"""The main job end to end, with traffic going on all the while: apply, call, kill, update, stop; agent and server die.

The tests of this module share one stack and tell one story in their order; each begins by applying what it needs.
"""

import json
import os
import signal
from typing import Any

import pytest
from rig.stack import Stack, engine, wait_for
from rig.traffic import Traffic, get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

WEB = """
type: service
name: web
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
replicas: 2
stop_duration: 20s
env:
  - GREETING
  - COLOUR=%s
"""
ENOUGH = 40  # requests before and after what is tested


def apply_web(homeport: Stack, colour: str = "red") -> None:
    done = homeport.apply(WEB % colour, "-e", "GREETING=hush-hush")
    assert done.returncode == 0, done.stderr


def more_of(traffic: Traffic, count: int = ENOUGH) -> None:
    """Wait until that many more requests have been answered, or failed."""
    reached = traffic.total + count
    wait_for(f"{count} more requests", lambda: traffic.total >= reached)


def running(homeport: Stack, name: str = "web") -> dict[str, Any]:
    return wait_for(f"{name} is rolled out", lambda: run if (run := homeport.run(name)).get("rolled_out") else None)


def test_apply_publishes_a_service_with_two_replicas(homeport: Stack) -> None:
    done = homeport.apply(WEB % "red", "-e", "GREETING=hush-hush")
    assert done.returncode == 0, done.stderr
    url = f"http://web.localhost:{homeport.gateway_port}"
    assert f"Service is published at {url}" in done.stdout
    assert "curl" in done.stdout
    assert "hush-hush" not in done.stdout + done.stderr
    seen = {json.loads(get(homeport.gateway_port, "web", token=homeport.token)[2])["replica"] for _ in range(20)}
    assert seen == {"0", "1"}
    assert get(homeport.gateway_port, "web", "/env?name=GREETING", homeport.token)[2] == b"hush-hush"
    assert get(homeport.gateway_port, "web", "/env?name=DSTACK_RUN_NAME", homeport.token)[2] == b"web"
    assert get(homeport.gateway_port, "web", "/env?name=HOMEPORT_HOST", homeport.token)[2] == b"test-host"


def test_the_gateway_asks_for_a_token_that_it_knows(homeport: Stack) -> None:
    apply_web(homeport)
    for token, status in (("", 401), ("hp_wrong", 403)):
        code, headers, body = get(homeport.gateway_port, "web", token=token)
        assert code == status
        assert headers["content-type"].startswith("application/json")
        assert json.loads(body)["error"]["message"]
    created = homeport.homeport("token", "create", "caller", "--role", "service", "--service", "web")
    token = created.stdout.strip()
    wait_for("the new token is good", lambda: get(homeport.gateway_port, "web", token=token)[0] == 200, 5)
    assert homeport.homeport("token", "revoke", "caller").returncode == 0
    wait_for("the revoked token is refused", lambda: get(homeport.gateway_port, "web", token=token)[0] == 403, 5)


def test_an_unchanged_file_says_so_and_does_nothing(homeport: Stack) -> None:
    apply_web(homeport)
    before = {container.id for container in homeport.containers("web")}
    done = homeport.apply(WEB % "red", "-e", "GREETING=hush-hush")
    assert done.returncode == 0
    assert "unchanged" in done.stdout + done.stderr
    assert {container.id for container in homeport.containers("web")} == before


def test_ps_fleet_list_and_logs_show_it(homeport: Stack) -> None:
    apply_web(homeport)
    listed = homeport.homeport("ps")
    assert listed.returncode == 0
    assert "web" in listed.stdout
    assert "running" in listed.stdout
    assert "test-host" in homeport.homeport("fleet", "list").stdout
    logs = homeport.homeport("logs", "web")
    assert logs.returncode == 0, logs.stderr
    assert "hello: replica 0 listens on 8000" in logs.stdout
    assert "hello: replica 1 listens on 8000" in logs.stdout
    one = homeport.homeport("logs", "web", "--replica", "1", "--tail", "1000")
    assert "replica 1 listens" in one.stdout
    assert "replica 0 listens" not in one.stdout


def test_a_killed_replica_costs_no_request_and_comes_back(homeport: Stack) -> None:
    apply_web(homeport)
    running(homeport)
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        more_of(traffic)
        victim = homeport.containers("web", everything=False)[0]
        os.kill(victim.attrs["State"]["Pid"], signal.SIGKILL)
        wait_for(
            "the killed replica serves again",
            lambda: (
                sum(r.get("restarts", 0) for r in running(homeport)["replicas"]) >= 1
                and len(homeport.containers("web", everything=False)) == 2
            ),
        )
        more_of(traffic)
    assert traffic.failures == []


def test_an_update_in_place_costs_no_request(homeport: Stack) -> None:
    apply_web(homeport, "red")
    running(homeport)
    old = {container.id for container in homeport.containers("web")}
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        more_of(traffic)
        done = homeport.apply(WEB % "blue", "-e", "GREETING=hush-hush", timeout_s=120)
        assert done.returncode == 0, done.stderr
        more_of(traffic)
    assert traffic.failures == []
    assert get(homeport.gateway_port, "web", "/env?name=COLOUR", homeport.token)[2] == b"blue"
    wait_for("the old containers are gone", lambda: not old & {c.id for c in homeport.containers("web")})
    assert running(homeport)["revision"] > 1


def test_a_new_revision_that_does_not_start_leaves_the_old_one_serving(homeport: Stack) -> None:
    apply_web(homeport)
    running(homeport)
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        done = homeport.apply(
            (WEB % "red").replace("exec python3 /hello.py", "'echo it is broken; exit 7'"),
            "-e",
            "GREETING=hush-hush",
            timeout_s=120,
        )
        assert done.returncode == 1
        assert "exit" in done.stderr
        assert "it is broken" in done.stderr
        more_of(traffic)
    assert traffic.failures == []
    assert running(homeport)["state"] == "running"


def test_a_killed_agent_comes_back_and_adopts_its_containers(homeport: Stack) -> None:
    apply_web(homeport)
    running(homeport)
    before = {c.id: c.attrs["State"]["StartedAt"] for c in homeport.containers("web", everything=False)}
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        more_of(traffic)
        homeport.agent.kill()
        wait_for("the host is unreachable", lambda: homeport.hosts()[0].get("connection") == "unreachable")
        more_of(traffic)
        homeport.agent.start()
        homeport.ready()
        running(homeport)
        more_of(traffic)
    assert traffic.failures == []
    after = {c.id: c.attrs["State"]["StartedAt"] for c in homeport.containers("web", everything=False)}
    assert after == before


def test_a_killed_server_costs_no_request_and_forgets_nothing(homeport: Stack) -> None:
    apply_web(homeport)
    running(homeport)
    before = {c.id: c.attrs["State"]["StartedAt"] for c in homeport.containers("web", everything=False)}
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        more_of(traffic)
        homeport.server.kill()
        more_of(traffic)
        homeport.server.start()
        wait_for("the server answers again", lambda: homeport.homeport("ps").returncode == 0)
        homeport.ready()
        running(homeport)
        more_of(traffic)
    assert traffic.failures == []
    after = {c.id: c.attrs["State"]["StartedAt"] for c in homeport.containers("web", everything=False)}
    assert after == before
    apply_web(homeport, "green")
    running(homeport)


def test_secrets_are_in_no_file_log_or_other_container(homeport: Stack) -> None:
    apply_web(homeport)
    for name in ("server.log", "agent.log"):
        assert "hush-hush" not in (homeport.folder / name).read_text()
    for file in (*homeport.folder.glob("server/*"), *homeport.folder.glob("agent/**/*")):
        if file.is_file() and file.stat().st_size < 50_000_000:
            content = file.read_bytes()
            assert b"hush-hush" not in content, file
            assert homeport.token.encode() not in content, file
    shown = homeport.homeport("ps", "-v", "--json").stdout
    assert "hush-hush" not in shown


def test_stop_lets_a_request_end_and_leaves_nothing(homeport: Stack) -> None:
    apply_web(homeport)
    running(homeport)
    with Traffic(homeport.gateway_port, "web", homeport.token, threads=1, rps=10) as traffic:
        more_of(traffic, 3)
        done = homeport.homeport("stop", "web", "-y", timeout_s=90)
        assert done.returncode == 0, done.stderr
    wait_for("the containers are gone", lambda: not homeport.containers("web"))
    assert homeport.run("web")["state"] == "terminated"
    assert get(homeport.gateway_port, "web", token=homeport.token)[0] == 404


def test_abort_stops_at_once(homeport: Stack) -> None:
    stubborn = WEB.replace("exec python3 /hello.py", "\"trap '' TERM; python3 /hello.py & wait; wait\"")
    done = homeport.apply(stubborn.replace("name: web", "name: stubborn") % "red", "-e", "GREETING=x")
    assert done.returncode == 0, done.stderr
    done = homeport.homeport("stop", "stubborn", "-x", "-y", timeout_s=15)
    assert done.returncode == 0, done.stderr
    wait_for("the containers are gone", lambda: not homeport.containers("stubborn"), 15)


def test_every_container_has_our_labels_and_no_new_privileges(homeport: Stack) -> None:
    apply_web(homeport)
    with engine() as client:
        for container in homeport.containers("web"):
            details = client.api.inspect_container(container.id)
            assert details["Config"]["Labels"]["homeport.server"] == homeport.server_id
            assert "no-new-privileges" in str(details["HostConfig"]["SecurityOpt"])
            assert all(
                binding["HostIp"] == "127.0.0.1"
                for bindings in details["HostConfig"]["PortBindings"].values()
                for binding in bindings
            )

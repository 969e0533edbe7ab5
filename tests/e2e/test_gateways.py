"""Gateways as objects, with a real Envoy each: made, chosen, renamed and moved between under traffic, deleted.

One stack, one story in its order.
"""

import json
import time

import pytest
from homeport_agent.envoy import supervisor
from homeport_agent.envoy.host import run_dir
from rig.ports import free_port
from rig.stack import Stack, wait_for
from rig.traffic import Traffic, get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

WEB = """
type: service
name: web
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
"""
PORT = free_port()


def gateway(domain: str = "lab.localhost", port: int = PORT, **more: str) -> str:
    extra = "".join(f"{key}: {value}\n" for key, value in more.items())
    return f"type: gateway\nname: lab\ndomain: {domain}\nhttp_port: {port}\ncertificate: null\n{extra}"


def shown(homeport: Stack, name: str = "lab") -> dict[str, object]:
    done = homeport.homeport("gateway", "get", name, "--json")
    return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


def calls(homeport: Stack, port: int, host: str) -> int:
    return get(port, host, token=homeport.token)[0]


def more_of(traffic: Traffic, count: int = 40) -> None:
    reached = traffic.total + count
    wait_for(f"{count} more requests", lambda: traffic.total >= reached)


def lost(traffic: Traffic) -> list[str]:
    """What was answered with anything but that the name is not there any more."""
    return [failure for failure in traffic.failures if ": 404 " not in failure]


def test_a_second_gateway_stands_beside_the_first_and_publishes_what_names_it(homeport: Stack) -> None:
    done = homeport.apply(WEB)
    assert done.returncode == 0, done.stderr
    done = homeport.apply(gateway())
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Gateway lab is ready: services are published at http://NAME.lab.localhost:{PORT}\n"
    done = homeport.apply(WEB.replace("web", "there", 1) + "gateway: lab\n")
    assert done.returncode == 0, done.stderr
    assert f"Service is published at http://there.lab.localhost:{PORT}" in done.stdout
    assert calls(homeport, PORT, "there.lab") == 200
    assert calls(homeport, homeport.gateway_port, "web") == 200
    assert (calls(homeport, PORT, "web.lab"), calls(homeport, homeport.gateway_port, "there")) == (404, 404)
    assert shown(homeport)["services"] == ["there"]


def requests_of(homeport: Stack, service: str) -> int:
    rows = json.loads(homeport.homeport("usage", "--by", "service", "--json").stdout).get("rows", ())
    return sum(int(row["requests"]) for row in rows if row["service"] == service)


def hosts_in_log(homeport: Stack, service: str) -> list[str]:
    done = homeport.homeport("logs", service, "--access")
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["host"].partition(":")[0] for line in done.stdout.splitlines()]


def test_each_gateway_has_an_access_log_of_its_own_and_all_count(homeport: Stack) -> None:
    before = {name: requests_of(homeport, name) for name in ("there", "web")}
    for _ in range(3):
        assert calls(homeport, PORT, "there.lab") == 200
        assert calls(homeport, homeport.gateway_port, "web") == 200
    for name, host in (("there", "there.lab.localhost"), ("web", "web.localhost")):
        wait_for(f"{name} is counted", lambda name=name: requests_of(homeport, name) >= before[name] + 3)
        assert set(hosts_in_log(homeport, name)) == {host}
    for name, other in (("local", "there"), ("lab", "web")):
        text = (run_dir(homeport.agent_state, name) / "access.log").read_text()
        assert f'"service":"{other}"' not in text


def test_a_port_that_is_taken_is_told_and_the_gateway_comes_when_it_is_free(homeport: Stack) -> None:
    done = homeport.apply(gateway("other.localhost", homeport.gateway_port).replace("lab", "third"))
    assert done.returncode == 2
    assert f"http_port: {homeport.gateway_port} is the port of the gateway `local` on the same host" in done.stderr


def test_a_service_moves_to_another_gateway_without_a_lost_request(homeport: Stack) -> None:
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        more_of(traffic)
        before = homeport.run("web")["replicas"][0]["id"]
        done = homeport.apply(WEB + "gateway: lab\n")
        assert done.returncode == 0, done.stderr
        wait_for("lab serves it", lambda: calls(homeport, PORT, "web.lab") == 200)
        wait_for("the old gateway lets it go", lambda: calls(homeport, homeport.gateway_port, "web") == 404)
    assert lost(traffic) == []
    assert homeport.run("web")["replicas"][0]["id"] == before, "in place"
    assert homeport.apply(WEB + "gateway: local\n").returncode == 0
    wait_for("it is back", lambda: calls(homeport, homeport.gateway_port, "web") == 200)


def test_a_domain_changes_and_its_old_name_ends_only_after_the_new_one_serves(homeport: Stack) -> None:
    with Traffic(PORT, "there.lab", homeport.token) as old:
        more_of(old)
        done = homeport.apply(gateway("new.localhost"))
        assert done.returncode == 0, done.stderr
        wait_for("the new name serves", lambda: calls(homeport, PORT, "there.new") == 200)
        wait_for("the old one ends", lambda: calls(homeport, PORT, "there.lab") == 404)
    assert lost(old) == []
    wait_for("nothing of it is left", lambda: shown(homeport).get("old_domain") == "")


def test_agent_and_server_may_be_killed_and_both_gateways_serve_on(homeport: Stack) -> None:
    before = [supervisor.envoy_pid(run_dir(homeport.agent_state, name)) for name in ("local", "lab")]
    with (
        Traffic(PORT, "there.new", homeport.token) as one,
        Traffic(homeport.gateway_port, "web", homeport.token) as two,
    ):
        homeport.agent.kill()
        homeport.server.kill()
        more_of(one)
        homeport.server.start()
        homeport.agent.start()
        wait_for("the server answers", lambda: homeport.homeport("gateway", "list").returncode == 0)
        homeport.ready()
        wait_for("both are ready", lambda: all(shown(homeport, name).get("ready") for name in ("local", "lab")))
        more_of(two)
    assert one.failures == []
    assert two.failures == []
    assert [supervisor.envoy_pid(run_dir(homeport.agent_state, name)) for name in ("local", "lab")] == before


def test_the_default_is_chosen_and_a_gateway_in_use_stays(homeport: Stack) -> None:
    assert homeport.homeport("gateway", "set-default", "lab").returncode == 0
    done = homeport.homeport("gateway", "delete", "lab", "-y")
    assert done.returncode == 1
    assert "gateway lab publishes 1 service (there)" in done.stderr
    plan = homeport.homeport("apply", "--plan", "-f", str(homeport.documents / "service.homeport.yml"))
    assert plan.returncode == 0, plan.stderr
    assert homeport.homeport("gateway", "set-default", "local").returncode == 0


def test_a_gateway_that_nothing_needs_goes_with_its_envoy(homeport: Stack) -> None:
    last = homeport.homeport("token", "create", "last", "--role", "service").stdout.strip()
    wait_for("the new token is good", lambda: get(PORT, "there.new", token=last)[0] == 200)
    for _ in range(4):
        assert get(PORT, "there.new", token=last)[0] == 200
    assert homeport.homeport("stop", "-x", "-y", "there").returncode == 0
    pid = supervisor.envoy_pid(run_dir(homeport.agent_state, "lab"))
    assert pid
    done = homeport.homeport("gateway", "delete", "lab", "-y")
    assert (done.returncode, done.stdout) == (0, "gateway lab is deleted\n"), done.stderr
    began_s = time.monotonic()
    wait_for("its Envoy has ended", lambda: not run_dir(homeport.agent_state, "lab").exists())
    assert time.monotonic() - began_s < 20
    assert calls(homeport, homeport.gateway_port, "web") == 200
    assert "lab" not in homeport.homeport("gateway", "list").stdout
    rows = json.loads(homeport.homeport("usage", "--by", "token", "--json").stdout)["rows"]
    counted = [int(row["requests"]) for row in rows if row["token_name"] == "last"]
    assert counted == [5], "its last requests are counted although its log went with it"

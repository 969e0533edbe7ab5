"""The server is away, and the gateway's machine loses everything but its disk: Envoy comes up and serves without it.

Real processes: the server, the agent, Envoy and its supervisor are killed. TLS and models: tests/envoy/test_standby.
"""

import os
import signal

import pytest
from homeport_agent.envoy import last_world, supervisor
from homeport_agent.envoy.host import run_dir
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


def status(homeport: Stack, token: str) -> int:
    """0: nobody listens."""
    try:
        return get(homeport.gateway_port, "web", token=token)[0]
    except OSError:
        return 0


def more_of(traffic: Traffic, count: int = 40) -> None:
    reached = traffic.total + count
    wait_for(f"{count} more requests", lambda: traffic.total >= reached)


def test_a_gateway_comes_up_without_the_server_and_nothing_is_lost_when_it_is_back(homeport: Stack) -> None:
    folder = run_dir(homeport.agent_state, "local")
    done = homeport.apply(WEB)
    assert done.returncode == 0, done.stderr
    assert status(homeport, homeport.token) == 200

    def is_kept() -> bool:
        kept, _ = last_world.read(folder)
        return any("web" in of and b"127.0.0.1" in of["web"].resource.value for of in kept.resources.values())

    wait_for("its last configuration is on disk", is_kept)
    homeport.server.kill()
    homeport.agent.kill()
    gone = (supervisor.find(folder), supervisor.envoy_pid(folder))
    for pid in gone:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    wait_for("nobody listens", lambda: status(homeport, homeport.token) == 0)

    homeport.agent.start()
    wait_for("it serves again", lambda: status(homeport, homeport.token) == 200)
    assert status(homeport, "hp_wrong") == 403
    assert "the server is away: its Envoy starts with the configuration of" in homeport.agent.output

    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        more_of(traffic)
        homeport.server.start()
        wait_for("the server answers", lambda: homeport.homeport("gateway", "list").returncode == 0)
        homeport.ready()
        done = homeport.homeport("token", "create", "late")
        assert done.returncode == 0, done.stderr
        late = next(word for word in done.stdout.split() if word.startswith("hp_"))
        wait_for("a change reaches it", lambda: status(homeport, late) == 200)
        more_of(traffic)
    assert traffic.failures == []

"""Probes, carried out: who stops answering leaves the rotation without a lost request and is started again; who starts slowly
is left alone for as long as its file allows."""

import http.client
import json
from collections.abc import Iterator

import pytest
from rig.stack import Stack, stack, wait_for
from rig.traffic import Traffic

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

ALLOWED_S = 4
SLOW_S = 7
SERVICE = """
type: service
name: %s
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
stop_duration: 5s
probes: [{type: http, url: /healthz, interval: 1s}]
"""


@pytest.fixture(scope="module")
def homeport(images: None) -> Iterator[Stack]:
    with stack(server_flags=["--ready-timeout-s", str(ALLOWED_S)]) as made:
        yield made


def events(homeport: Stack, name: str) -> str:
    done = homeport.homeport("event", "--run", name)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_sick(homeport: Stack, name: str) -> int:
    """One of its replicas, whichever the gateway chooses; its number."""
    connection = http.client.HTTPConnection("127.0.0.1", homeport.gateway_port, timeout=10)
    try:
        headers = {"Host": f"{name}.localhost", "Authorization": f"Bearer {homeport.token}"}
        connection.request("POST", "/sick", headers=headers)
        return int(json.loads(connection.getresponse().read())["replica"])
    finally:
        connection.close()


def test_who_stops_answering_leaves_the_rotation_and_is_started_again_and_events_say_so(homeport: Stack) -> None:
    done = homeport.apply(SERVICE % "web" + "replicas: 2\n")
    assert done.returncode == 0, done.stderr
    wait_for("both serve", lambda: homeport.run("web").get("rolled_out"))
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        wait_for("requests", lambda: traffic.total > 40)
        sick = make_sick(homeport, "web")

        def of_the_sick() -> dict[str, object]:
            return next(it for it in homeport.run("web")["replicas"] if it.get("index", 0) == sick)

        wait_for("it is out of rotation", lambda: not of_the_sick().get("in_rotation"), 15)
        other = traffic.total
        wait_for("the other one serves", lambda: traffic.total > other + 40)
        wait_for("it was started again and serves", lambda: of_the_sick().get("restarts") == 1, 45)
        wait_for("both serve", lambda: homeport.run("web").get("rolled_out"))
        other = traffic.total
        wait_for("requests", lambda: traffic.total > other + 40)
    assert traffic.failures == []
    told = events(homeport, "web")
    print(told)
    why = "GET /healthz answered 503"
    assert f"replica {sick} of web is not ready any more: {why}" in told
    assert f"replica {sick} of web is out of rotation on test-host" in told
    assert f"replica {sick} of web is started anew: its probes failed for 30 s: {why}" in told


def test_a_slow_starter_is_left_alone_for_as_long_as_its_file_allows(homeport: Stack) -> None:
    slow = f"env: [START_AFTER_S={SLOW_S}]\n"
    done = homeport.apply(SERVICE % "slow" + slow + "start_timeout: 40s\n")
    assert done.returncode == 0, done.stderr
    (replica,) = homeport.run("slow")["replicas"]
    assert (replica.get("restarts", 0), replica["in_rotation"]) == (0, True)
    done = homeport.apply(SERVICE % "hasty" + slow)
    assert done.returncode == 1
    assert f"not ready within {ALLOWED_S} s: nothing listens on port 8000 yet" in done.stdout + done.stderr

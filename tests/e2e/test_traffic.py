"""How requests are treated, as files say it: rate limits and affinity, changed in place without touching a replica."""

import http.client
from collections import Counter

import pytest
from rig.stack import Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

WEB = """
type: service
name: web
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
replicas: 2
"""


def get(homeport: Stack, path: str = "/", **headers: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", homeport.gateway_port, timeout=10)
    try:
        sent = {"Host": "web.localhost", "Authorization": f"Bearer {homeport.token}", **headers}
        connection.request("GET", path, headers=sent)
        response = connection.getresponse()
        response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def test_limits_and_affinity_come_and_go_in_place(homeport: Stack) -> None:
    assert homeport.apply(WEB).returncode == 0
    containers = {container.id for container in homeport.containers("web")}
    limited = (
        WEB + "rate_limits: [{prefix: /dear, rps: 0.001, burst: 1}]\nload_balancing: cookie\ntimeouts: {response: 1m}\n"
        "max_body_size: 1MB\n"
    )
    done = homeport.apply(limited)
    assert done.returncode == 0, done.stderr
    cookie = wait_for("a cookie is given", lambda: get(homeport)[1].get("set-cookie"), 5).split(";")[0]
    assert cookie.startswith("homeport-replica=")
    found = Counter(get(homeport, "/dear", Cookie=cookie)[0] for _ in range(5))
    assert found == {200: 2, 429: 3}
    assert get(homeport, "/dear")[1]["retry-after"] == "1000"
    # Said, and never sent: the answer comes at once.
    assert get(homeport, **{"Content-Length": str((1 << 20) + 1)})[0] == 413
    assert homeport.apply(WEB).returncode == 0
    wait_for("no limit any more", lambda: get(homeport, "/dear")[0] == 200, 5)
    assert "set-cookie" not in get(homeport)[1]
    assert {container.id for container in homeport.containers("web")} == containers

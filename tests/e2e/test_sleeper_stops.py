"""A service that may sleep is stopped under load: nothing new reaches the replica that drains, so it is gone soon."""

import threading
import time

import pytest
from rig.stack import Stack, wait_for
from rig.traffic import get

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

WEB = """
type: service
name: sleeper
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
repo: false
stop_duration: 10m
replicas: 0..2
scaling: {metric: concurrency, target: 100, scale_down_delay: 1h}
"""


def test_a_stop_does_not_wait_for_requests_that_come_after_it(homeport: Stack) -> None:
    assert homeport.apply(WEB).returncode == 0
    over, answers = threading.Event(), []

    def ask() -> None:
        while not over.is_set():
            status, _, body = get(homeport.gateway_port, "sleeper", "/slow?s=0.2", homeport.token, timeout_s=20)
            answers.append((time.monotonic(), status, body))

    callers = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        wait_for("it is asked", lambda: len(answers) > 20)
        began_s = time.monotonic()
        assert homeport.homeport("stop", "-y", "sleeper", timeout_s=50).returncode == 0
        wait_for("its replica is gone", lambda: not homeport.containers("sleeper"))
    finally:
        over.set()
        for caller in callers:
            caller.join(30)
    served = [status for at_s, status, _ in answers if at_s > began_s and status == 200]
    print(f"{len(served)} answers of the replica after the stop")
    statuses = [status for _, status, _ in answers]
    refused = statuses.index(503)
    assert set(statuses[:refused]) == {200}
    # Those under way at the stop have their answers, then none has; where no such service is known any more it is 404.
    assert set(statuses[refused + 8 :]) <= {503, 404}
    assert b'"code":' in next(body for _, status, body in answers if status == 503)

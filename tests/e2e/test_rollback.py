"""Rollbacks, updates in quick succession and without a surge, while a client goes on that loses nothing."""

import pytest
from rig.stack import Stack, wait_for
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
env: [COLOUR=%s]
"""


def colours(homeport: Stack) -> set[bytes]:
    return {get(homeport.gateway_port, "web", "/env?name=COLOUR", homeport.token)[2] for _ in range(20)}


def rolled_out(homeport: Stack, revision: int) -> None:
    def look() -> bool:
        run = homeport.run("web")
        return bool(run.get("rolled_out")) and run.get("revision") == revision

    wait_for(f"revision {revision} is rolled out", look)


def test_rollback_goes_back_step_by_step_and_loses_no_request(homeport: Stack) -> None:
    for colour in ("red", "green", "blue"):
        done = homeport.apply(WEB % colour)
        assert done.returncode == 0, done.stderr
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        for before, colour in ((3, b"green"), (2, b"red")):
            done = homeport.homeport("rollback", "web", "-y")
            assert done.returncode == 0, done.stderr
            assert f"web: from revision {before} back to revision {before - 1}" in done.stderr
            assert colours(homeport) == {colour}
            assert (
                f"revision 3 was rolled back by {homeport.run('web')['user']}" in homeport.homeport("ps", "-v").stdout
            )
        done = homeport.homeport("rollback", "web", "-y")
        assert (done.returncode, "it is the first one" in done.stderr) == (1, True)
        assert homeport.apply(WEB % "green").returncode == 0
        assert colours(homeport) == {b"green"}
    assert traffic.failures == []
    assert traffic.total > 100
    assert "rolls web back from revision 3 to revision 2" in homeport.homeport("event", "--run", "web").stdout


def test_of_five_applies_at_once_the_last_one_wins_and_no_request_is_lost(homeport: Stack) -> None:
    assert homeport.apply(WEB % "start").returncode == 0
    first = homeport.run("web")["revision"]
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        for number in range(5):
            assert homeport.apply(WEB % f"c{number}", "-d").returncode == 0
        rolled_out(homeport, first + 5)
        assert colours(homeport) == {b"c4"}
    assert traffic.failures == []


def test_an_update_without_a_surge_lets_one_go_first_and_loses_no_request(homeport: Stack) -> None:
    assert homeport.apply(WEB % "start").returncode == 0
    words = "rollout: {max_surge: 0, max_unavailable: 1}\n"
    planned = homeport.apply(WEB % "gold" + words, "--plan")
    assert "one replica at a time goes before its successor comes" in " ".join(planned.stdout.split())
    with Traffic(homeport.gateway_port, "web", homeport.token) as traffic:
        done = homeport.apply(WEB % "gold" + words)
        assert done.returncode == 0, done.stderr
        assert colours(homeport) == {b"gold"}
    assert traffic.failures == []


def test_a_revision_that_ends_within_min_ready_is_given_up_and_no_request_is_lost(homeport: Stack) -> None:
    assert homeport.apply(WEB % "start").returncode == 0
    # It serves, and would not for long.
    ending = WEB.replace("exec python3 /hello.py", "(sleep 4; kill $$) & exec python3 /hello.py")
    bad = homeport.apply(ending % "bad" + "rollout: {min_ready_duration: 1m}\n")
    assert bad.returncode == 1
    assert "before it was ready for min_ready_duration (60 s)" in bad.stderr
    wait_for("only the one before is left", lambda: homeport.run("web").get("rolled_out"))
    assert colours(homeport) == {b"start"}

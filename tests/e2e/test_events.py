"""The story of a service by its events: who did what, what followed from it, and what a watcher sees over a restart.

The tests of this module share one stack and tell one story in their order.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rig.stack import Stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

CANARIES = ("canary-env-5f21", "canary-flag-77aa", "canary-robot-9c3e", "canary-staple-1b7d")
STORY = f"""
type: service
name: story
image: homeport-test/hello:1
commands: [exec python3 /hello.py]
port: 8000
stop_duration: 2s
registry_auth:
  username: {CANARIES[2]}
  password: {CANARIES[3]}
env:
  - TOKEN={CANARIES[0]}
  - FLAG
  - COLOUR=%s
"""


def apply(homeport: Stack, colour: str) -> None:
    done = homeport.apply(STORY % colour, "-e", f"FLAG={CANARIES[1]}")
    assert done.returncode == 0, done.stderr


def events(homeport: Stack, *filters: str) -> list[dict[str, Any]]:
    done = homeport.homeport("event", "--json", *filters)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    return found


def sentences(found: list[dict[str, Any]]) -> str:
    return "\n".join(event["sentence"] for event in found)


def cause_of(homeport: Stack, words: str) -> str:
    """Of the newest event of the run whose sentence has these words."""
    return str([event for event in events(homeport, "--run", "story") if words in event["sentence"]][-1]["cause_id"])


def in_order(text: str, *parts: str) -> None:
    """Each part comes after the one before it."""
    at = 0
    for part in parts:
        found = text.find(part, at)
        assert found >= 0, f"`{part}` is missing, or comes too early, in:\n{text}"
        at = found + len(part)


def test_an_apply_tells_its_whole_way_to_traffic_under_one_cause(homeport: Stack) -> None:
    apply(homeport, "red")
    wait_for("it runs", lambda: homeport.run("story").get("rolled_out"))
    cause = cause_of(homeport, "applied revision 1")
    told = sentences(events(homeport, "--cause", cause))
    in_order(
        told,
        "user admin applied revision 1 of story",
        "replica 0 of story is wanted",
        "replica 0 of story is placed on test-host",
        "replica 0 of story is ready",
        "replica 0 of story is in rotation on test-host",
        "story is running",
    )
    actors = {event["actor"] for event in events(homeport, "--cause", cause)}
    assert actors == {"user admin", "server", "host test-host"}


def test_a_change_names_its_keys_and_never_the_values(homeport: Stack) -> None:
    apply(homeport, "blue")
    wait_for(
        "it is replaced", lambda: homeport.run("story").get("rolled_out") and homeport.run("story")["revision"] == 2
    )
    told = sentences(events(homeport, "--cause", cause_of(homeport, "applied revision 2")))
    in_order(told, "user admin applied revision 2 of story (env.COLOUR changed)", "replaces revision 1", "has ended")


def test_a_container_that_is_killed_begins_a_story_of_its_own(homeport: Stack) -> None:
    applied = cause_of(homeport, "applied revision 2")
    (container,) = homeport.containers("story", everything=False)
    container.kill()
    wait_for("it serves again", lambda: restarted_and_back(homeport))
    cause = cause_of(homeport, "was killed by signal 9")
    assert cause != applied
    told = sentences(events(homeport, "--cause", cause))
    in_order(
        told,
        "replica 0 of story (revision 2) was killed by signal 9 (exit code 137)",
        "restart 1",
        "replica 0 of story (revision 2) is out of rotation",
        "replica 0 of story (revision 2) is ready",
        "replica 0 of story (revision 2) is in rotation",
    )
    assert "applied" not in told


def restarted_and_back(homeport: Stack) -> bool:
    run = homeport.run("story")
    return any(replica["restarts"] and replica["in_rotation"] for replica in run["replicas"])


def test_a_watcher_sees_each_event_once_over_a_restart_of_the_server(homeport: Stack, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with watching(homeport, seen):
        wait_for("it watches", lambda: seen.read_text().count("\n") >= 5)
        homeport.server.kill()
        homeport.server.start()
        wait_for("it is connected again", lambda: "is connected" in sentences(events_after_start(homeport)))
        assert homeport.homeport("token", "create", "after-restart", "--role", "service").returncode == 0
        wait_for("it is told", lambda: "after-restart" in seen.read_text())
    ids = [int(json.loads(line)["id"]) for line in seen.read_text().splitlines()]
    assert ids == list(range(ids[0], ids[-1] + 1)), "none is lost, none comes twice"
    assert "the server" in seen.read_text()


def events_after_start(homeport: Stack) -> list[dict[str, Any]]:
    done = homeport.homeport("event", "--json", "--limit", "20")
    if done.returncode != 0:
        return []
    found: list[dict[str, Any]] = json.loads(done.stdout)["events"]
    starts = [place for place, event in enumerate(found) if event["kind"] == "server"]
    return found[starts[-1] :] if starts else []


@contextmanager
def watching(homeport: Stack, output: Path) -> Iterator[None]:
    command = [str(Path(sys.executable).parent / "homeport"), "event", "-w", "--json", "--limit", "5"]
    with output.open("wb") as file:
        child = subprocess.Popen(command, env=homeport.environment, stdout=file, stderr=subprocess.DEVNULL, cwd="/")
    try:
        yield
    finally:
        child.terminate()
        child.wait(10)


def test_a_stop_and_what_follows_from_it_have_one_cause(homeport: Stack) -> None:
    done = homeport.homeport("stop", "story", "-y")
    assert done.returncode == 0, done.stderr
    told = sentences(events(homeport, "--cause", cause_of(homeport, "user admin stops story")))
    in_order(
        told,
        "user admin stops story",
        "replica 0 of story (revision 2) drains",
        "story is terminating",
        "replica 0 of story (revision 2) is told to stop",
        "replica 0 of story (revision 2) has stopped",
        "replica 0 of story (revision 2) has ended",
        "story is terminated",
    )


def test_a_user_reads_the_events_and_is_cut_off_when_it_is_deleted(homeport: Stack) -> None:
    made = homeport.homeport("user", "create", "ann", "--expires", "1d")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    as_ann = {"HOMEPORT_TOKEN": token, **server_of(homeport)}
    told = homeport.homeport("event", "--user", "ann", env=as_ann)
    assert "user admin made the user ann of the role user" in told.stdout
    refused = homeport.homeport("user", "create", "bob", env=as_ann)
    assert (refused.returncode, "only an admin may make users" in refused.stderr) == (1, True)
    assert homeport.homeport("user", "delete", "ann").returncode == 0
    refused = homeport.homeport("ps", env=as_ann)
    assert (refused.returncode, "was revoked" in refused.stderr) == (1, True)
    everything = homeport.homeport("event", "--limit", "10000", "--json").stdout
    assert token not in everything


def server_of(homeport: Stack) -> dict[str, str]:
    return {
        "HOMEPORT_SERVER": f"127.0.0.1:{homeport.api_port}",
        "HOMEPORT_CA": str(homeport.folder / "server" / "ca.pem"),
    }


def test_no_event_and_no_log_holds_a_secret(homeport: Stack) -> None:
    everything = homeport.homeport("event", "--limit", "10000", "--json").stdout
    assert "story" in everything
    for secret in (*CANARIES, homeport.token):
        assert secret not in everything
        assert secret not in homeport.server.output

"""No request is lost: plain ones, large bodies, event streams and websockets, each answer checked byte by byte, while
revisions change, replicas drain, and the server dies in the middle of it.

What is done: rig/nothing_lost; the client: rig/load_client. With large numbers: tests/bench/bench_nothing_lost.py.
"""

import time
from collections.abc import Iterator

import pytest
from rig.load_client import Flow, Kind, LoadClient, loading
from rig.nothing_lost import OF_A_RANGE, SCENARIOS, SERVER_FLAGS, Stage, flows, must_have_lost_nothing
from rig.stack import stack, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.envoy, pytest.mark.slow]

LONGEST_S = 4.0
FLOWS = flows(plain_per_s=60, longest_s=LONGEST_S)
TIMES = {"rolling updates": 3, "to zero and back": 2}
ANSWERS = 100  # in each


@pytest.fixture(scope="module")
def stage(images: None) -> Iterator[Stage]:
    with stack(server_flags=SERVER_FLAGS) as made:
        stage = Stage(made)
        stage.apply()
        stage.settled()
        yield stage


def all_is_right(stage: Stage, client: LoadClient) -> None:
    must_have_lost_nothing(stage.stack, client)
    assert all(client.results.tallies[kind].ok for kind in Kind), f"a kind was not asked:\n{client.results.table()}"


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_no_request_fails(stage: Stage, name: str) -> None:
    with loading(stage.target, FLOWS) as client:
        client.more(ANSWERS)
        for _ in range(TIMES.get(name, 1)):
            SCENARIOS[name](stage, client, ANSWERS)
    all_is_right(stage, client)
    stage.settled()
    # In all this time no program was told to end while it had anything to answer.
    told = stage.log_lines("SIGTERM with")
    assert told
    assert [line for line in told if "SIGTERM with 0 under way" not in line] == []


@pytest.mark.parametrize("name", list(OF_A_RANGE))
def test_no_request_fails_as_the_load_changes(stage: Stage, name: str) -> None:
    with loading(stage.target, FLOWS) as client:
        client.more(ANSWERS)
        for _ in range(TIMES.get(name, 1)):
            OF_A_RANGE[name](stage, client, ANSWERS)
    all_is_right(stage, client)


def test_what_runs_has_stop_duration_to_end_and_is_cut_then(stage: Stage) -> None:
    """Streams and websockets that end in time are whole, the others end when `stop_duration` does, not before."""
    brief = Stage(stage.stack, "brief", replicas=1, stop_duration_s=6)
    brief.apply()
    brief.settled()
    whole = [Flow(kind, 2, 100, count=2, longest_s=4.5, shortest_s=4.5) for kind in (Kind.EVENTS, Kind.SOCKET)]
    longer = [Flow(kind, 1, 100, count=1, longest_s=40, shortest_s=40) for kind in (Kind.EVENTS, Kind.SOCKET)]
    with loading(brief.target, whole) as ends, loading(brief.target, longer) as cut:
        wait_for("they run", lambda: ends.results.sent == 4 and cut.results.sent == 2)
        began_s = time.monotonic()
        brief.apply("-d")
        wait_for("it drains", lambda: any(it["state"] == "draining" for it in brief.run()["replicas"]))
        drains_s = time.monotonic()
        ends.more(4)
        assert brief.log_lines("SIGTERM") == [], "a program was told to end while it had its time"
        cut.more(2, timeout_s=30)
        lasted_s = time.monotonic() - began_s
    assert ends.results.not_ok == 0, ends.results.table()
    assert cut.results.not_ok == 2, cut.results.table()
    assert all(failure.reason.startswith("cut: ") for failure in cut.results.failures), cut.results.table()
    assert lasted_s >= brief.stop_duration_s, "cut before its time was over"
    assert time.monotonic() - drains_s < brief.stop_duration_s + 5 + 10, "5 s for its SIGTERM, and some for the machine"
    assert [line for line in brief.log_lines("SIGTERM with") if "SIGTERM with 2 under way" in line]

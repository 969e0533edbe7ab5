import pytest
from fakes.text import lines
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_cli.progress import Announcer, Failure, Published, deployed, doing, live, pick, stopped, summary
from homeport_protos.api.v1 import api_pb2


def run(*replicas: api_pb2.Replica, **more: object) -> api_pb2.Run:
    values: dict[str, object] = {
        "id": "1", "name": "web", "state": "provisioning", "revision": 1, "newest_revision": 1, "replicas_wanted": 2,
        "replicas": replicas,
    }  # fmt: skip
    return api_pb2.Run(**{**values, **more})


def replica(state: str, index: int = 0, **more: object) -> api_pb2.Replica:
    return api_pb2.Replica(**{"id": f"r{index}", "index": index, "revision": 1, "state": state, **more})


def test_a_run_is_deployed_when_it_is_rolled_out_with_the_revision_that_was_applied() -> None:
    assert deployed(run(state="running"), 1) is None
    assert deployed(run(state="running", rolled_out=True), 1) == Published()
    assert deployed(run(state="running", rolled_out=True), 2) is None  # still the picture before the apply


def test_a_failed_run_tells_why_and_its_last_lines() -> None:
    failed = run(state="failed", error="exit code 7", log_tail=[f"line {number}" for number in range(30)])
    end = deployed(failed, 1)
    assert isinstance(end, Failure)
    assert end.reason == "the run web failed: exit code 7"
    assert end.log_tail == tuple(f"line {number}" for number in range(10, 30))


def test_a_revision_that_was_given_up_is_a_failure_and_says_what_serves() -> None:
    end = deployed(run(state="running", rolled_out=True, newest_revision=2, error="exit code 7", log_tail=["boom"]), 2)
    assert end == Failure("the update of web failed: exit code 7; revision 1 goes on serving", ("boom",))


@pytest.mark.parametrize("state", ["terminating", "terminated", "done"])
def test_a_run_that_somebody_stops_is_a_failure_with_its_reason(state: str) -> None:
    told = "the run web ended before it was ready: stopped by ann"
    assert deployed(run(state=state, reason="stopped by ann"), 1) == Failure(told)
    end = deployed(run(state=state), 1)
    assert isinstance(end, Failure)
    assert state in end.reason


def test_a_newer_apply_takes_the_place_of_ours() -> None:
    end = deployed(run(state="running", revision=3, newest_revision=3, rolled_out=True), 2)
    assert isinstance(end, Failure)
    assert "revision 3" in end.reason


def test_a_run_is_picked_by_its_id_and_without_one_by_the_newest_of_the_name() -> None:
    old = api_pb2.Run(id="1", name="web", submitted_at=Timestamp(seconds=1))
    new = api_pb2.Run(id="2", name="web", submitted_at=Timestamp(seconds=2))
    answer = api_pb2.ListRunsResponse(runs=[new, old, api_pb2.Run(id="3", name="other")])
    assert pick(answer, "1") == old
    assert pick(answer, "", "web") == new
    assert pick(answer, "9") is None
    assert pick(answer, "", "nobody") is None


def test_a_run_is_stopped_when_it_has_ended_or_is_not_listed() -> None:
    assert [stopped(run(state=state)) for state in ("terminated", "failed", "done", "terminating", "running")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert stopped(None)


def test_the_summary_counts_the_newest_revision_only() -> None:
    serving = replica("running", 0, in_rotation=True)
    assert summary(run(serving)) == "web: provisioning, 1/2 in rotation"
    assert summary(run(serving, revision=2, newest_revision=2)) == "web: provisioning, 0/2 in rotation"
    assert summary(run(state="terminating")) == "web: terminating"


def test_the_summary_gives_the_reason_only_where_no_replica_says_it() -> None:
    assert summary(run(reason="no host has 24GB free")) == "web: provisioning, 0/2 in rotation: no host has 24GB free"
    assert summary(run(replica("queued"), reason="replica 0 waits")) == "web: provisioning, 0/2 in rotation"
    assert summary(run(replica("draining"), state="terminating", reason="stopped by ann")) == (
        "web: terminating: stopped by ann"
    )
    assert summary(run(state="submitted", reason="submitted")) == "web: submitted, 0/2 in rotation"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (replica("queued", message="no host fits"), "queued: no host fits"),
        (replica("pulling"), "pulling"),
        (replica("pulling", pulled_bytes=120_000_000, message="pulling"), "pulling 120MB"),
        (replica("pulling", pulled_bytes=120_000_000, pull_total_bytes=1_200_000_000), "pulling 120MB of 1.2GB"),
        (replica("starting"), "starting"),
        (replica("probing", probes_passed=1, probes_total=2), "probing, 1 of 2 passed"),
        (replica("running"), "ready, waiting for the gateway"),
        (replica("running", in_rotation=True), "in rotation"),
        (replica("terminating", message="no host fits"), "terminating"),
        (replica("starting", restarts=2, message="exit code 7"), "starting (2 restarts): exit code 7"),
    ],
)
def test_each_state_of_a_replica_has_its_words(given: api_pb2.Replica, words: str) -> None:
    assert doing(given) == words


def test_plain_lines_come_once_and_only_when_something_changed() -> None:
    announcer = Announcer()
    first = run(replica("queued"))
    assert announcer.news(first) == ["web: provisioning, 0/2 in rotation", "replica 0: queued"]
    assert announcer.news(first) == []
    assert announcer.news(run(replica("starting", host="gpu-1"))) == ["replica 0 on gpu-1: starting"]


def test_a_message_that_only_counts_on_is_no_news() -> None:
    announcer = Announcer()
    said = [
        line
        for seconds in range(30)
        for line in announcer.news(run(replica("probing", message=f"nothing listens on port 80 for {seconds} s")))
    ]
    assert len(said) == 2


def test_a_message_that_is_not_shown_is_no_news() -> None:
    announcer = Announcer()
    announcer.news(run(replica("draining")))
    assert announcer.news(run(replica("draining", message="3 requests in flight"))) == []


def test_pulling_is_announced_in_steps_and_not_at_every_byte() -> None:
    announcer = Announcer()
    said = [
        line
        for pulled in range(1001)
        for line in announcer.news(run(replica("pulling", pulled_bytes=pulled * 1000, pull_total_bytes=1_000_000)))
    ]
    assert 10 <= len(said) <= 13
    assert said[-1] == "replica 0: pulling 1MB of 1MB"


def test_a_replica_that_had_ended_before_is_no_news_but_one_that_ends_is() -> None:
    announcer = Announcer()
    announcer.news(run(replica("running", 0), replica("failed", 1)))
    assert announcer.news(run(replica("failed", 0, message="exit code 7"), replica("failed", 1))) == [
        "replica 0: failed: exit code 7"
    ]


def test_replicas_are_told_apart_by_revision_once_there_was_an_update() -> None:
    said = Announcer().news(run(replica("draining", revision=1), revision=2, newest_revision=2))
    assert said[1] == "replica 0 (revision 1): draining"


def test_the_live_picture_leaves_out_what_ended_of_an_older_revision() -> None:
    shown = lines(
        live(
            run(
                replica("terminated", 0), replica("failed", 1, revision=2), replica("queued", 2, revision=2), revision=2
            )
        )
    )
    assert shown == [
        "web: provisioning, 0/2 in rotation",
        "  replica 1 (revision 2): failed",
        "  replica 2 (revision 2): queued",
    ]

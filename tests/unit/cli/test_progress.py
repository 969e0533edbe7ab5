import pytest
from fakes.text import lines
from homeport_cli.progress import Announcer, doing, live, summary
from homeport_protos.api.v1 import api_pb2


def run(*replicas: api_pb2.Replica, **more: object) -> api_pb2.Run:
    values: dict[str, object] = {
        "id": "1", "name": "web", "state": "provisioning", "revision": 1, "newest_revision": 1, "replicas_wanted": 2,
        "replicas": replicas,
    }  # fmt: skip
    return api_pb2.Run(**{**values, **more})


def replica(state: str, index: int = 0, **more: object) -> api_pb2.Replica:
    return api_pb2.Replica(**{"id": f"r{index}", "index": index, "revision": 1, "state": state, **more})


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

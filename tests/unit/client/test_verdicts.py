import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from homeport.verdicts import Failure, Published, Stopping, deployed, pick, stopped
from homeport_protos.api.v1 import api_pb2


def run(*replicas: api_pb2.Replica, **more: object) -> api_pb2.Run:
    values: dict[str, object] = {
        "id": "1", "name": "web", "state": "provisioning", "revision": 1, "newest_revision": 1, "replicas_wanted": 2,
        "replicas": replicas,
    }  # fmt: skip
    return api_pb2.Run(**{**values, **more})


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
    answer = [new, old, api_pb2.Run(id="3", name="other")]
    assert pick(answer, "1") == old
    assert pick(answer, "", "web") == new
    assert pick(answer, "9") is None
    assert pick(answer, "", "nobody") is None


def test_a_run_is_stopped_when_it_has_ended_or_is_not_listed() -> None:
    assert [stopped(run(state=state)) for state in ("terminated", "failed", "done", "terminating", "running")] == [
        True, True, True, False, False,
    ]  # fmt: skip
    assert stopped(None)


def test_what_is_stopped_is_the_runs_that_had_the_names_at_first() -> None:
    stopping = Stopping(["web", "api"])
    web, api = api_pb2.Run(id="1", name="web", state="terminating"), api_pb2.Run(id="2", name="api", state="terminated")
    assert not stopping.is_over([web, api])
    later = api_pb2.Run(id="9", name="web", state="running", submitted_at=Timestamp(seconds=9))
    assert not stopping.is_over([later, web, api])
    web.state = "terminated"
    assert stopping.is_over([later, web, api])
    assert stopping.is_over([later])  # not listed any more

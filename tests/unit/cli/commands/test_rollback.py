from collections.abc import Callable

import grpc
import pytest
from fakes.api import FakeApi
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]
PLAN = api_pb2.RollbackResponse(
    run_id="1", from_revision=3, to_revision=2, to_user="ann", to_created_at=Timestamp(seconds=0)
)
TOLD = "web: from revision 3 back to revision 2 (applied by ann, 1970-01-01 00:00 UTC)"


def listed(revision: int = 2, *, state: str = "running", rolled_out: bool = False) -> api_pb2.ListRunsResponse:
    error = "revision 3 was rolled back by bob"
    run = api_pb2.Run(id="1", name="web", state=state, revision=revision, newest_revision=3, error=error)
    run.rolled_out = rolled_out
    return api_pb2.ListRunsResponse(runs=[run])


@pytest.fixture
def server(logged_in: FakeApi) -> FakeApi:
    logged_in.answers |= {"Rollback": PLAN, "WatchRuns": [listed(), listed(rolled_out=True)]}
    return logged_in


def test_it_says_what_it_goes_back_to_and_waits_until_that_serves(server: FakeApi, homeport: Homeport) -> None:
    done = homeport("rollback", "web", "-y")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines()[0] == TOLD
    assert done.stderr.splitlines()[-1] == "web is back at revision 2"
    assert list(server.requests("Rollback")) == [
        api_pb2.RollbackRequest(name="web", plan_only=True),
        api_pb2.RollbackRequest(name="web", from_revision=3),
    ]


def test_detached_it_does_not_wait(server: FakeApi, homeport: Homeport) -> None:
    done = homeport("rollback", "web", "-y", "-d")
    assert (done.exit_code, server.requests("WatchRuns")) == (0, [])


def test_what_the_server_refuses_changes_nothing(server: FakeApi, homeport: Homeport) -> None:
    words = "web cannot go back from revision 1: it is the first one; apply the file that you want"
    server.answers["Rollback"] = (grpc.StatusCode.INVALID_ARGUMENT, words)
    done = homeport("rollback", "web", "-y")
    assert done.exit_code != 0
    assert words in done.stderr
    assert len(server.requests("Rollback")) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (listed(1), "revision 1 of web is wanted now and not revision 2"),
        (listed(state="terminated"), "the run web ended before it was back"),
    ],
)
def test_when_something_else_comes_in_between_it_fails_with_that(
    server: FakeApi, homeport: Homeport, answer: api_pb2.ListRunsResponse, words: str
) -> None:
    server.answers["WatchRuns"] = [answer]
    done = homeport("rollback", "web", "-y")
    assert done.exit_code == 1
    assert words in done.stderr

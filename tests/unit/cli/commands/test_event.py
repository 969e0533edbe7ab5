import json
from collections.abc import Callable

import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


def answer(*ids: int, last_id: int = 0) -> api_pb2.EventsResponse:
    found = [api_pb2.Event(id=number, kind="run", name="web", sentence=f"number {number}") for number in ids]
    return api_pb2.EventsResponse(events=found, last_id=last_id or max(ids, default=0))


def test_what_is_asked_is_what_the_flags_say(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["Events"], logged_in.finish_streams = [answer(1, 2)], True
    done = homeport("event", "--run", "web", "--since", "1h", "--limit", "5")
    assert done.exit_code == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["HAPPENED", "1", "2"]
    homeport("event", "--run", "web", "--kind", "replica")
    homeport("event", "--cause", "c1", "--host", "gpu-1")
    assert logged_in.requests("Events") == [
        api_pb2.EventsRequest(kind="run", name="web", since_s=3600, limit=5),
        api_pb2.EventsRequest(kind="replica", name="web", limit=100),
        api_pb2.EventsRequest(kind="host", name="gpu-1", cause_id="c1", limit=100),
    ]


def test_nothing_found_is_said_beside_the_data(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["Events"], logged_in.finish_streams = [answer()], True
    done = homeport("event")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "No such events.\n")
    assert json.loads(homeport("event", "--json").stdout)["events"] == []


def test_json_is_one_object_of_all_answers(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["Events"], logged_in.finish_streams = [answer(1), answer(2)], True
    found = json.loads(homeport("event", "--json").stdout)
    assert [event["sentence"] for event in found["events"]] == ["number 1", "number 2"]


@pytest.mark.parametrize(
    "flags",
    [["--kind", "planet"], ["--run", "a", "--host", "b"], ["--kind", "token", "--run", "a"], ["--since", "soon"]],
)
def test_flags_that_make_no_sense_are_usage_and_nothing_is_asked(
    logged_in: FakeApi, homeport: Homeport, flags: list[str]
) -> None:
    assert homeport("event", *flags).exit_code == 2
    assert logged_in.asked == []

import signal
import subprocess
from collections.abc import Callable

import grpc
import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


def run(state: str, **fields: object) -> api_pb2.Run:
    return api_pb2.Run(id="1", name="web", state=state, **fields)  # type: ignore[arg-type]


def serving() -> api_pb2.ListRunsResponse:
    replica = api_pb2.Replica(id="r1", state="running", in_rotation=True)
    return api_pb2.ListRunsResponse(runs=[run("running", replicas=[replica], replicas_wanted=1)])


@pytest.fixture
def server(logged_in: FakeApi) -> FakeApi:
    logged_in.answers |= {
        "ListRuns": api_pb2.ListRunsResponse(runs=[run("terminated", reason="stopped by ann")]),
        "WatchRuns": [serving()],
        "Logs": [api_pb2.LogsResponse(entries=[api_pb2.LogEntry(text=b"hello")])],
    }
    logged_in.finish_streams = True
    return logged_in


def test_a_run_that_was_stopped_ends_well(server: FakeApi, homeport: Homeport) -> None:
    done = homeport("attach", "web", "--tail", "5")
    assert (done.exit_code, done.stdout) == (0, "hello\n")
    assert done.stderr == "The run web has ended: terminated, stopped by ann\n"
    assert server.requests("Logs") == [api_pb2.LogsRequest(run_name="web", follow=True, tail=5)]


def test_a_run_that_failed_is_an_error_with_its_reason(server: FakeApi, homeport: Homeport) -> None:
    server.answers["ListRuns"] = api_pb2.ListRunsResponse(runs=[run("failed", error="exited with code 3")])
    done = homeport("attach", "web")
    assert (done.exit_code, done.stdout) == (1, "hello\n")
    assert done.stderr == "Error: the run web failed: exited with code 3\n"


def test_a_run_that_failed_without_logs_says_why_it_failed(server: FakeApi, homeport: Homeport) -> None:
    server.answers |= {
        "ListRuns": api_pb2.ListRunsResponse(runs=[run("failed", error="no host has a GPU")]),
        "Logs": (grpc.StatusCode.NOT_FOUND, "web is failed: none of its replicas has a container now"),
    }
    done = homeport("attach", "web")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "Error: the run web failed: no host has a GPU"


def test_a_run_that_is_not_there_is_one_line(server: FakeApi, homeport: Homeport) -> None:
    server.answers["ListRuns"] = api_pb2.ListRunsResponse()
    done = homeport("attach", "web")
    assert (done.exit_code, done.stderr) == (1, "Error: no run web; `homeport ps -a` shows all\n")


def test_ctrl_c_leaves_it_running_when_there_is_nobody_to_ask(
    server: FakeApi, program: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    server.finish_streams = False
    server.answers["ListRuns"] = serving()
    process = program(["attach", "web"])
    assert process.stdout is not None
    assert process.stdout.readline() == b"hello\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stderr is not None
    said = process.stderr.read().decode()
    assert "web: running, 1/1 in rotation" in said
    assert "The run web goes on" in said
    assert server.requests("StopRuns") == []

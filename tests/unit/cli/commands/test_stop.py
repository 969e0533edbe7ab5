import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from fakes.api import FakeApi
from google.protobuf.timestamp_pb2 import Timestamp
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


def listed(*states: str, name: str = "web") -> api_pb2.ListRunsResponse:
    """Runs of one name, newest first."""
    return api_pb2.ListRunsResponse(
        runs=[
            api_pb2.Run(id=str(len(states) - at), name=name, state=state, submitted_at=Timestamp(seconds=100 - at))
            for at, state in enumerate(states)
        ]
    )


@pytest.fixture
def server(logged_in: FakeApi) -> FakeApi:
    logged_in.answers |= {
        "StopRuns": api_pb2.StopRunsResponse(stopping=["web"]),
        "WatchRuns": [listed("terminating", "failed"), listed("terminated", "failed")],
    }
    return logged_in


def test_stop_waits_until_nothing_of_the_run_is_left(server: FakeApi, homeport: Homeport) -> None:
    done = homeport("stop", "web", "-y")
    assert done.exit_code == 0
    assert done.stdout == ""
    told = ["Stopping web", "web: terminating", "web: terminated", "Stopped web"]
    assert done.stderr.splitlines() == told
    assert list(server.requests("StopRuns")) == [api_pb2.StopRunsRequest(names=["web"])]


def test_abort_is_passed_on_and_names_are_sent_once(server: FakeApi, homeport: Homeport) -> None:
    homeport("stop", "web", "web", "-x", "-y")
    assert server.requests("StopRuns") == [api_pb2.StopRunsRequest(names=["web"], abort=True)]


def test_a_new_run_of_the_name_is_not_waited_for(server: FakeApi, homeport: Homeport) -> None:
    server.answers["WatchRuns"] = [listed("terminating"), listed("provisioning", "terminated")]
    assert homeport("stop", "web", "-y").exit_code == 0


def test_detached_stop_does_not_wait(server: FakeApi, homeport: Homeport) -> None:
    assert homeport("stop", "web", "-y", "-d").exit_code == 0
    assert server.requests("WatchRuns") == []


def test_a_run_that_is_stopped_already_is_said_so(server: FakeApi, homeport: Homeport) -> None:
    server.answers["StopRuns"] = api_pb2.StopRunsResponse(already_stopped=["web"])
    done = homeport("stop", "web", "-y")
    assert (done.exit_code, done.stderr) == (0, "web is stopped already\n")


def test_a_run_that_is_not_there_is_the_servers_line(server: FakeApi, homeport: Homeport) -> None:
    server.answers["StopRuns"] = (grpc.StatusCode.NOT_FOUND, "no run web; `homeport ps -a` shows all")
    done = homeport("stop", "web", "-y")
    assert (done.exit_code, done.stderr) == (1, "Error: no run web; `homeport ps -a` shows all\n")


def test_nothing_is_stopped_without_a_terminal_or_y(server: FakeApi, homeport: Homeport) -> None:
    done = homeport("stop", "web")
    assert done.exit_code == 2
    assert "pass -y" in done.stderr
    assert server.requests("StopRuns") == []


def test_ctrl_c_while_waiting_leaves_it_stopping(
    server: FakeApi, program: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    server.answers["WatchRuns"] = [listed("terminating")]
    process = program(["stop", "web", "-y"])
    assert process.stderr is not None
    while b"terminating" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"it goes on stopping" in errors


def test_delete_stops_the_run_that_the_file_names(server: FakeApi, homeport: Homeport, tmp_path: Path) -> None:
    file = tmp_path / "web.homeport.yml"
    file.write_text("type: service\nname: web\n")
    done = homeport("delete", "-f", str(file), "-y")
    assert done.exit_code == 0
    assert server.requests("StopRuns") == [api_pb2.StopRunsRequest(names=["web"])]
    assert done.stderr.splitlines()[-1] == "Stopped web"


def test_delete_of_a_file_without_a_name_is_usage(server: FakeApi, homeport: Homeport, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("type: service\n")
    done = homeport("delete", "-f", str(tmp_path / "x.yml"), "-y")
    assert done.exit_code == 2
    assert "homeport stop NAME" in done.stderr
    assert server.asked == []

import json
import os
import signal
import subprocess
from collections.abc import Callable

import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]
RUNS = api_pb2.ListRunsResponse(
    runs=[api_pb2.Run(id="1", name="web", state="pending", replicas_wanted=1, reason="no host has 24GB free " * 9)]
)


def test_ps_prints_the_table_on_stdout_whole_however_long_a_line_gets(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListRuns"] = RUNS
    done = homeport("ps")
    assert done.exit_code == 0
    assert done.stderr == ""
    head, row = done.stdout.splitlines()
    assert head.split()[0] == "NAME"
    assert row.endswith("no host has 24GB free")
    assert row.count("24GB") == 9
    assert "\x1b" not in done.stdout


def test_ps_asks_for_finished_runs_with_a_only(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListRuns"] = RUNS
    homeport("ps")
    homeport("ps", "-a")
    assert [request.all for request in logged_in.requests("ListRuns")] == [False, True]


def test_ps_json_is_the_apis_object_and_nothing_else(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListRuns"] = RUNS
    done = homeport("ps", "--json")
    assert json.loads(done.stdout)["runs"][0]["replicas_wanted"] == 1
    assert done.stderr == ""


def test_ps_watch_prints_each_change_until_ctrl_c(
    logged_in: FakeApi, program: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    running = api_pb2.ListRunsResponse(runs=[api_pb2.Run(id="1", name="web", state="running")])
    logged_in.answers["WatchRuns"] = [RUNS, running]
    process = program(["ps", "-w"], env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"pending" in seen[1]
    assert b"running" in seen[3]
    assert errors == b""


@pytest.mark.parametrize("arguments", [["fleet", "list"], ["token", "list"]])
def test_the_other_lists_speak_json_too(logged_in: FakeApi, homeport: Homeport, arguments: list[str]) -> None:
    logged_in.answers["ListHosts"] = api_pb2.ListHostsResponse(hosts=[api_pb2.Host(name="a", connection="connected")])
    logged_in.answers["ListTokens"] = api_pb2.ListTokensResponse(tokens=[api_pb2.Token(name="a")])
    shown = json.loads(homeport(*arguments, "--json").stdout)
    assert next(iter(shown.values()))[0]["name"] == "a"


def test_ps_watch_into_a_pipe_does_not_repeat_what_looks_the_same(
    logged_in: FakeApi, program: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    unseen = api_pb2.ListRunsResponse(runs=RUNS.runs)
    unseen.runs[0].user = "ann"  # a change that the table does not show
    running = api_pb2.ListRunsResponse(runs=[api_pb2.Run(id="1", name="web", state="running")])
    logged_in.answers["WatchRuns"] = [RUNS, unseen, running]
    process = program(["ps", "-w"], env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert b"pending" in seen[1]
    assert b"running" in seen[3]

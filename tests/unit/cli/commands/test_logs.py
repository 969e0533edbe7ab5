import json
import subprocess
from collections.abc import Callable

import grpc
import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


@pytest.fixture
def server(logged_in: FakeApi) -> FakeApi:
    entries = [api_pb2.LogEntry(text=b"a\xff"), api_pb2.LogEntry(text=b"b")]
    logged_in.answers |= {
        "ListRuns": api_pb2.ListRunsResponse(runs=[api_pb2.Run(name="web", replicas=[api_pb2.Replica(index=0)])]),
        "Logs": [api_pb2.LogsResponse(entries=entries)],
    }
    logged_in.finish_streams = True
    return logged_in


def test_logs_are_the_bytes_that_were_written(server: FakeApi, homeport: Homeport) -> None:
    done = homeport("logs", "web")
    assert done.exit_code == 0
    assert done.stdout_bytes == b"a\xff\nb\n"


def test_without_flags_everything_is_asked_for(server: FakeApi, homeport: Homeport) -> None:
    homeport("logs", "web")
    assert server.requests("Logs") == [api_pb2.LogsRequest(run_name="web", tail=-1)]


def test_flags_are_passed_on(server: FakeApi, homeport: Homeport) -> None:
    homeport("logs", "web", "-f", "--replica", "0", "--since", "5m", "--tail", "0")
    assert server.requests("Logs") == [api_pb2.LogsRequest(run_name="web", follow=True, replica=0, since_s=300, tail=0)]
    assert server.requests("Logs")[0].HasField("replica")


def test_several_replicas_are_told_apart_from_the_first_line_on(server: FakeApi, homeport: Homeport) -> None:
    replicas = [api_pb2.Replica(index=0), api_pb2.Replica(index=1)]
    server.answers["ListRuns"] = api_pb2.ListRunsResponse(runs=[api_pb2.Run(name="web", replicas=replicas)])
    assert homeport("logs", "web").stdout_bytes.startswith(b"[0] a")
    assert homeport("logs", "web", "--replica", "0").stdout_bytes.startswith(b"a")


def test_a_run_that_is_not_there_is_one_line(server: FakeApi, homeport: Homeport) -> None:
    server.answers["Logs"] = (grpc.StatusCode.NOT_FOUND, "no run web; `homeport ps -a` shows all")
    done = homeport("logs", "web")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "Error: no run web; `homeport ps -a` shows all\n"


def test_a_reader_that_has_seen_enough_ends_it_quietly(
    server: FakeApi, program: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    many = api_pb2.LogsResponse(entries=[api_pb2.LogEntry(text=b"x" * 100)] * 1000)
    server.answers["Logs"] = [many] * 20
    process = program(["logs", "web", "-f"])
    assert process.stdout is not None
    assert process.stdout.readline() == b"x" * 100 + b"\n"
    process.stdout.close()
    assert process.wait(30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""


def test_notes_go_to_standard_error(server: FakeApi, homeport: Homeport) -> None:
    server.answers["Logs"] = [api_pb2.LogsResponse(note="replica 1 on box: it is away"), *server.answers["Logs"]]
    done = homeport("logs", "web", "-p")
    assert (done.exit_code, done.stdout_bytes, done.stderr) == (0, b"a\xff\nb\n", "replica 1 on box: it is away\n")
    assert server.requests("Logs")[0].previous


def test_objects_come_one_on_a_line(server: FakeApi, homeport: Homeport) -> None:
    lines = homeport("logs", "web", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["a�", "b"]


def test_what_has_ended_is_not_followed(server: FakeApi, homeport: Homeport) -> None:
    done = homeport("logs", "web", "-p", "-f")
    assert done.exit_code == 2
    assert "--follow and --previous" in done.stderr
    assert server.requests("Logs") == []


def test_a_follow_goes_on_when_the_server_comes_back(
    logged_in: FakeApi, program: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    entry = api_pb2.LogEntry(text=b"one", replica_id="r1", stream="stdout", timestamp="2026-11-23T10:00:00.000000001Z")
    logged_in.answers |= {"ListRuns": api_pb2.ListRunsResponse(), "Logs": [api_pb2.LogsResponse(entries=[entry])]}
    process = program(["logs", "web", "-f"])
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    logged_in.stop()
    logged_in.answers["Logs"] = [api_pb2.LogsResponse(entries=[api_pb2.LogEntry(text=b"two", replica_id="r1")])]
    logged_in.finish_streams = True
    logged_in.start()
    assert process.stdout.readline() == b"two\n"
    assert process.wait(30) == 0
    assert logged_in.requests("Logs")[-1].after["r1"].endswith(f"stdout={entry.timestamp}")
    assert process.stderr is not None
    assert b"trying again" in process.stderr.read()


def test_the_access_log_is_asked_for_and_is_not_of_one_replica(server: FakeApi, homeport: Homeport) -> None:
    line = b'{"status":200}'
    server.answers["Logs"] = [api_pb2.LogsResponse(entries=[api_pb2.LogEntry(text=line, replica_id="access")])]
    assert homeport("logs", "web", "--access", "--tail", "1").stdout_bytes == line + b"\n"
    assert server.requests("Logs") == [api_pb2.LogsRequest(run_name="web", tail=1, access=True)]
    assert server.requests("ListRuns") == []
    for flags in (("--replica", "0"), ("-p",)):
        assert homeport("logs", "web", "--access", *flags).exit_code == 2

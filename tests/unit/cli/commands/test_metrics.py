import json
import os
import signal
import subprocess
from collections.abc import Callable

from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


def answer(in_flight: int) -> api_pb2.MetricsResponse:
    return api_pb2.MetricsResponse(replicas=[api_pb2.ReplicaMetrics(index=0, state="running")], in_flight=in_flight)


def asked(api: FakeApi) -> list[tuple[str, bool]]:
    return [(request.run_name, request.follow) for request in api.requests("Metrics")]


def test_metrics_prints_one_table(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["Metrics"] = [answer(7)]
    logged_in.finish_streams = True
    done = homeport("metrics", "web")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["NAME", "web", "replica"]
    assert done.stdout.splitlines()[1].split()[-1] == "7"
    assert asked(logged_in) == [("web", False)]


def test_metrics_says_how_requests_were_answered(logged_in: FakeApi, homeport: Homeport) -> None:
    nothing_known, idle, busy, waiting = (answer(0) for _ in range(4))
    idle.answers.success_per_s = 0.0
    busy.answers.MergeFrom(api_pb2.ServiceAnswers(success_per_s=9.96, redirect_per_s=1, p50_ms=0.6, p99_ms=61_200))
    waiting.held = 3
    logged_in.answers["Metrics"] = [nothing_known, idle, busy, waiting]
    logged_in.finish_streams = True
    done = homeport("metrics", "web", "-w")
    assert [line for line in done.stdout.splitlines() if line.startswith("web: ")] == [
        "web: 0 held; per second 2xx 0.0, 4xx 0.0, 5xx 0.0",
        "web: 0 held; p50 1 ms, p99 61 s; per second 2xx 10.0, 3xx 1.0, 4xx 0.0, 5xx 0.0",
        "web: 3 held",
    ]


def test_metrics_json_is_an_object_per_line(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["Metrics"] = [answer(1), answer(2)]
    logged_in.finish_streams = True
    done = homeport("metrics", "web", "-w", "--json")
    assert [json.loads(line)["in_flight"] for line in done.stdout.splitlines()] == ["1", "2"]
    assert asked(logged_in) == [("web", True)]


def test_metrics_watch_without_a_terminal_prints_each_table_until_ctrl_c(
    logged_in: FakeApi, program: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    logged_in.answers["Metrics"] = [answer(1), answer(2)]
    process = program(["metrics", "web", "-w"], env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(6)]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, b"")
    assert [seen[1].split()[-1], seen[4].split()[-1]] == [b"1", b"2"]

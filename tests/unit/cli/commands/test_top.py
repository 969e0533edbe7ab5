"""`homeport top` from its arguments to its output; on a terminal: tests/cli/test_terminal.py."""

import json
import os
import signal
import subprocess
from collections.abc import Callable

from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


def answer(*names: str) -> api_pb2.ListHostsResponse:
    return api_pb2.ListHostsResponse(hosts=[api_pb2.Host(name=name, state="idle") for name in names])


def test_piped_it_is_one_picture_of_all_that_was_asked_for(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListHosts"] = answer("gpu-1", "gpu-2")
    done = homeport("top", "gpu-1", "gpu-2", "--fleet", "lab")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["2", "HOST", "gpu-1", "gpu-2"]
    (asked,) = logged_in.requests("ListHosts")
    assert (list(asked.names), asked.fleet, asked.telemetry) == (["gpu-1", "gpu-2"], "lab", True)


def test_json_is_an_object_per_line_until_ctrl_c(
    logged_in: FakeApi, program: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    logged_in.answers["WatchHosts"] = [answer("gpu-1"), answer("gpu-1", "gpu-2")]
    process = program(["top", "--json"], env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert process.stdout is not None
    seen = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == b""
    assert [len(it["hosts"]) for it in seen] == [1, 2]
    assert process.returncode == 130


def test_a_wrong_name_is_told(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListHosts"] = ("NOT_FOUND", "no host gpu-9; `homeport fleet list` shows all")
    done = homeport("top", "gpu-9")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no host gpu-9" in done.stderr

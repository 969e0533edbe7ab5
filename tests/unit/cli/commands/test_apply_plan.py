"""`apply --plan --json`: the API's own object on standard output, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]


def test_a_plan_as_json_is_the_servers_answer(logged_in: FakeApi, homeport: Homeport, tmp_path: Path) -> None:
    file = tmp_path / "web.homeport.yml"
    file.write_text("type: service\nname: web\nimage: a:1\nport: 80\n")
    offer = api_pb2.Offer(host="gpu-1", availability="idle")
    logged_in.answers["Plan"] = api_pb2.PlanResponse(run_name="web", action="create", offers=[offer], plan_token="new")
    logged_in.answers["CheckCode"] = api_pb2.CheckCodeResponse(code_id="c")
    done = homeport("apply", "-f", str(file), "--plan", "--json")
    assert done.exit_code == 0
    shown = json.loads(done.stdout)
    assert (shown["run_name"], shown["offers"][0]["host"], shown["changes"]) == ("web", "gpu-1", [])
    assert logged_in.requests("Apply") == []


def test_json_without_plan_is_usage(homeport: Homeport) -> None:
    done = homeport("apply", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--plan" in done.stderr

"""`offer` from its flags to its exit code."""

import json
from collections.abc import Callable

import pytest
from fakes.api import FakeApi
from homeport_protos.api.v1 import api_pb2
from typer.testing import Result

Homeport = Callable[..., Result]
ANSWER = api_pb2.ListOffersResponse(
    offers=[api_pb2.Offer(backend="agent", region="remote", host="gpu-1", resources="8xCPU", availability="idle")],
    refusals=[api_pb2.Refusal(host="gpu-2", reason="needs 24GB on 1 GPU, largest free 11.2GB")],
)


def test_offers_and_under_them_the_refusals_go_to_standard_output(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListOffers"] = ANSWER
    done = homeport("offer", "--gpu", "24GB:2", "--cpu", "4..", "--fleet", "a", "--fleet", "b", "--on-demand", "-R")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["1", "agent", "remote", "gpu-1", "8xCPU", "no", "$0", "idle"]
    assert lines[-1] == "gpu-2: needs 24GB on 1 GPU, largest free 11.2GB"
    (request,) = logged_in.requests("ListOffers")
    wanted = {"resources": {"gpu": "24GB:2", "cpu": "4.."}, "fleets": ["a", "b"], "spot_policy": "on-demand"}
    assert json.loads(request.json) == wanted
    assert request.reuse


def test_json_is_the_apis_own_object_and_nothing_else(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListOffers"] = ANSWER
    shown = json.loads(homeport("offer", "--json").stdout)
    assert shown["offers"][0]["availability"] == "idle"
    assert shown["refusals"][0]["host"] == "gpu-2"


@pytest.mark.parametrize(
    ("problems", "last"),
    [
        ([("resources.gpu", "GPU spec contains empty token: :")], "--gpu: GPU spec contains empty token: :"),
        ([("resources.gpu", "is odd"), ("resources.cpu", "is odd too")], "--cpu: is odd too"),
    ],
)
def test_a_mistake_is_told_by_its_flag_and_is_2(
    logged_in: FakeApi, homeport: Homeport, problems: list[tuple[str, str]], last: str
) -> None:
    found = [api_pb2.Problem(path=path, message=message) for path, message in problems]
    logged_in.answers["ListOffers"] = api_pb2.ListOffersResponse(problems=found)
    done = homeport("offer", "--gpu", ":")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: --gpu: ")
    assert done.stderr.splitlines()[-1].removeprefix("Error: ") == last


def test_words_do_what_flags_do(logged_in: FakeApi, homeport: Homeport) -> None:
    logged_in.answers["ListOffers"] = ANSWER
    assert homeport("offer", "gpu=24GB:2", "fleet=a", "--cpu", "4..").exit_code == 0
    (request,) = logged_in.requests("ListOffers")
    assert json.loads(request.json) == {"resources": {"gpu": "24GB:2", "cpu": "4.."}, "fleets": ["a"]}


def test_a_word_that_is_none_is_2(logged_in: FakeApi, homeport: Homeport) -> None:
    done = homeport("offer", "24GB")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: 24GB is not KEY=VALUE")

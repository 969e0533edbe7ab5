"""api/offers: the same answer as a plan's, for resources alone; mistakes by the keys of the language."""

import json
from typing import Any

import grpc
import pytest
from fixtures.control import State, add_host
from fixtures.plane import Api, refusal
from homeport_protos.api.v1 import api_pb2


def ask(reuse: bool = False, **fields: Any) -> api_pb2.ListOffersRequest:
    return api_pb2.ListOffersRequest(json=json.dumps(fields), reuse=reuse)


async def test_hosts_that_fit_are_offered_and_the_others_say_why_not(state: State, user: Api) -> None:
    await add_host(state, "h2", connected=False)
    answer = await user("ListOffers", ask(resources={"cpu": "4.."}))
    assert [(offer.host, offer.availability) for offer in answer.offers] == [("h1", "idle")]
    assert [refusal.host for refusal in answer.refusals] == ["h2"]
    answer = await user("ListOffers", ask(resources={"cpu": "9.."}))
    assert {refusal.host for refusal in answer.refusals} == {"h1", "h2"}
    assert list(answer.offers) == []


async def test_nothing_asked_is_every_host(user: Api) -> None:
    assert len((await user("ListOffers", api_pb2.ListOffersRequest())).offers) == 1


async def test_a_plan_for_the_same_resources_offers_the_same(user: Api) -> None:
    document = {"type": "service", "name": "web", "image": "a:1", "port": 80, "resources": {"gpu": "24GB:2"}}
    plan = await user("Plan", api_pb2.PlanRequest(document=api_pb2.Document(json=json.dumps(document))))
    answer = await user("ListOffers", ask(resources={"gpu": "24GB:2"}))
    assert (list(answer.offers), list(answer.refusals)) == (list(plan.offers), list(plan.refusals))
    assert answer.refusals


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"resources": {"gpu": "A100:80GB:90GB"}}, "resources.gpu"),
        ({"resources": {"memory": "lots"}}, "resources.memory"),
        ({"max_price": "cheap"}, "max_price"),
        ({"spot_policy": "maybe"}, "spot_policy"),
        ({"image": "a:1"}, "image"),
    ],
)
async def test_a_mistake_is_a_problem_at_its_key(user: Api, fields: dict[str, Any], path: str) -> None:
    answer = await user("ListOffers", ask(**fields))
    assert [problem.path for problem in answer.problems] == [path]
    assert not answer.offers


@pytest.mark.parametrize("text", ["[]", "{", '"x"', "[" * 50_000])
async def test_what_is_no_map_is_an_invalid_request(user: Api, text: str) -> None:
    code, _ = await refusal(user("ListOffers", api_pb2.ListOffersRequest(json=text)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_gateway_is_listed_as_the_server_tells_it(user: Api) -> None:
    server = await user("GetServer", api_pb2.GetServerRequest())
    assert list((await user("ListGateways", api_pb2.ListGatewaysRequest())).gateways) == [server.gateway]
    assert server.gateway.ready

"""api/models: names that are taken are refused at plan and apply, in words; and what `ps` says of a model."""

import json
from typing import Any

import pytest
from fixtures.control import State, add_run, service
from fixtures.plane import Api
from homeport_control.domain.services import RunState
from homeport_control.store import runs
from homeport_protos.api.v1 import api_pb2


def document(name: str, **fields: Any) -> api_pb2.Document:
    return api_pb2.Document(json=json.dumps(service(name, **fields)))


async def problems(user: Api, name: str, **fields: Any) -> list[tuple[str, str]]:
    """Of the plan; the apply must say the same."""
    wanted = document(name, **fields)
    planned = (await user("Plan", api_pb2.PlanRequest(document=wanted))).problems
    if planned:
        applied = (await user("Apply", api_pb2.ApplyRequest(document=wanted))).problems
        assert list(applied) == list(planned)
    return [(problem.path, problem.message) for problem in planned]


async def test_a_models_name_belongs_to_one_service(state: State, user: Api) -> None:
    run_id = await add_run(state, "llm", model="llama")
    said = "the model `llama` is published by the service `llm` already"
    assert await problems(user, "other", model={"name": "llama", "prefix": "/api"}) == [("model.name", said)]
    assert await problems(user, "other", model={"name": ["x", "llama"]}) == [("model.name", said)]
    assert await problems(user, "other", model={"name": "llama", "weight": 10}) == []
    assert await problems(user, "other", model="llama-2") == []
    assert await problems(user, "other") == []
    assert await problems(user, "llm", model="llama") == []
    async with state.database.write() as write:
        await runs.update(write, run_id, state=RunState.DONE, ended_at_s=2000.0)
    assert await problems(user, "other", model="llama") == []


async def test_the_name_of_the_models_address_is_no_services(user: Api) -> None:
    ((path, message),) = await problems(user, "gateway")
    assert path == "name"
    assert "models are called at `gateway.<domain>`" in message


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        (None, ("", "", "")),
        ({"name": "org/llama"}, ("org/llama", "chat", "http://gateway.localhost:7480/v1")),
        ({"name": "bge", "type": "embeddings"}, ("bge", "embeddings", "http://gateway.localhost:7480/v1")),
    ],
)
async def test_ps_says_where_the_model_is_called(
    state: State, user: Api, model: object, shown: tuple[str, str, str]
) -> None:
    run_id = await add_run(state, "llm", **({"model": model} if model else {}))
    (run,) = (await user("ListRuns", api_pb2.ListRunsRequest())).runs
    assert (run.model, run.model_type, run.model_url) == shown
    async with state.database.write() as write:
        await runs.update(write, run_id, state=RunState.DONE, ended_at_s=2000.0)
    (run,) = (await user("ListRuns", api_pb2.ListRunsRequest(all=True))).runs
    assert (run.model, run.model_url) == (shown[0], "")

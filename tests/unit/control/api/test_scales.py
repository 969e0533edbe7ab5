"""api/scales: the newest revision with another number of replicas; what runs goes on, what cannot be is refused in words."""

import json
from typing import Any

import grpc
import pytest
from fixtures.control import State, get_run, service
from fixtures.plane import Api, refusal
from homeport_control.domain.services import RunWanted
from homeport_control.loops.runs import RunsLoop
from homeport_control.spec.service import spec_from_json
from homeport_control.store import replicas, runs
from homeport_protos.api.v1 import api_pb2

NOW_S = 5000.0
SCALING = {"metric": "rps", "target": 10}


async def applied(api: Api, **fields: Any) -> str:
    document = api_pb2.Document(json=json.dumps(service(**fields)))
    response = await api("Apply", api_pb2.ApplyRequest(document=document))
    assert not response.problems
    return str(response.run_id)


async def scaled(api: Api, words: str, **fields: Any) -> tuple[int, str, str]:
    answer = await api("Scale", api_pb2.ScaleRequest(name="hello", replicas=words, **fields))
    return answer.revision, answer.replicas_before, answer.replicas


async def wanted(state: State, run_id: str) -> dict[str, int]:
    """Id to revision, of the replicas that are to run, after a turn of the loop."""
    await RunsLoop(state.database).turn(NOW_S)
    async with state.database.read() as connection:
        found = (await replicas.of_runs(connection, [run_id])).get(run_id, [])
    return {it.id: it.revision for it in found if it.wanted == "run"}


async def test_what_runs_goes_on_and_one_more_comes(state: State, user: Api) -> None:
    run_id = await applied(user, replicas=1, env={"TOKEN": "secret"})
    (first,) = await wanted(state, run_id)
    assert await scaled(user, "2") == (2, "1", "2")
    there = await wanted(state, run_id)
    assert first in there
    assert list(there.values()) == [2, 2]
    assert (await get_run(state, run_id)).newest.number == 2
    async with state.database.read() as connection:
        assert await runs.sealed_secrets(connection, run_id, 2) == await runs.sealed_secrets(connection, run_id, 1)
    assert await scaled(user, "1") == (3, "2", "1")
    assert len(await wanted(state, run_id)) == 1


async def test_as_many_as_there_are_and_a_plan_change_nothing(state: State, user: Api) -> None:
    run_id = await applied(user, replicas=2)
    assert await scaled(user, "2") == (1, "2", "2")
    assert await scaled(user, "3", plan_only=True) == (1, "2", "3")
    assert (await get_run(state, run_id)).newest.number == 1


async def test_a_range_is_for_what_scales(state: State, user: Api) -> None:
    run_id = await applied(user, replicas="1..2", scaling=SCALING)
    assert await scaled(user, "0..4") == (2, "1..2", "0..4")
    spec = spec_from_json((await get_run(state, run_id)).newest.spec_json)
    assert (spec.replicas.min, spec.replicas.max) == (0, 4)
    code, words = await refusal(scaled(user, "3"))
    assert (code, words) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "hello has `scaling`, which needs a range of replicas; write one, as 1..4",
    )


@pytest.mark.parametrize(
    ("words", "because"),
    [
        ("1..4", "hello has no `scaling`, so it has a fixed number of replicas; write one, as 3"),
        ("0", "replicas '0': must be at least 1. `homeport stop` stops a service"),
        ("many", "replicas 'many': "),
        ("", "replicas '': "),
        ("9" * 400, f"replicas '{'9' * 40}': "),
    ],
)
async def test_a_number_that_cannot_be_is_refused(state: State, user: Api, words: str, because: str) -> None:
    await applied(user)
    code, said = await refusal(scaled(user, words))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert said.startswith(because)


async def test_what_is_not_there_or_is_another_by_now_is_refused(state: State, user: Api) -> None:
    code, words = await refusal(scaled(user, "2"))
    assert (code, words) == (
        grpc.StatusCode.NOT_FOUND,
        "no run hello that could be scaled; `homeport ps` shows what runs",
    )
    run_id = await applied(user)
    code, words = await refusal(scaled(user, "2", from_revision=7))
    assert (code, words) == (grpc.StatusCode.ABORTED, "revision 1 of hello is there now, not 7; look again")
    async with state.database.write() as write:
        await runs.update(write, run_id, wanted=RunWanted.STOP)
    code, words = await refusal(scaled(user, "2"))
    assert (code, words) == (grpc.StatusCode.ABORTED, "hello is being stopped; apply its file to have it again")


async def test_what_only_an_admin_may_run_only_an_admin_may_have_more_of(state: State, admin: Api, user: Api) -> None:
    await applied(admin, privileged=True)
    code, words = await refusal(scaled(user, "2"))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert "needs an admin token" in words
    assert await scaled(admin, "2") == (2, "1", "2")

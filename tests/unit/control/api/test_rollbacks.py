"""api/rollbacks, with the real loop of runs: who may, to which revision, what it refuses; and applies in quick succession."""

import json
from typing import Any

import grpc
from fixtures.control import State, claim, get_run, observe, service
from fixtures.plane import Api, refusal
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.loops.runs import RunsLoop
from homeport_control.store import replicas, runs
from homeport_protos.api.v1 import api_pb2

NOW_S = 5000.0
TURNS = 40


async def applied(api: Api, **fields: Any) -> str:
    document = api_pb2.Document(json=json.dumps(service(**fields)))
    response = await api("Apply", api_pb2.ApplyRequest(document=document))
    assert not response.problems
    return str(response.run_id)


async def rolled_back(api: Api, name: str = "hello", **fields: Any) -> tuple[int, int]:
    response = await api("Rollback", api_pb2.RollbackRequest(name=name, **fields))
    return response.from_revision, response.to_revision


async def present(state: State, run_id: str) -> list[Replica]:
    async with state.database.read() as connection:
        return list((await replicas.of_runs(connection, [run_id])).get(run_id, []))


async def settled(state: State, run_id: str, *, never_below: int = 0) -> list[int]:
    """Hosts and gateways do what they should until nothing changes; the revisions that serve then."""
    loop = RunsLoop(state.database)
    before: list[Replica] = []
    for _ in range(TURNS):
        await loop.turn(NOW_S)
        found = await present(state, run_id)
        serving = [replica.revision for replica in found if replica.in_rotation]
        assert len(serving) >= never_below
        if found == before:
            return serving
        before = found
        for replica in found:
            await moved(state, run_id, replica)
    raise AssertionError("does not settle")


async def moved(state: State, run_id: str, replica: Replica) -> None:
    if replica.wanted is Wanted.RUN and replica.host_id is None:
        async with state.database.write() as write:
            assert await replicas.claim(write, claim(replica.id, "h1"))
    elif replica.wanted is Wanted.RUN and replica.phase is not Phase.READY:
        await observe(state, "h1", replica.id, Phase.READY, host_port=40000)
    elif replica.wanted is Wanted.RUN and not replica.in_rotation:
        async with state.database.write() as write:
            await replicas.update(write, replica.id, in_rotation=True)
            await runs.update(write, run_id, ever_published=True, running_since_s=NOW_S)
    elif replica.wanted is Wanted.DRAIN and replica.drained_at_s is None:
        async with state.database.write() as write:
            await replicas.update(write, replica.id, drained_at_s=NOW_S)
    elif replica.wanted is Wanted.STOP:
        await observe(state, "h1", replica.id, Phase.STOPPED)


async def test_it_goes_back_one_revision_at_a_time_make_before_break(state: State, user: Api) -> None:
    run_id = await applied(user, replicas=2)
    await settled(state, run_id)
    for colour in ("A=1", "A=2"):
        await applied(user, replicas=2, env=[colour])
        assert len(await settled(state, run_id, never_below=2)) == 2
    third = {replica.id for replica in await present(state, run_id)}
    assert await rolled_back(user, plan_only=True) == (3, 2)
    assert await rolled_back(user, from_revision=3) == (3, 2)
    assert await settled(state, run_id, never_below=2) == [2, 2]
    assert not third & {replica.id for replica in await present(state, run_id)}
    run = (await user("ListRuns", api_pb2.ListRunsRequest(names=["hello"]))).runs[0]
    assert (run.revision, run.newest_revision, run.rolled_out) == (2, 3, True)
    by = run.user
    assert run.error == f"revision 3 was rolled back by {by}"
    assert await rolled_back(user) == (2, 1)
    assert await settled(state, run_id, never_below=2) == [1, 1]
    code, words = await refusal(user("Rollback", api_pb2.RollbackRequest(name="hello")))
    assert code is grpc.StatusCode.ABORTED
    assert words == "hello cannot go back from revision 1: it is the first one; apply the file that you want"
    await applied(user, replicas=2, env=["A=2"])
    assert await settled(state, run_id, never_below=2) == [4, 4]
    sentences = [it.sentence async for answer in user.stream("Events", api_pb2.EventsRequest()) for it in answer.events]
    assert f"user {by} rolls hello back from revision 3 to revision 2" in sentences


async def test_what_was_given_up_is_passed_over(state: State, user: Api) -> None:
    run_id = await applied(user)
    for colour in ("A=1", "A=2"):
        await applied(user, env=[colour])
    async with state.database.write() as write:
        await runs.give_up_revision(write, run_id, 2, "it failed")
    assert await rolled_back(user) == (3, 1)
    assert [bool(revision.failed) for revision in (await get_run(state, run_id)).revisions] == [False, True, True]


async def test_another_present_revision_than_the_one_that_was_shown_is_refused(state: State, user: Api) -> None:
    run_id = await applied(user)
    await applied(user, env=["A=1"])
    await applied(user, env=["A=2"])
    request = api_pb2.RollbackRequest(name="hello", from_revision=2)
    code, words = await refusal(user("Rollback", request))
    assert code is grpc.StatusCode.ABORTED
    assert "revision 3 of hello is the present one now, not 2" in words
    assert not any(revision.failed for revision in (await get_run(state, run_id)).revisions)


async def test_what_does_not_run_cannot_be_rolled_back(state: State, user: Api) -> None:
    code, words = await refusal(user("Rollback", api_pb2.RollbackRequest(name="nobody")))
    assert (code, words) == (grpc.StatusCode.NOT_FOUND, "no run nobody; `homeport ps -a` shows all")
    await applied(user)
    await applied(user, env=["A=1"])
    await user("StopRuns", api_pb2.StopRunsRequest(names=["hello"]))
    _, words = await refusal(user("Rollback", api_pb2.RollbackRequest(name="hello")))
    assert words == "hello is being stopped; there is nothing to roll back"


async def test_back_to_a_privileged_revision_is_for_admins(user: Api, admin: Api) -> None:
    await applied(admin, privileged=True)
    await applied(admin)
    code, _ = await refusal(user("Rollback", api_pb2.RollbackRequest(name="hello")))
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert await rolled_back(admin) == (2, 1)


async def test_a_models_name_that_another_service_took_meanwhile_is_in_the_way(user: Api) -> None:
    model = {"type": "chat", "name": "m", "format": "openai"}
    await applied(user, model=model)
    await applied(user, env=["A=1"])
    await applied(user, name="other", model=model)
    _, words = await refusal(user("Rollback", api_pb2.RollbackRequest(name="hello")))
    assert words.startswith("hello cannot go back to revision 1: the model `m` is published by the service `other`")


async def test_of_applies_in_quick_succession_the_last_one_wins_and_none_takes_it_below_what_is_wanted(
    state: State, user: Api
) -> None:
    run_id = await applied(user, replicas=2)
    await settled(state, run_id)
    loop = RunsLoop(state.database)
    for number in range(5):
        await applied(user, replicas=2, env=[f"A={number}"])
        await loop.turn(NOW_S)
        for replica in (await present(state, run_id))[number % 2 :: 2]:  # each gets only as far as it does
            await moved(state, run_id, replica)
    assert await settled(state, run_id, never_below=2) == [6, 6]
    assert [replica.revision for replica in await present(state, run_id)] == [6, 6]

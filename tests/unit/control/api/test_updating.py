"""api/updating, over the API and the real loop of runs: what goes on as it is, what is replaced, and what a plan says."""

import json
from typing import Any

import pytest
from fixtures.code import manifest, pieces
from fixtures.control import FACTS, State, add_replica, add_run, claim, get_replica, get_run, observe, service
from fixtures.plane import Api
from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.domain.services import Run
from homeport_control.loops.runs import RunsLoop
from homeport_control.store import hosts, replicas, reservations, runs
from homeport_protos.api.v1 import api_pb2

NOW_S = 5000.0


def document(code_id: str = "", **fields: Any) -> api_pb2.Document:
    return api_pb2.Document(json=json.dumps(service(**fields)), code_id=code_id)


async def applied(user: Api, wanted: api_pb2.Document, **fields: Any) -> api_pb2.ApplyResponse:
    response = await user("Apply", api_pb2.ApplyRequest(document=wanted, **fields))
    assert isinstance(response, api_pb2.ApplyResponse)
    assert not response.problems
    return response


async def planned(user: Api, wanted: api_pb2.Document) -> api_pb2.PlanResponse:
    response = await user("Plan", api_pb2.PlanRequest(document=wanted))
    assert isinstance(response, api_pb2.PlanResponse)
    return response


async def uploaded(user: Api, files: dict[str, bytes]) -> str:
    checked = await user("CheckCode", api_pb2.CheckCodeRequest(manifest=manifest(files)))
    await user("UploadCode", iter(pieces(checked.code_id, files.values())))
    return str(checked.code_id)


async def turned(state: State) -> None:
    """The loop of runs, until it has nothing more to do by itself."""
    loop = RunsLoop(state.database)
    for _ in range(5):
        await loop.turn(NOW_S)


async def present(state: State, run_id: str) -> list[Replica]:
    async with state.database.read() as connection:
        return list((await replicas.of_runs(connection, [run_id])).get(run_id, []))


async def serve(state: State, run_id: str) -> list[Replica]:
    """Every replica that waits gets its host, is ready and in rotation."""
    for replica in await present(state, run_id):
        if replica.host_id is None:
            async with state.database.write() as write:
                assert await replicas.claim(write, claim(replica.id, "h1"))
            await observe(state, "h1", replica.id, Phase.READY, host_port=40000 + replica.index)
            async with state.database.write() as write:
                await replicas.update(write, replica.id, in_rotation=True)
                await runs.update(write, run_id, ever_published=True, running_since_s=NOW_S)
    return await present(state, run_id)


async def deployed(state: State, user: Api, wanted: api_pb2.Document) -> tuple[str, list[Replica]]:
    run_id = (await applied(user, wanted)).run_id
    await turned(state)
    return run_id, await serve(state, run_id)


def faces(found: list[Replica]) -> list[tuple[str, int, Wanted]]:
    return sorted((replica.id, replica.revision, replica.wanted) for replica in found)


IN_PLACE: list[dict[str, Any]] = [
    {"auth": False},
    {"retry": False},
    {"stop_duration": "9m"},
    {"start_timeout": "9m"},
    {"max_duration": "9h"},
    {"hosts": ["elsewhere"], "max_price": 1},
    {"registry_auth": {"username": "u", "password": "p"}},
    {"model": "llama"},
]


@pytest.mark.parametrize("fields", IN_PLACE, ids=lambda fields: "+".join(fields))
async def test_an_update_in_place_starts_and_stops_nothing(state: State, user: Api, fields: dict[str, Any]) -> None:
    run_id, before = await deployed(state, user, document(replicas=2))
    wanted = document(replicas=2, **fields)
    plan = await planned(user, wanted)
    assert (plan.action, plan.how, plan.how_because) == ("update", "in place", "2 replicas go on as they are")
    assert {change.how for change in plan.changes} == {"in place"}
    assert (await applied(user, wanted)).revision == 2
    await turned(state)
    assert faces(await present(state, run_id)) == [(replica.id, 2, Wanted.RUN) for replica in sorted(before, key=by_id)]
    async with state.database.read() as connection:
        assert {held.revision for held in await reservations.list_all(connection)} == {2}
    assert (await planned(user, wanted)).action == "unchanged"


def by_id(replica: Replica) -> str:
    return replica.id


async def test_a_change_of_the_count_adds_or_removes_and_leaves_the_others(state: State, user: Api) -> None:
    run_id, before = await deployed(state, user, document(replicas=2))
    assert (await planned(user, document(replicas=3))).how_because == "2 replicas go on as they are, 1 is added"
    await applied(user, document(replicas=3))
    await turned(state)
    three = await serve(state, run_id)
    assert {replica.id for replica in before} < {replica.id for replica in three}
    assert [(replica.index, replica.revision) for replica in sorted(three, key=lambda r: r.index)] == [
        (0, 2),
        (1, 2),
        (2, 2),
    ]
    await applied(user, document(replicas=1))
    await turned(state)
    left = [replica for replica in await present(state, run_id) if replica.wanted is Wanted.RUN]
    assert [(replica.index, replica.revision) for replica in left] == [(0, 3)]


async def test_what_the_container_depends_on_is_rolled_out(state: State, user: Api) -> None:
    run_id, before = await deployed(state, user, document(replicas=2))
    wanted = document(replicas=2, env=["A=1"], auth=False)
    plan = await planned(user, wanted)
    assert plan.how == "rolling"
    assert plan.how_because == "its 2 replicas are replaced one by one, each new one serves before an old one leaves"
    assert {change.path: change.how for change in plan.changes} == {"auth": "in place", "env.A": "rolling"}
    await applied(user, wanted)
    await turned(state)
    found = await present(state, run_id)
    assert [replica.revision for replica in found if replica in before] == [1, 1]
    assert sorted(replica.revision for replica in found) == [1, 1, 2], "one more beside the old ones"


async def test_without_room_for_one_more_it_waits_and_says_so(state: State, user: Api) -> None:
    await deployed(state, user, document(resources={"cpu": FACTS.cpus}))
    plan = await planned(user, document(resources={"cpu": FACTS.cpus}, env=["A=1"]))
    assert plan.how == "restart"
    assert "`homeport stop hello`, then apply again" in plan.how_because


async def test_where_the_file_lets_one_go_first_it_is_rolled_out_without_room(state: State, user: Api) -> None:
    whole = {"cpu": FACTS.cpus}
    run_id, _ = await deployed(state, user, document(resources=whole))
    wanted = document(resources=whole, env=["A=1"], rollout={"max_surge": 0, "max_unavailable": 1})
    plan = await planned(user, wanted)
    assert plan.how == "rolling"
    assert plan.how_because.startswith("one replica at a time goes before its successor comes")
    assert {change.path: change.how for change in plan.changes if change.path.startswith("rollout")} == {
        "rollout.max_surge": "in place",
        "rollout.max_unavailable": "in place",
    }
    await applied(user, wanted)
    await turned(state)
    found = sorted((replica.revision, replica.wanted) for replica in await present(state, run_id))
    assert found == [(1, Wanted.DRAIN), (2, Wanted.RUN)]


async def test_force_replaces_all_of_them_whatever_changed(state: State, user: Api) -> None:
    run_id, before = await deployed(state, user, document())
    await applied(user, document(auth=False), force=True)
    await turned(state)
    assert sorted(replica.revision for replica in await present(state, run_id)) == [1, 2]
    # While that goes on, an update in place does not make the old one a new one.
    await applied(user, document(auth=True))
    await turned(state)
    assert sorted(replica.revision for replica in await present(state, run_id)) == [1, 3]
    assert (await get_replica(state, before[0].id)).revision == 1


async def test_going_back_while_a_rollout_is_under_way_keeps_what_still_runs(state: State, user: Api) -> None:
    run_id, before = await deployed(state, user, document(replicas=2))
    await applied(user, document(replicas=2, image="hello:2"))
    await turned(state)
    plan = await planned(user, document(replicas=2))
    assert (plan.how, plan.how_because) == (
        "in place",
        "2 replicas go on as they are, 1 of another version is replaced one by one",
    )
    await applied(user, document(replicas=2))
    await turned(state)
    assert faces(await present(state, run_id)) == [(replica.id, 3, Wanted.RUN) for replica in sorted(before, key=by_id)]


async def given_up(state: State, run: Run) -> None:
    async with state.database.write() as write:
        await runs.give_up_revision(write, run.id, run.newest.number, "it did not start")


async def test_after_a_revision_was_given_up_the_same_again_is_another_try(state: State, user: Api) -> None:
    run_id, _ = await deployed(state, user, document())
    await applied(user, document(), force=True)
    await given_up(state, await get_run(state, run_id))
    await turned(state)
    plan = await planned(user, document())
    assert (plan.action, plan.how, list(plan.changes)) == ("update", "rolling", [])
    await applied(user, document())
    await turned(state)
    assert sorted(replica.revision for replica in await present(state, run_id)) == [1, 3]


async def test_after_a_revision_was_given_up_going_back_is_in_place(state: State, user: Api) -> None:
    run_id, before = await deployed(state, user, document())
    await applied(user, document(image="wrong:1"))
    await given_up(state, await get_run(state, run_id))
    await turned(state)
    assert (await planned(user, document())).how == "in place"
    await applied(user, document())
    await turned(state)
    assert faces(await present(state, run_id)) == [(before[0].id, 3, Wanted.RUN)]


async def test_a_replica_that_failed_gets_a_new_one_of_the_new_revision(state: State, user: Api) -> None:
    run_id, before = await deployed(state, user, document(replicas=2, retry=False))
    await observe(state, "h1", before[0].id, Phase.FAILED, message="exited with code 1")
    await applied(user, document(replicas=2))
    await turned(state)
    found = {replica.id: replica for replica in await present(state, run_id)}
    assert (found[before[1].id].revision, found[before[1].id].wanted) == (2, Wanted.RUN)
    assert found[before[0].id].wanted is Wanted.STOP
    assert [replica.revision for replica in found.values() if replica.id not in {one.id for one in before}] == [2]


async def test_changed_code_is_shown_by_file_and_rolled_out(state: State, user: Api) -> None:
    first = await uploaded(user, {"app.py": b"one", "same.txt": b"same"})
    run_id, _ = await deployed(state, user, document(first))
    assert (await planned(user, document(first))).action == "unchanged"
    second = await uploaded(user, {"app.py": b"three", "same.txt": b"same"})
    plan = await planned(user, document(second))
    assert plan.how == "rolling"
    assert [(change.path, change.old, change.new, change.how) for change in plan.changes] == [
        ("code", "2 files, 7B", "2 files, 9B", "rolling"),
        ("code/app.py", "3B", "5B", "rolling"),
    ]
    await applied(user, document(second))
    newest = (await get_run(state, run_id)).newest
    assert (newest.code_id, newest.code_bytes) == (second, 9)
    await turned(state)
    assert sorted(replica.revision for replica in await present(state, run_id)) == [1, 2]


async def test_code_of_a_run_that_took_none_is_a_change(state: State, user: Api) -> None:
    await deployed(state, user, document())
    plan = await planned(user, document(await uploaded(user, {"app.py": b"one"})))
    assert [(change.path, change.old, change.new) for change in plan.changes] == [("code", "", "1 file, 3B")]


async def test_a_run_that_has_ended_is_replaced_and_the_plan_says_so(state: State, user: Api) -> None:
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", ended_at_s=2.0)
    async with state.database.write() as write:
        await runs.update(write, run_id, ended_at_s=2.0)
    plan = await planned(user, document())
    assert (plan.action, plan.how) == ("replace", "")
    assert "the run hello that has ended is replaced" in plan.how_because


async def test_a_host_that_is_the_only_one_and_cordoned_is_no_room(state: State, user: Api) -> None:
    await deployed(state, user, document())
    async with state.database.write() as write:
        await hosts.update(write, "h1", {"cordoned": True})
    assert (await planned(user, document(env=["A=1"]))).how == "restart"
    assert (await planned(user, document(auth=False))).how == "in place"


SCALED: dict[str, Any] = {"replicas": "0..4", "scaling": {"metric": "rps", "target": 10}}


async def scale(state: State, run_id: str, to: int) -> None:
    """What the autoscaler does, and what follows of it."""
    async with state.database.write() as write:
        run = await runs.get(write.connection, run_id)
        proven = None if to else run.newest.number
        await runs.scale(write, run_id, to, f"to {to}: a test wants it", proven)
    await turned(state)
    await serve(state, run_id)
    for replica in await present(state, run_id):
        if replica.wanted is not Wanted.RUN:
            async with state.database.write() as write:
                await replicas.end(write, replica.id, NOW_S)


def wanting(found: list[Replica]) -> list[int]:
    return [replica.revision for replica in found if replica.wanted is Wanted.RUN]


async def test_a_new_run_with_a_range_begins_with_its_lower_end_and_one_at_least(state: State, user: Api) -> None:
    for name, replicas_, expected in (("a0", "0..4", 1), ("a2", "2..4", 2)):
        run_id, found = await deployed(state, user, document(name=name, **SCALED | {"replicas": replicas_}))
        assert len(found) == expected
        (run,) = (await user("ListRuns", api_pb2.ListRunsRequest(names=[name]))).runs
        assert (run.rolled_out, run.replicas_wanted, run.replicas_range) == (True, expected, replicas_)
        assert (await get_run(state, run_id)).scaled_to is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (SCALED | {"env": ["A=1"]}, 3),
        (SCALED | {"replicas": "1..2"}, 2),
        (SCALED | {"replicas": "4..9"}, 4),
        (SCALED | {"auth": False}, 3),
        ({"replicas": 2}, 2),
    ],
)
async def test_an_apply_keeps_how_many_there_are_as_far_as_the_new_range_has_it(
    state: State, user: Api, fields: dict[str, Any], expected: int
) -> None:
    run_id, _ = await deployed(state, user, document(**SCALED))
    await scale(state, run_id, 3)
    await applied(user, document(**fields))
    assert (await get_run(state, run_id)).scaled_to == expected
    for _ in range(8):
        await turned(state)
        await serve(state, run_id)
    assert wanting(await present(state, run_id)) == [2] * expected


async def test_a_range_after_one_number_begins_where_that_was(state: State, user: Api) -> None:
    run_id, before = await deployed(state, user, document(replicas=3))
    assert (await planned(user, document(**SCALED))).how_because == "3 replicas go on as they are"
    await applied(user, document(**SCALED))
    await turned(state)
    assert faces(await present(state, run_id)) == sorted((it.id, 2, Wanted.RUN) for it in before)


async def test_at_zero_what_changes_in_place_sleeps_on_and_another_container_shows_that_it_works(
    state: State, user: Api
) -> None:
    run_id, _ = await deployed(state, user, document(**SCALED))
    await scale(state, run_id, 0)
    assert await present(state, run_id) == []
    assert (await get_run(state, run_id)).state == "running"

    assert (await planned(user, document(**SCALED, auth=False))).how == "in place"
    await applied(user, document(**SCALED, auth=False))
    await turned(state)
    assert await present(state, run_id) == []
    (run,) = (await user("ListRuns", api_pb2.ListRunsRequest(names=["hello"]))).runs
    assert (run.state, run.revision, run.rolled_out, run.replicas_wanted) == ("running", 2, True, 0), "apply is done"
    assert run.reason == "scaled to zero; the first request starts a replica"

    await applied(user, document(**SCALED, auth=False, env=["A=1"]))
    await turned(state)
    (run,) = (await user("ListRuns", api_pb2.ListRunsRequest(names=["hello"]))).runs
    assert (run.rolled_out, run.replicas_wanted) == (False, 1), "apply waits for it"
    assert wanting(await serve(state, run_id)) == [3]
    (run,) = (await user("ListRuns", api_pb2.ListRunsRequest(names=["hello"]))).runs
    assert run.rolled_out
    await scale(state, run_id, 0)
    assert (await planned(user, document(**SCALED, auth=False, env=["A=1"]))).action == "unchanged"
    await applied(user, document(**SCALED, auth=False, env=["A=1"]), force=True)
    await turned(state)
    assert wanting(await present(state, run_id)) == [4], "--force starts one"


async def test_what_is_given_up_at_zero_leaves_the_revision_before_it_with_a_replica(state: State, user: Api) -> None:
    run_id, _ = await deployed(state, user, document(**SCALED))
    await scale(state, run_id, 0)
    await applied(user, document(**SCALED, env=["A=1"]))
    await turned(state)
    (new,) = await present(state, run_id)
    async with state.database.write() as write:
        assert await replicas.claim(write, claim(new.id, "h1"))
    await observe(state, "h1", new.id, Phase.FAILED, message="no such file")
    await turned(state)
    run = await get_run(state, run_id)
    assert run.current is not None
    assert (run.current.number, run.ended_at_s) == (1, None)
    assert "no such file" in run.newest.failed
    assert 1 in wanting(await present(state, run_id))


async def test_a_revision_that_worked_before_it_slept_is_not_given_up_when_it_cannot_start_again(
    state: State, user: Api
) -> None:
    """Its replicas of then are long forgotten. What was changed in place since is as good as it was."""
    run_id, _ = await deployed(state, user, document(**SCALED))
    await applied(user, document(**SCALED, env=["A=1"]))
    for _ in range(4):
        await turned(state)
        await serve(state, run_id)
    await scale(state, run_id, 0)
    await applied(user, document(**SCALED, env=["A=1"], auth=False))
    async with state.database.write() as write:
        await runs.scale(write, run_id, 1, "to 1: a request waits")
        await write.connection.exec_driver_sql("UPDATE replicas SET ended_at_s = 1.0 WHERE ended_at_s IS NOT NULL")
    await turned(state)
    (new,) = [it for it in await present(state, run_id) if it.wanted is Wanted.RUN]
    async with state.database.write() as write:
        assert await replicas.claim(write, claim(new.id, "h1"))
    await observe(state, "h1", new.id, Phase.FAILED, message="no memory")
    await turned(state)
    run = await get_run(state, run_id)
    assert (run.newest.number, run.newest.failed, run.ended_at_s) == (3, "", None)

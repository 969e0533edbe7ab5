"""api/plans: from a document to what would happen, and to a run or a revision; never a secret in an answer or a log."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import grpc
import pytest
from fixtures.control import (
    DEADLINE_S,
    FACTS,
    State,
    add_host,
    add_run,
    add_token,
    get_run,
    opened,
    service,
    until_true,
)
from fixtures.plane import Api, Plane, refusal, serving
from homeport_control.domain.services import RunState, RunWanted
from homeport_control.store import gateways, hosts, runs
from homeport_protos.api.v1 import api_pb2


def document(given: dict[str, str] | None = None, **fields: Any) -> api_pb2.Document:
    return api_pb2.Document(json=json.dumps(service(**fields)), env=given or {})


def plan(document: api_pb2.Document) -> api_pb2.PlanRequest:
    return api_pb2.PlanRequest(document=document)


def apply(document: api_pb2.Document, **fields: Any) -> api_pb2.ApplyRequest:
    return api_pb2.ApplyRequest(document=document, **fields)


async def active(state: State) -> list[tuple[str, int]]:
    async with state.database.read() as connection:
        return [(run.name, run.newest.number) for run in await runs.list_active(connection)]


async def test_a_new_document_is_created_and_the_same_again_is_unchanged(state: State, user: Api) -> None:
    planned = await user("Plan", plan(document()))
    assert (planned.action, planned.run_name, list(planned.problems)) == ("create", "hello", [])
    assert await active(state) == [], "a plan changes nothing"
    with state.database.changes.subscribe("runs") as woken:
        applied = await user("Apply", apply(document(), plan_token=planned.plan_token))
        assert await woken.wait(0), "the loops are woken"
    assert (applied.action, applied.revision, applied.run_name) == ("create", 1, "hello")
    again = await user("Plan", plan(document()))
    assert (again.action, list(again.changes)) == ("unchanged", [])
    repeated = await user("Apply", apply(document(), plan_token=again.plan_token))
    assert (repeated.action, repeated.revision, repeated.run_id) == ("unchanged", 1, applied.run_id)
    assert await active(state) == [("hello", 1)]


async def test_a_changed_document_is_an_update_that_shows_what_changes(state: State, user: Api) -> None:
    first = await user("Apply", apply(document()))
    planned = await user("Plan", plan(document(port=9000)))
    assert planned.action == "update"
    assert [(change.path, change.old, change.new) for change in planned.changes] == [("port", "8000", "9000")]
    applied = await user("Apply", apply(document(port=9000), plan_token=planned.plan_token))
    assert (applied.action, applied.revision, applied.run_id) == ("update", 2, first.run_id)


async def test_force_makes_a_revision_of_the_same(state: State, user: Api) -> None:
    await user("Apply", apply(document()))
    forced = await user("Apply", apply(document(), force=True))
    assert (forced.action, forced.revision) == ("update", 2)


async def test_a_name_whose_run_has_ended_is_replaced(state: State, user: Api) -> None:
    run_id = await add_run(state)
    async with state.database.write() as write:
        await runs.update(write, run_id, state=RunState.FAILED, ended_at_s=2000.0)
    assert (await user("Plan", plan(document()))).action == "replace"
    applied = await user("Apply", apply(document()))
    assert applied.action == "replace"
    assert applied.run_id != run_id


async def test_the_same_again_after_its_revision_was_given_up_is_another_try(state: State, user: Api) -> None:
    applied = await user("Apply", apply(document()))
    async with state.database.write() as write:
        await runs.give_up_revision(write, applied.run_id, 1, "broken")
    assert (await user("Apply", apply(document()))).revision == 2


async def test_problems_come_all_at_once_with_their_paths_and_nothing_is_applied(state: State, user: Api) -> None:
    bad = api_pb2.Document(
        json=json.dumps({"type": "service", "name": "hello", "image": "x:1", "port": 70000, "prot": 1, "env": ["KEY"]})
    )
    for answer in (await user("Plan", plan(bad)), await user("Apply", apply(bad))):
        found = {problem.path: problem for problem in answer.problems}
        assert set(found) == {"port", "prot", "env[0]"}
        assert found["env[0]"].hint
        assert answer.run_name == ""
    assert list((await user("Plan", plan(bad))).env_wanted) == ["KEY"]
    assert await active(state) == []


async def test_what_is_not_carried_out_yet_is_refused_by_name(state: State, user: Api) -> None:
    answer = await user("Apply", apply(document(model={"name": "m", "format": "tgi"})))
    assert [problem.path for problem in answer.problems] == ["model.format"]
    assert "is not supported" in answer.problems[0].message
    assert await active(state) == []


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": ' * 5000])
async def test_what_is_no_json_is_one_line(user: Api, text: str) -> None:
    for request in (plan(api_pb2.Document(json=text)), apply(api_pb2.Document(json=text))):
        method = type(request).__name__.removesuffix("Request")
        code, words = await refusal(user(method, request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "did not arrive as JSON" in words


async def test_a_document_that_is_too_large_is_one_line(user: Api) -> None:
    code, words = await refusal(user("Plan", plan(api_pb2.Document(json=json.dumps("x" * 2_000_000)))))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "the limit is 1048576" in words


async def test_a_plan_that_is_stale_is_not_applied(state: State, user: Api) -> None:
    created = await user("Plan", plan(document()))
    await user("Apply", apply(document()))
    for stale, fields in ((created.plan_token, {"port": 9000}), ("something", {"port": 9000})):
        code, words = await refusal(user("Apply", apply(document(**fields), plan_token=stale)))
        assert code is grpc.StatusCode.ABORTED
        assert "was changed after this plan was made" in words
    assert await active(state) == [("hello", 1)]


async def test_of_many_that_apply_at_once_one_creates_and_nobody_is_lost(state: State, user: Api) -> None:
    answers = await asyncio.gather(
        *(user("Apply", apply(document(port=9000 + n), plan_token="new")) for n in range(5)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert len(refused) == 4
    assert {error.code() for error in refused} == {grpc.StatusCode.ABORTED}
    assert await active(state) == [("hello", 1)]


async def test_a_run_that_is_being_stopped_takes_no_new_revision(state: State, user: Api) -> None:
    applied = await user("Apply", apply(document()))
    async with state.database.write() as write:
        await runs.update(write, applied.run_id, wanted=RunWanted.STOP)
    code, words = await refusal(user("Apply", apply(document(port=9000))))
    assert code is grpc.StatusCode.ABORTED
    assert "is being stopped" in words


async def test_a_stop_that_comes_between_the_look_and_the_write_wins(state: State, user: Api) -> None:
    applied = await user("Apply", apply(document()))
    async with state.database.write() as write:
        applying = asyncio.create_task(refusal(user("Apply", apply(document(port=9000)))))
        await until_true(lambda: state.database._writing._waiters)  # it has looked, and waits for its turn to write
        await runs.update(write, applied.run_id, wanted=RunWanted.STOP)
    code, words = await applying
    assert code is grpc.StatusCode.ABORTED
    assert "was stopped just now" in words
    assert await active(state) == [("hello", 1)]


async def test_without_a_gateway_nothing_is_applied_and_the_gateway_says_why(state: State, user: Api) -> None:
    async with state.database.write() as write:
        await gateways.update(write, "local", ready=False, message="port 7480 is taken by nginx")
    code, words = await refusal(user("Apply", apply(document())))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert words == "gateway local is not ready: port 7480 is taken by nginx; nothing was applied"
    async with state.database.write() as write:
        await gateways.update(write, "local", message="Envoy starts")
    code, words = await refusal(user("Apply", apply(document())))
    assert "Envoy starts" in words, "it was waited for, and did not come"
    assert await active(state) == []


async def test_an_apply_waits_for_a_gateway_that_is_starting(state: State, plane: Plane) -> None:
    async with state.database.write() as write:
        await gateways.update(write, "local", ready=False, message="Envoy starts")
    async with serving(state, gateway_start_s=DEADLINE_S) as patient, patient.api("hp_user") as user:
        applying = asyncio.create_task(user("Apply", apply(document())))
        await until_true(lambda: state.database.changes._subscriptions)
        async with state.database.write() as write:
            await gateways.update(write, "local", ready=True, message="")
        assert (await applying).action == "create"


async def test_a_server_without_any_host_says_what_to_do(directory: Any) -> None:
    async with opened(directory) as state, serving(state) as plane, plane.api("hp_x") as user:
        await add_token(state, "hp_x", "user")
        code, words = await refusal(user("Apply", apply(document())))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "join the server's own machine" in words


async def test_privileged_needs_an_admin(state: State, user: Api, admin: Api) -> None:
    for method, request in (("Plan", plan(document(privileged=True))), ("Apply", apply(document(privileged=True)))):
        code, words = await refusal(user(method, request))
        assert code is grpc.StatusCode.PERMISSION_DENIED
        assert "needs an admin token" in words
    assert await active(state) == []
    assert (await admin("Apply", apply(document(privileged=True)))).action == "create"


async def test_a_plan_shows_offers_and_why_other_hosts_do_not_fit(state: State, user: Api) -> None:
    await add_host(state, "small")
    await add_host(state, "away", connected=False)
    async with state.database.write() as write:
        await hosts.update(write, "small", {"facts": replace(FACTS, cpus=1)})
    planned = await user("Plan", plan(document(resources={"cpu": "2", "memory": "1GB"})))
    assert [offer.host for offer in planned.offers] == ["h1"]
    assert {refusal.host for refusal in planned.refusals} == {"small", "away"}
    properties = {each.name: each.value for each in planned.properties}
    assert (properties["Name"], properties["Port"], properties["Retry"]) == ("hello", "8000", "on")


async def test_a_service_without_a_name_gets_one(user: Api) -> None:
    nameless = service()
    del nameless["name"]
    planned = await user("Plan", plan(api_pb2.Document(json=json.dumps(nameless))))
    assert planned.run_name
    named = await user("Plan", plan(api_pb2.Document(json=json.dumps(nameless), name="mine")))
    assert named.run_name == "mine"


async def test_secrets_are_in_no_answer_and_no_log(state: State, user: Api, capfd: pytest.CaptureFixture[str]) -> None:
    secrets = ("value-of-the-caller", "value-of-the-file", "word-of-the-registry", "changed-value")
    auth = {"username": "robot", "password": secrets[2]}
    asked = document({"A": secrets[0]}, env=["A", f"B={secrets[1]}"], registry_auth=auth)
    changed = document({"A": secrets[3]}, env=["A", f"B={secrets[1]}"], registry_auth=auth)
    answers = [
        await user("Plan", plan(asked)),
        await user("Apply", apply(asked)),
        await user("ListRuns", api_pb2.ListRunsRequest(all=True)),
        await user("Plan", plan(changed)),
    ]
    assert answers[3].action == "update"
    assert [(change.old, change.new) for change in answers[3].changes] == [("***", "***")]
    broken = document({"A": secrets[0]}, env=["A", f"B={secrets[1]}"], registry_auth=auth, port="x")
    answers.append(await user("Plan", plan(broken)))
    assert answers[4].problems
    run = await get_run(state, answers[1].run_id)
    out, err = capfd.readouterr()
    shown = "\n".join([*map(str, answers), repr(run), out, err])
    assert "A" in run.newest.spec_json
    for secret in secrets:
        assert secret not in shown

"""api/events: the newest, filtered; followed without loss or doubling; for every user, and no secret in any of it."""

import asyncio
import json
from typing import Any

import grpc
import pytest
from fixtures.control import DEADLINE_S, State, add_host, add_run
from fixtures.plane import Api, Plane, refusal
from homeport_control.store import events
from homeport_control.store.events import PAGE
from homeport_protos.api.v1 import api_pb2


async def record(state: State, *sentences: str, kind: str = "server", name: str = "s") -> None:
    async with state.database.write() as write:
        for sentence in sentences:
            events.record(write, kind=kind, object_id="", name=name, sentence=sentence)


async def told(api: Api, **asked: Any) -> list[api_pb2.Event]:
    answers = [answer async for answer in api.stream("Events", api_pb2.EventsRequest(**asked))]
    return [event for answer in answers for event in answer.events]


async def followed(api: Api, count: int, **asked: Any) -> tuple[list[str], int]:
    """Sentences of the first `count` events of a follow, and how far it said that it had come."""
    found: list[str] = []
    last_id = 0
    call = api.stream("Events", api_pb2.EventsRequest(follow=True, **asked))
    async with asyncio.timeout(DEADLINE_S):
        while len(found) < count:
            answer = await call.read()
            found += [event.sentence for event in answer.events]
            last_id = answer.last_id
    call.cancel()
    return found, last_id


async def test_the_newest_come_oldest_first_and_end(state: State, user: Api) -> None:
    await record(state, *map(str, range(150)))
    assert [event.sentence for event in await told(user)] == [str(number) for number in range(50, 150)]
    assert [event.sentence for event in await told(user, limit=2)] == ["148", "149"]
    assert await told(user, kind="run") == []
    everything = await told(user, limit=PAGE * 3)
    assert [event.id for event in everything] == sorted({event.id for event in everything}), "whole over pages"


async def test_a_follow_goes_on_where_it_was_and_gives_each_once(state: State, user: Api) -> None:
    await record(state, "a", "b")
    found, last_id = await followed(user, 1, limit=1)
    assert found == ["b"]
    await record(state, "c", "d")
    await record(state, "elsewhere", kind="host", name="gpu-1")
    found, last_id = await followed(user, 3, after_id=last_id)
    assert found == ["c", "d", "elsewhere"]
    following = asyncio.create_task(followed(user, PAGE + 5, after_id=last_id))
    await record(state, *map(str, range(PAGE + 5)))
    assert (await following)[0] == [str(number) for number in range(PAGE + 5)]


async def test_a_filtered_follow_says_how_far_it_has_come_also_past_what_does_not_match(
    state: State, user: Api
) -> None:
    call = user.stream("Events", api_pb2.EventsRequest(follow=True, kind="host", limit=1))
    first = await call.read()
    await record(state, "not for this one")
    second = await call.read()
    assert (list(second.events), second.last_id) == ([], first.last_id + 1)
    call.cancel()


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"kind": "planet"}, "no kind planet"),
        ({"limit": -1}, "the limit is -1"),
        ({"limit": 10**9}, "it can be 1 to"),
        ({"since_s": -1.0}, "since is a number of seconds"),
        ({"since_s": float("nan")}, "since is a number of seconds"),
    ],
)
async def test_what_cannot_be_asked_is_one_line(user: Api, asked: dict[str, Any], word: str) -> None:
    code, words = await refusal(told(user, **asked))
    assert (code, word in words) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_an_apply_and_a_stop_are_told_with_who_did_it(state: State, plane: Plane, user: Api) -> None:
    me = (await user("GetServer", api_pb2.GetServerRequest())).user
    secrets = ("canary-env", "canary-user", "canary-password")
    document = {
        "type": "service", "name": "web", "image": "hello:1", "port": 80, "env": {"TOKEN": secrets[0]},
        "registry_auth": {"username": secrets[1], "password": secrets[2]},
    }  # fmt: skip
    for image in ("hello:1", "hello:2"):
        text = json.dumps({**document, "image": image, "env": {"TOKEN": secrets[0] + image}})
        applied = await user("Apply", api_pb2.ApplyRequest(document=api_pb2.Document(json=text)))
        assert not applied.problems
    await user("StopRuns", api_pb2.StopRunsRequest(names=["web"]))
    found = await told(user, kind="run", name="web")
    assert [event.sentence for event in found] == [
        f"user {me} applied revision 1 of web",
        f"user {me} applied revision 2 of web (image, env.TOKEN changed)",
        f"user {me} stops web",
    ]
    assert {event.actor for event in found} == {f"user {me}"}
    assert len({event.cause_id for event in found}) == 3, "each call is a cause of its own"
    assert [event.sentence for event in await told(user, cause_id=found[1].cause_id)] == [found[1].sentence]
    for secret in (*secrets, "hp_user", "hp_admin"):
        assert secret not in str(await told(user, limit=1000))


async def test_since_leaves_older_ones_out(state: State, user: Api) -> None:
    async with state.database.write() as write:
        events.record(write, kind="server", object_id="", name="s", sentence="old")
        write.events[-1]["at_s"] -= 3600
    await add_run(state)
    await add_host(state, "h9")
    assert "old" in [event.sentence for event in await told(user)]
    assert "old" not in [event.sentence for event in await told(user, since_s=1800)]

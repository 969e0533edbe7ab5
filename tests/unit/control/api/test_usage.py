"""api/usage: who sees whose totals, how they are told apart and in which order."""

import time

import grpc
import pytest
from fixtures.control import State, add_token
from fixtures.plane import Api, refusal
from homeport_control.domain.usage import Usage, UsageBatch, UsageKey
from homeport_control.store import usage
from homeport_protos.api.v1 import api_pb2


@pytest.fixture
async def tokens(state: State, admin: Api) -> tuple[str, str]:
    """Two tokens, of the admin's user and of ann's; the second called more."""
    other = await admin("CreateUser", api_pb2.CreateUserRequest(name="ann", role="user"))
    assert other.token
    one = await add_token(state, "hp_one", "service")
    two = await add_token(state, "hp_two", "service", user="ann")
    hour_s = int(time.time()) // 3600 * 3600
    counts = (
        (UsageKey(hour_s, one, "llm", "llama"), Usage(3, 30, 3)),
        (UsageKey(hour_s - 7200, two, "llm", "llama"), Usage(2, 100, 50)),
        (UsageKey(hour_s, "", "web", ""), Usage(9, 0, 0)),
    )
    async with state.database.write() as write:
        await usage.add(write, "h1", "local", "", UsageBatch("0123456789abcdef:1", counts), time.time())
    return one, two


async def ask(api: Api, *by: str, since_s: float = 0) -> api_pb2.UsageResponse:
    answer: api_pb2.UsageResponse = await api("Usage", api_pb2.UsageRequest(by=by, since_s=since_s))
    return answer


async def test_an_admin_sees_all_with_most_tokens_first(admin: Api, tokens: tuple[str, str]) -> None:
    answer = await ask(admin)
    assert [(row.token_id, row.user, row.service, row.model, row.requests) for row in answer.rows] == [
        (tokens[1], "ann", "llm", "llama", 2),
        (tokens[0], answer.rows[1].user, "llm", "llama", 3),
        ("", "", "web", "", 9),
    ]
    assert all(row.token_name for row in answer.rows if row.token_id)
    total = answer.total
    assert (total.requests, total.prompt_tokens, total.completion_tokens, answer.note) == (14, 130, 53, "")
    recent = await ask(admin, "service", since_s=60)
    assert [(row.service, row.requests) for row in recent.rows] == [("llm", 3), ("web", 9)]
    by_hour = await ask(admin, "hour")
    assert [row.requests for row in by_hour.rows] == [2, 12], "the oldest first"
    assert getattr(by_hour.rows[0], "from").seconds % 3600 == 0


async def test_a_user_sees_what_their_own_tokens_called(user: Api, tokens: tuple[str, str]) -> None:
    mine = (await ask(user, "user", "token")).rows
    assert {row.token_id for row in mine} <= {tokens[0]}
    assert "ann" not in {row.user for row in mine}


@pytest.mark.parametrize(("by", "words"), [(("colour",), "by colour"), (("hour", "day"), "not by both")])
async def test_what_cannot_be_told_apart_is_refused(admin: Api, by: tuple[str, ...], words: str) -> None:
    code, message = await refusal(ask(admin, *by))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in message


async def test_that_something_was_missed_is_said(state: State, admin: Api) -> None:
    async with state.database.write() as write:
        await usage.add(write, "h1", "local", "", UsageBatch("0123456789abcdef:1", (), missed=True), time.time())
    assert "not whole" in (await ask(admin)).note

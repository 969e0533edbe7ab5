"""web/metrics: the page is for who may read it; each refusal is one line with what to do."""

from collections.abc import Awaitable, Callable

import pytest
from fixtures.asgi import asked
from fixtures.control import State, add_token
from homeport_control.api.auth import Callers
from homeport_control.domain.errors import NotReady
from homeport_control.web.metrics import Metrics
from starlette.applications import Starlette


async def page() -> bytes:
    return b"homeport_up 1\n"


async def read(
    state: State, headers: dict[str, str], text: Callable[[], Awaitable[bytes]] | None = page
) -> tuple[int, str]:
    metrics = Metrics(Callers(state.database).check_metrics_reader, "text/plain")
    metrics.page = text
    status, _, body = await asked(Starlette(routes=[metrics.route]), "/metrics", headers=headers)
    return status, body.decode()


@pytest.mark.parametrize(
    ("role", "status", "words"),
    [
        ("metrics", 200, "homeport_up 1"),
        ("user", 200, "homeport_up 1"),
        ("service", 401, "may only call services"),
        ("", 401, "no token was sent"),
    ],
)
async def test_who_may_read(state: State, role: str, status: int, words: str) -> None:
    headers = {}
    if role:
        await add_token(state, "hp_one", role)
        headers = {"authorization": "Bearer hp_one"}
    found, text = await read(state, headers)
    assert found == status
    assert words in text
    assert "hp_one" not in text


async def test_a_database_that_is_away_is_said(state: State) -> None:
    await add_token(state, "hp_one", "metrics")

    async def fails() -> bytes:
        raise NotReady("the database cannot be used now: locked; try again")

    answer = await read(state, {"authorization": "Bearer hp_one"}, fails)
    assert answer == (503, "the database cannot be used now: locked; try again\n")


async def test_a_server_that_follows_has_nothing_but_that(state: State) -> None:
    await add_token(state, "hp_one", "metrics")
    status, text = await read(state, {"authorization": "Bearer hp_one"}, None)
    assert (status, text.splitlines()[-1]) == (200, "homeport_server_leads 0")


async def test_who_guesses_tokens_is_told_to_wait(state: State) -> None:
    metrics = Metrics(Callers(state.database).check_metrics_reader, "text/plain")
    statuses = set()
    for _ in range(40):
        found, _, body = await asked(
            Starlette(routes=[metrics.route]), "/metrics", headers={"authorization": "Bearer hp_x"}
        )
        statuses.add(found)
    assert statuses == {401, 429}
    assert b"try again in" in body

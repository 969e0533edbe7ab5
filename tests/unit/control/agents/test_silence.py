"""agents/silence: who is waited for and says nothing for too long."""

import asyncio
import time

import pytest
import sqlalchemy as sa
from fixtures.control import DEADLINE_S, State, add_host, get_host, until
from fixtures.plane import serving
from homeport_control.agents.silence import MOST_BEAT_S, Silence, Silent, beat_s
from homeport_control.domain.hosts import Connection
from homeport_control.store.schema import hosts

ALLOWED_S = 0.2


async def test_it_is_silent_when_nothing_comes_for_so_long_and_not_before() -> None:
    silence = Silence(ALLOWED_S)
    began_s = time.monotonic()
    silence.waiting()
    with pytest.raises(Silent):
        await asyncio.wait_for(silence.run(), DEADLINE_S)
    assert time.monotonic() - began_s >= ALLOWED_S * 0.99


async def test_each_message_begins_it_anew() -> None:
    silence = Silence(ALLOWED_S)
    silence.waiting()
    watching = asyncio.create_task(silence.run())
    await asyncio.sleep(0)  # it counts from the first wait
    began_s = last_s = time.monotonic()
    while time.monotonic() - began_s < 3 * ALLOWED_S:
        await asyncio.sleep(
            0
        )  # an event loop that is held up by others is no reason to fail: there is one more message
        silence.heard()
        last_s = time.monotonic()
        silence.waiting()
    assert not watching.done()
    with pytest.raises(Silent):
        await asyncio.wait_for(watching, DEADLINE_S)
    assert time.monotonic() - last_s >= ALLOWED_S * 0.99


async def test_what_a_reader_does_with_a_message_is_not_the_peers_silence() -> None:
    silence = Silence(ALLOWED_S)
    silence.waiting()
    silence.heard()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(silence.run(), 3 * ALLOWED_S)


@pytest.mark.parametrize(("count", "expected_s"), [(0, 2.0), (2000, 2.0), (3000, 3.0), (100_000, MOST_BEAT_S)])
def test_a_very_large_fleet_reports_less_often(count: int, expected_s: float) -> None:
    assert beat_s(2.0, count) == expected_s
    assert beat_s(60.0, count) == 60.0, "more seldom than that anyway"


async def test_who_is_to_report_less_often_may_be_silent_for_as_many_reports(state: State) -> None:
    await add_host(state, "h0")
    async with state.database.write() as write:
        (one,) = await write.connection.execute(sa.select(hosts))
        many = [{**one._mapping, "id": f"h{number}", "name": f"h{number}"} for number in range(1, 2999)]
        await write.connection.execute(sa.insert(hosts), many)
    async with serving(state, silence_s=1.0) as plane:
        agent = await plane.joined()
        assert (await agent.connect()).report_interval_s == 3.0

        async def away() -> str:
            host = await get_host(state, agent.host_id)
            return host.connection_reason if host.connection is Connection.UNREACHABLE else ""

        assert await until(state.database, away, "hosts") == "silent for 2 s"  # 1.5
        await agent.close()

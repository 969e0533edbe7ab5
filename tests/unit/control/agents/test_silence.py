"""agents/silence: who is waited for and says nothing for too long."""

import asyncio
import time

import pytest
from fixtures.control import DEADLINE_S
from homeport_control.agents.silence import Silence, Silent

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

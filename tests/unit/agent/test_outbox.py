import asyncio

import pytest
from homeport_agent.outbox import LOG_MESSAGES, Due, Outbox, SessionClosed
from homeport_protos.agent.v1 import agent_pb2


def message(number: int) -> agent_pb2.FromAgent:
    return agent_pb2.FromAgent(log_end=agent_pb2.LogEnd(request_id=number))


async def test_a_report_that_is_due_goes_before_the_logs() -> None:
    outbox = Outbox()
    await outbox.put(message(1))
    outbox.report_due()
    assert await outbox.take(10) is Due.REPORT
    assert await outbox.take(10) == message(1)


async def test_readings_go_after_a_report_and_before_the_logs_and_never_in_their_stead() -> None:
    outbox = Outbox()
    await outbox.put(message(1))
    outbox.telemetry_due()
    outbox.telemetry_due()
    outbox.report_due()
    assert [await outbox.take(10) for _ in range(3)] == [Due.REPORT, Due.TELEMETRY, message(1)]


async def test_a_report_is_due_after_the_wait() -> None:
    assert await Outbox().take(0.01) is Due.REPORT


async def test_many_changes_make_one_report() -> None:
    outbox = Outbox()
    for _ in range(5):
        outbox.report_due()
    assert await outbox.take(10) is Due.REPORT
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await outbox.take(10)


async def test_who_writes_faster_than_is_taken_waits() -> None:
    outbox = Outbox()
    for number in range(LOG_MESSAGES):
        await outbox.put(message(number))
    waiting = asyncio.ensure_future(outbox.put(message(99)))
    await asyncio.wait([waiting], timeout=0.01)
    assert not waiting.done()
    assert await outbox.take(10) == message(0)
    async with asyncio.timeout(5):
        await waiting


async def test_who_waits_for_room_is_told_when_the_session_ends() -> None:
    outbox = Outbox()
    for number in range(LOG_MESSAGES):
        await outbox.put(message(number))
    waiting = asyncio.ensure_future(outbox.put(message(99)))
    await asyncio.wait([waiting], timeout=0.01)
    outbox.close()
    with pytest.raises(SessionClosed):
        await waiting

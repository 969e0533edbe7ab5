"""agents/sessions: one session per host, and logs that are asked for, credited and ended."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fixtures.control import DEADLINE_S
from homeport_control.agents.sessions import LOG_CREDIT, AgentSession, Sessions
from homeport_control.domain.errors import NotReady
from homeport_control.domain.logs import LogLine, LogQuery
from homeport_protos.agent.v1 import agent_pb2

QUERY = LogQuery("r1", follow=True, tail=10, since_s=0.0)


def lines(request_id: int, *texts: bytes) -> agent_pb2.LogLines:
    return agent_pb2.LogLines(
        request_id=request_id, lines=[agent_pb2.LogLine(text=text, stream="stdout") for text in texts]
    )


async def heard(session: AgentSession) -> agent_pb2.ToAgent:
    return await asyncio.wait_for(session.outgoing.get(), DEADLINE_S)


async def next_of(stream: AsyncIterator[list[LogLine]]) -> list[bytes]:
    return [line.text for line in await asyncio.wait_for(anext(stream), DEADLINE_S)]


async def test_lines_come_in_order_and_credit_goes_back_only_for_what_was_read() -> None:
    sessions = Sessions()
    session = sessions.open("h1")
    stream = sessions.logs("h1", "box", QUERY)
    first = asyncio.create_task(next_of(stream))
    request = (await heard(session)).log_request
    assert (request.replica_id, request.follow, request.tail, request.credit) == ("r1", True, 10, LOG_CREDIT)
    session.log_lines(lines(request.request_id, b"one", b"two"))
    session.log_lines(lines(request.request_id, b"three"))
    session.log_lines(lines(999, b"of nobody's request"))
    assert await first == [b"one", b"two"]
    assert session.outgoing.empty(), "nothing is credited while the reader holds it"
    assert await next_of(stream) == [b"three"]
    assert (await heard(session)).log_credit.lines == 2
    session.log_end(agent_pb2.LogEnd(request_id=request.request_id))
    with pytest.raises(StopAsyncIteration):
        await next_of(stream)
    assert (await heard(session)).log_credit.lines == 1
    assert session.outgoing.empty(), "what has ended by itself is not cancelled"
    assert session.logs == {}


async def test_a_reader_that_goes_away_cancels_its_request() -> None:
    sessions = Sessions()
    session = sessions.open("h1")
    stream = sessions.logs("h1", "box", QUERY)
    reading = asyncio.create_task(next_of(stream))
    request_id = (await heard(session)).log_request.request_id
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (await heard(session)).log_cancel.request_id == request_id
    assert session.logs == {}


async def test_the_hosts_own_words_end_a_request_that_it_cannot_answer() -> None:
    sessions = Sessions()
    session = sessions.open("h1")
    reading = asyncio.create_task(next_of(sessions.logs("h1", "box", QUERY)))
    request_id = (await heard(session)).log_request.request_id
    session.log_end(agent_pb2.LogEnd(request_id=request_id, error="there is no such container"))
    with pytest.raises(NotReady, match="no such container"):
        await reading


async def test_a_host_that_is_away_is_not_asked() -> None:
    with pytest.raises(NotReady, match="host box is not connected now"):
        await next_of(Sessions().logs("h1", "box", QUERY))


async def test_a_connection_that_breaks_ends_its_readers() -> None:
    sessions = Sessions()
    session = sessions.open("h1")
    reading = asyncio.create_task(next_of(sessions.logs("h1", "box", QUERY)))
    await heard(session)
    assert sessions.close(session)
    with pytest.raises(NotReady, match="the connection to the host broke"):
        await reading


async def test_a_host_that_sends_more_than_its_credit_is_not_listened_to() -> None:
    sessions = Sessions()
    session = sessions.open("h1")
    stream = sessions.logs("h1", "box", QUERY)
    reading = asyncio.create_task(next_of(stream))
    request_id = (await heard(session)).log_request.request_id
    session.log_lines(lines(request_id, *[b"x"] * LOG_CREDIT))
    for _ in range(5):
        session.log_lines(lines(request_id, b"too much"))
    assert session.logs[request_id].queue.qsize() == 2
    assert len(await reading) == LOG_CREDIT
    with pytest.raises(NotReady, match="more lines than it was asked for"):
        await next_of(stream)


def test_the_end_of_an_older_session_is_not_the_end_of_the_host() -> None:
    sessions = Sessions()
    older, newer = sessions.open("h1"), sessions.open("h1")
    assert older.replaced.is_set()
    assert not newer.replaced.is_set()
    assert not sessions.close(older)
    assert sessions.is_connected("h1")
    assert sessions.close(newer)
    assert not sessions.is_connected("h1")

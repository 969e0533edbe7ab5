"""agents/sessions: one session per host, logs that are asked for, credited and ended, and numbers."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fixtures.control import DEADLINE_S
from homeport_control.agents.sessions import LOG_CREDIT, MOST_AT_ONCE, AgentSession, Sessions
from homeport_control.domain.errors import NotReady
from homeport_control.domain.logs import LogLine, LogQuery
from homeport_control.domain.metrics import GpuUsage, ReplicaUsage
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


def numbers(request_id: int) -> agent_pb2.Stats:
    gpu = agent_pb2.GpuStats(uuid="GPU-1", memory_used_mib=0)
    measured = agent_pb2.ReplicaStats(
        replica_id="r1", cpu_s=1.5, at_s=9.0, memory_mib=7, memory_limit_mib=70, gpus=[gpu]
    )
    return agent_pb2.Stats(
        request_id=request_id, replicas=[measured, agent_pb2.ReplicaStats(replica_id="r2", error="it has no container")]
    )


async def test_numbers_come_from_the_host_to_the_one_who_asked() -> None:
    sessions = Sessions()
    session = sessions.open("h1")
    asking = asyncio.create_task(sessions.stats("h1", "box", ["r1", "r2"], DEADLINE_S))
    request = (await heard(session)).stats_request
    assert list(request.replica_ids) == ["r1", "r2"]
    session.stats_answer(numbers(request.request_id + 1))
    session.stats_answer(numbers(request.request_id))
    session.stats_answer(numbers(request.request_id))
    assert await asking == (
        ReplicaUsage("r1", "", 1.5, 9.0, 7, 70, (GpuUsage("GPU-1", memory_used_mib=0),)),
        ReplicaUsage("r2", "it has no container"),
    )
    assert session.stats == {}


async def test_a_host_that_does_not_answer_is_not_waited_for() -> None:
    sessions = Sessions()
    session = sessions.open("h1")
    with pytest.raises(NotReady, match=r"host box did not answer within 0\.01 s"):
        await sessions.stats("h1", "box", ["r1"], 0.01)
    request = (await heard(session)).stats_request
    session.stats_answer(numbers(request.request_id))
    assert session.stats == {}


async def test_a_host_that_is_away_or_goes_away_gives_no_numbers_and_says_so() -> None:
    sessions = Sessions()
    with pytest.raises(NotReady, match="host box is not connected now"):
        await sessions.stats("h1", "box", ["r1"], DEADLINE_S)
    session = sessions.open("h1")
    asking = asyncio.create_task(sessions.stats("h1", "box", ["r1"], DEADLINE_S))
    await heard(session)
    sessions.close(session)
    with pytest.raises(NotReady, match="the connection to host box broke"):
        await asking


def test_the_end_of_an_older_session_is_not_the_end_of_the_host() -> None:
    sessions = Sessions()
    older, newer = sessions.open("h1"), sessions.open("h1")
    assert older.replaced.is_set()
    assert not newer.replaced.is_set()
    assert not sessions.close(older)
    assert sessions.is_connected("h1")
    assert sessions.close(newer)
    assert not sessions.is_connected("h1")


def test_in_a_large_fleet_the_nets_of_all_sessions_together_are_thrown_no_more_often() -> None:
    sessions = Sessions()
    for number in range(MOST_AT_ONCE):
        sessions.open(f"h{number}")
    assert sessions.rarer() == 1.0
    for number in range(MOST_AT_ONCE, 4 * MOST_AT_ONCE):
        sessions.open(f"h{number}")
    assert sessions.rarer() == 4.0

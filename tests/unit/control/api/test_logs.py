"""api/logs: a run's logs from the hosts of its replicas, over both wires, with words for what cannot be read."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from fixtures.control import DEADLINE_S, State, add_host, add_replica, add_run, until_true
from fixtures.plane import Api, Plane, WireAgent, first, refusal
from homeport_control.agents.sessions import LOG_CREDIT
from homeport_control.api.log_follow import QUEUE_BOUND
from homeport_control.api.log_merge import AHEAD_BATCHES
from homeport_control.api.logs import RunLogs
from homeport_control.domain.logs import LogLine, LogQuery
from homeport_control.domain.services import RunState
from homeport_control.store import replicas, runs
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.api.v1 import api_pb2


@asynccontextmanager
async def host_with(plane: Plane, *replica_ids: str) -> AsyncIterator[WireAgent]:
    """A connected host that runs these replicas of `hello`."""
    agent = await plane.joined("box")
    await agent.connect()
    run_id = await add_run(plane.state, replicas=max(1, len(replica_ids)))
    for index, replica_id in enumerate(replica_ids):
        await add_replica(plane.state, run_id, replica_id, index=index, host_id=agent.host_id)
    await agent.hear_assignment(lambda assignment: len(assignment.replicas) == len(replica_ids))
    try:
        yield agent
    finally:
        await agent.close()


async def asked(agent: WireAgent) -> agent_pb2.LogRequest:
    while (message := await agent.hear()).WhichOneof("message") != "log_request":
        pass
    return message.log_request


def lines(request: agent_pb2.LogRequest, *texts: bytes) -> agent_pb2.LogLines:
    found = [agent_pb2.LogLine(text=text, stream="stderr", timestamp="2026-01-01T00:00:00Z") for text in texts]
    return agent_pb2.LogLines(request_id=request.request_id, lines=found)


async def test_lines_go_from_the_host_to_the_reader_and_end(plane: Plane, user: Api) -> None:
    async with host_with(plane, "r1") as agent:
        asks = api_pb2.LogsRequest(run_name="hello", tail=50, since_s=9.0, after={"r9": "any=T"})
        stream = user.stream("Logs", asks)
        request = await asked(agent)
        assert (request.replica_id, request.follow, request.tail, request.since_s, request.after, request.credit) == (
            "r1", False, 50, 9.0, "", LOG_CREDIT,
        )  # fmt: skip
        await agent.say(lines(request, b"one", b"\xff two"))
        (one, two) = (await first(stream)).entries
        assert (one.text, two.text, one.stream, one.replica, one.replica_id) == (b"one", b"\xff two", "stderr", 0, "r1")
        assert one.revision == 1
        assert (await agent.hear()).log_credit.lines == 2
        await agent.say(agent_pb2.LogEnd(request_id=request.request_id))
        with pytest.raises(StopAsyncIteration):
            await first(stream)


async def test_a_reader_goes_on_where_it_stands(plane: Plane, user: Api) -> None:
    async with host_with(plane, "r1") as agent:
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello", tail=50, after={"r1": "any=T"}))
        request = await asked(agent)
        assert (request.tail, request.after) == (-1, "any=T")
        stream.cancel()


async def test_a_reader_that_leaves_cancels_at_the_host(plane: Plane, user: Api) -> None:
    async with host_with(plane, "r1") as agent:
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello", follow=True))
        request = await asked(agent)
        stream.cancel()
        assert (await agent.hear()).log_cancel.request_id == request.request_id


async def test_one_replica_of_several_can_be_chosen(plane: Plane, user: Api) -> None:
    async with host_with(plane, "r1", "r2") as agent:
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello", replica=1))
        request = await asked(agent)
        assert request.replica_id == "r2"
        await agent.say(agent_pb2.LogEnd(request_id=request.request_id))
        with pytest.raises(StopAsyncIteration):
            await first(stream)


async def test_what_one_replica_cannot_give_is_a_note_after_the_others_logs(plane: Plane, user: Api) -> None:
    async with host_with(plane, "r1", "r2") as agent:
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello"))
        requests = {request.replica_id: request for request in [await asked(agent), await asked(agent)]}
        await agent.say(agent_pb2.LogEnd(request_id=requests["r1"].request_id, error="Docker does not answer"))
        await agent.say(lines(requests["r2"], b"still here"))
        await agent.say(agent_pb2.LogEnd(request_id=requests["r2"].request_id))
        assert [entry.text for entry in (await first(stream)).entries] == [b"still here"]
        assert (await first(stream)).note == "replica 0 on box: Docker does not answer"
        with pytest.raises(StopAsyncIteration):
            await first(stream)


async def test_a_host_that_goes_away_ends_the_logs_in_words(plane: Plane, user: Api) -> None:
    async with host_with(plane, "r1") as agent:
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello"))
        await asked(agent)
        await agent.close()
        code, words = await refusal(first(stream))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert "the connection to the host broke" in words


async def test_logs_that_are_not_kept_any_more_are_not_found(plane: Plane, user: Api) -> None:
    async with host_with(plane, "r1") as agent:
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello"))
        request = await asked(agent)
        await agent.say(agent_pb2.LogEnd(request_id=request.request_id, error="no container", absent=True))
        code, words = await refusal(first(stream))
        assert code is grpc.StatusCode.NOT_FOUND
        assert words == "hello is submitted: its replicas have no container yet (replica 0 is queued: assigned)"


async def test_a_run_that_has_ended_is_read_from_its_hosts(plane: Plane, user: Api) -> None:
    async with host_with(plane, "r1") as agent:
        async with plane.state.database.write() as write:
            await replicas.end(write, "r1", 2000.0)
        stream = user.stream("Logs", api_pb2.LogsRequest(run_name="hello"))
        assert (await asked(agent)).replica_id == "r1"
        stream.cancel()


async def test_a_host_that_is_away_is_named(state: State, user: Api) -> None:
    await add_replica(state, await add_run(state), "r1", host_id="h1")
    code, words = await refusal(first(user.stream("Logs", api_pb2.LogsRequest(run_name="hello"))))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "host h1 is not connected now" in words


async def test_what_has_no_logs_says_why(state: State, user: Api) -> None:
    async def words(**fields: Any) -> str:
        code, found = await refusal(first(user.stream("Logs", api_pb2.LogsRequest(run_name="hello", **fields))))
        assert code is grpc.StatusCode.NOT_FOUND
        return found

    assert await words() == "no run hello; `homeport ps -a` shows all"
    run_id = await add_run(state)
    assert "none of its replicas has a container now" in await words()
    await add_replica(state, run_id, "r1", host_id="h1")
    assert await words(replica=7) == "hello has no replica 7; `homeport ps -v` shows those that it has"
    assert "none of its replicas took the place of another one" in await words(previous=True)
    async with state.database.write() as write:
        await replicas.update(write, "r1", host_id=None)
        await replicas.end(write, "r1", 2000.0)
        await runs.update(write, run_id, state=RunState.FAILED, log_tail=["it broke"], ended_at_s=2000.0)
    assert "hello is failed" in (failed := await words())
    assert "its last lines were: it broke" in failed


class Endless:
    """A host that always has more to say, and counts how much was taken."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = asyncio.Event()

    async def read(self, _host_id: str, _name: str, _query: LogQuery) -> AsyncGenerator[list[LogLine], None]:
        try:
            while True:
                self.taken += 1
                yield [LogLine(b"x", "stdout", "")]
        finally:
            self.closed.set()


async def test_a_slow_reader_holds_the_host_back(state: State) -> None:
    await add_replica_on_h1(state)
    endless = Endless()
    stream = RunLogs(state.database, endless.read).stream(api_pb2.LogsRequest(run_name="hello"))
    await anext(stream)
    await until_true(lambda: endless.taken >= AHEAD_BATCHES)
    for _ in range(100):
        await asyncio.sleep(0)
    assert endless.taken <= AHEAD_BATCHES + 4
    await stream.aclose()
    await asyncio.wait_for(endless.closed.wait(), DEADLINE_S)


async def test_a_slow_reader_of_a_follow_holds_the_host_back(state: State) -> None:
    await add_replica_on_h1(state)
    endless = Endless()
    stream = RunLogs(state.database, endless.read).stream(api_pb2.LogsRequest(run_name="hello", follow=True))
    assert await anext(stream) == api_pb2.LogsResponse()
    await anext(stream)
    await until_true(lambda: endless.taken >= QUEUE_BOUND)
    for _ in range(100):
        await asyncio.sleep(0)
    assert endless.taken <= QUEUE_BOUND + 2
    await stream.aclose()
    await asyncio.wait_for(endless.closed.wait(), DEADLINE_S)


async def test_a_reader_that_leaves_in_the_middle_of_a_batch_leaves_quietly(state: State) -> None:
    await add_replica_on_h1(state)
    endless = Endless()
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    stream = RunLogs(state.database, endless.read).stream(api_pb2.LogsRequest(run_name="hello"))
    await anext(stream)
    del stream  # what gRPC does with it when the reader cancels while it is written to
    await asyncio.wait_for(endless.closed.wait(), DEADLINE_S)
    for _ in range(10):
        await asyncio.sleep(0)
    assert errors == []


@pytest.mark.parametrize("follow", [False, True])
async def test_a_fault_of_ours_is_not_swallowed(state: State, follow: bool) -> None:
    await add_replica_on_h1(state)

    async def read(_host_id: str, _name: str, _query: LogQuery) -> AsyncGenerator[list[LogLine], None]:
        yield []
        raise ZeroDivisionError

    stream = RunLogs(state.database, read).stream(api_pb2.LogsRequest(run_name="hello", follow=follow))
    with pytest.raises(ZeroDivisionError):
        async for _ in stream:
            pass


async def add_replica_on_h1(state: State) -> None:
    await add_host(state)
    await add_replica(state, await add_run(state), "r1", host_id="h1")

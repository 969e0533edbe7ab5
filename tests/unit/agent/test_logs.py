import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from fakes.agent import replica
from fakes.engine import FakeEngine, Program
from homeport_agent.logs import BATCH_LINES, REQUESTS, LogStreams
from homeport_agent.outbox import Outbox
from homeport_agent.work import container_name, container_spec
from homeport_protos.agent.v1 import agent_pb2

MANY = tuple(f"line {number}" for number in range(250))
NAME = container_name("r1")


class Desk:
    """LogStreams with what it sent."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self.outbox = Outbox()
        self.tasks: set[asyncio.Task[None]] = set()
        self.streams = LogStreams(engine, self._spawn)
        self.streams.opened(self.outbox)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        return task

    def ask(self, request_id: int = 1, replica_id: str = "r1", **values: Any) -> None:
        defaults: dict[str, Any] = {"tail": -1, "credit": 1000}
        self.streams.requested(
            agent_pb2.LogRequest(request_id=request_id, replica_id=replica_id, **(defaults | values))
        )

    async def next(self) -> agent_pb2.FromAgent:
        async with asyncio.timeout(10):
            while (message := await self.outbox.take(10)) is None:
                pass
        return message

    async def whole(self) -> tuple[list[bytes], str]:
        """All lines until the end, and the error of the end."""
        lines: list[bytes] = []
        while True:
            message = await self.next()
            if message.WhichOneof("message") == "log_end":
                return lines, message.log_end.error
            lines += [line.text for line in message.log_lines.lines]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    engine = FakeEngine({"hello:1"}, {("many",): Program(stdout=MANY), ("quiet",): Program()})
    made = Desk(engine)
    await engine.create(container_spec(replica(command=("many",)), "server-1"))
    await engine.start(NAME)
    yield made
    made.streams.closed()
    await asyncio.wait(made.tasks or {asyncio.ensure_future(asyncio.sleep(0))})


async def test_all_lines_come_in_batches_and_then_the_end(desk: Desk) -> None:
    desk.ask()
    first = await desk.next()
    assert len(first.log_lines.lines) == BATCH_LINES
    lines, error = await desk.whole()
    assert len(lines) == len(MANY) - BATCH_LINES
    assert (lines[-1], error) == (b"line 249", "")


async def test_the_tail_is_the_last_lines(desk: Desk) -> None:
    desk.ask(tail=2)
    assert await desk.whole() == ([b"line 248", b"line 249"], "")


async def test_no_more_lines_are_sent_than_the_server_gave_credit_for(desk: Desk) -> None:
    desk.ask(credit=30)
    assert len((await desk.next()).log_lines.lines) == 30
    assert await desk.outbox.take(0.05) is None
    desk.streams.credited(1, 7)
    assert len((await desk.next()).log_lines.lines) == 7
    assert await desk.outbox.take(0.05) is None


async def test_a_followed_log_goes_on_with_new_lines_until_the_container_ends(desk: Desk) -> None:
    desk.ask(tail=1, follow=True)
    assert [line.text for line in (await desk.next()).log_lines.lines] == [b"line 249"]
    desk.engine.say(NAME, "fresh")
    assert [line.text for line in (await desk.next()).log_lines.lines] == [b"fresh"]
    desk.engine.end(NAME, 0)
    assert await desk.whole() == ([], "")


async def test_a_cancelled_request_sends_nothing_more(desk: Desk) -> None:
    desk.ask(tail=1, follow=True)
    await desk.next()
    desk.streams.cancelled(1)
    desk.engine.say(NAME, "fresh")
    await asyncio.wait(desk.tasks)
    assert await desk.outbox.take(0.05) is None


async def test_a_replica_without_a_container_is_told(desk: Desk) -> None:
    desk.ask(replica_id="r9")
    assert await desk.whole() == ([], "replica r9 has no container on this host")


async def test_an_engine_that_is_down_is_told(desk: Desk) -> None:
    desk.engine.go_down()
    desk.ask()
    lines, error = await desk.whole()
    assert lines == []
    assert "Docker does not answer" in error


async def test_too_many_requests_at_once_are_refused(desk: Desk) -> None:
    for number in range(REQUESTS):
        desk.ask(number, tail=0, follow=True)
    desk.ask(99)
    lines, error = await desk.whole()
    assert lines == []
    assert f"answers {REQUESTS} log requests already" in error


async def test_everything_ends_with_the_session(desk: Desk) -> None:
    for number in range(3):
        desk.ask(number, tail=0, follow=True)
    desk.outbox.close()
    desk.streams.closed()
    await asyncio.wait(desk.tasks)
    assert all(task.done() for task in desk.tasks)

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest
from fakes.agent import replica
from fakes.engine import FakeEngine, Program
from homeport_agent.log_archive import LogArchive
from homeport_agent.logs import BATCH_LINES, REQUESTS, UNREAD_BYTES, LogStreams
from homeport_agent.outbox import Due, Outbox
from homeport_agent.work import container_name, container_spec
from homeport_protos.agent.v1 import agent_pb2

MANY = tuple(f"line {number}" for number in range(250))
NAME = container_name("r1")


class Desk:
    """LogStreams with what it sent."""

    def __init__(self, engine: FakeEngine, folder: Path) -> None:
        self.engine = engine
        self.archive = LogArchive(folder)
        self.outbox = Outbox()
        self.tasks: set[asyncio.Task[None]] = set()
        self.streams = LogStreams(engine, self._spawn, self.archive)
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

    async def container_goes(self) -> None:
        """As the agent removes one: what it wrote is kept first."""
        assert await self.archive.keep(self.engine, NAME, "r1") == ""
        await self.engine.remove(NAME)

    async def next(self) -> agent_pb2.FromAgent:
        async with asyncio.timeout(10):
            while isinstance(message := await self.outbox.take(10), Due):
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
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    engine = FakeEngine({"hello:1"}, {("many",): Program(stdout=MANY), ("quiet",): Program()})
    made = Desk(engine, tmp_path / "logs")
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
    assert await desk.outbox.take(0.05) is Due.REPORT
    desk.streams.credited(1, 7)
    assert len((await desk.next()).log_lines.lines) == 7
    assert await desk.outbox.take(0.05) is Due.REPORT


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
    assert await desk.outbox.take(0.05) is Due.REPORT


async def test_a_replica_without_a_container_is_told(desk: Desk) -> None:
    desk.ask(replica_id="r9")
    end = (await desk.next()).log_end
    assert end.error == "replica r9 has no container on this host, and no logs of it are kept"
    assert end.absent


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


async def test_a_container_that_is_gone_is_read_from_what_was_kept(desk: Desk) -> None:
    await desk.container_goes()
    desk.ask()
    lines, error = await desk.whole()
    assert (lines[0], lines[-1], len(lines), error) == (b"line 0", b"line 249", 250, "")
    desk.ask(tail=2)
    assert await desk.whole() == ([b"line 248", b"line 249"], "")
    desk.ask(since_s=60.0)
    assert await desk.whole() == ([], "")


async def test_only_what_comes_after_the_place_of_the_reader_is_sent(desk: Desk) -> None:
    place = desk.engine.containers[NAME].lines[247].timestamp
    desk.ask(after=f"any={place}")
    assert await desk.whole() == ([b"line 248", b"line 249"], "")
    await desk.container_goes()
    desk.ask(after=f"any={place}")
    assert await desk.whole() == ([b"line 248", b"line 249"], "")


async def test_a_container_that_goes_while_it_is_followed_leaves_no_gap(desk: Desk) -> None:
    desk.ask(credit=10, follow=True)
    assert len((await desk.next()).log_lines.lines) == 10
    desk.engine.say(NAME, "the last words")
    await desk.container_goes()
    desk.streams.credited(1, 1000)
    lines, error = await desk.whole()
    assert (lines[0], lines[-1], len(lines), error) == (b"line 10", b"the last words", 241, "")


async def test_lines_on_the_way_are_bounded_in_bytes_too(desk: Desk) -> None:
    size = UNREAD_BYTES // 4
    for _ in range(8):
        desk.engine.say(NAME, "x" * size)
    desk.ask(tail=8)
    sent = 0
    while sent < 4:
        sent += len((await desk.next()).log_lines.lines)
    assert sent == 4
    assert await desk.outbox.take(0.05) is Due.REPORT
    desk.streams.credited(1, 1)
    assert len((await desk.next()).log_lines.lines) == 1


async def test_kept_logs_that_are_broken_are_told(desk: Desk, tmp_path: Path) -> None:
    await desk.container_goes()
    path = tmp_path / "logs" / "r1.log.gz"
    path.write_bytes(path.read_bytes()[:-9])
    desk.ask()
    _, error = await desk.whole()
    assert "the kept logs of replica r1 cannot be read" in error

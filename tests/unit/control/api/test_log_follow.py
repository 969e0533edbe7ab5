"""Following a run whose hosts are a dictionary of scripted logs; the database and its topics are real."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fixtures.control import DEADLINE_S, State, add_host, add_replica, add_run, until_true
from homeport_control.api.logs import RunLogs
from homeport_control.domain.errors import HomeportError, NotFound, NotReady
from homeport_control.domain.hosts import Connection
from homeport_control.domain.logs import LogLine, LogQuery
from homeport_control.domain.replicas import Phase
from homeport_control.domain.services import RunState
from homeport_control.store import hosts, replicas, runs
from homeport_protos.api.v1 import api_pb2


class Hosts:
    """Answers requests as told: numbers are lines, an error ends one, an event is waited for."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[list[Any]]] = {}  # replica id -> what each request of it gets
        self.asked: list[LogQuery] = []

    async def read(self, _host_id: str, _name: str, query: LogQuery) -> AsyncGenerator[list[LogLine], None]:
        self.asked.append(query)
        scripts = self.scripts.get(query.replica_id, [])
        for part in scripts.pop(0) if scripts else []:
            if isinstance(part, HomeportError):
                raise part
            if isinstance(part, asyncio.Event):
                await part.wait()
                continue
            yield [LogLine(f"{part}".encode(), "stdout", f"2026-11-23T10:00:00.{part:09d}Z")]

    def requests(self, replica_id: str) -> list[LogQuery]:
        return [query for query in self.asked if query.replica_id == replica_id]


class Followed:
    def __init__(self) -> None:
        self.lines: list[tuple[str, int]] = []
        self.notes: list[str] = []


@pytest.fixture
def on_hosts() -> Hosts:
    return Hosts()


@asynccontextmanager
async def following(state: State, on_hosts: Hosts, *, retry_s: float = 10.0, **fields: Any) -> AsyncIterator[Followed]:
    found = Followed()

    async def read() -> None:
        request = api_pb2.LogsRequest(run_name="hello", follow=True, **{"tail": -1, **fields})
        async for answer in RunLogs(state.database, on_hosts.read, retry_s).stream(request):
            found.lines += [(entry.replica_id, int(entry.text)) for entry in answer.entries]
            found.notes += [answer.note] if answer.note else []

    reading = asyncio.create_task(read())
    try:
        yield found
        await asyncio.wait_for(reading, DEADLINE_S)
    finally:
        reading.cancel()


async def change(state: State, replica_id: str, **fields: Any) -> None:
    async with state.database.write() as write:
        await replicas.update(write, replica_id, **fields)


async def end_run(state: State, run_id: str, *replica_ids: str) -> None:
    async with state.database.write() as write:
        for replica_id in replica_ids:
            await replicas.end(write, replica_id, 5000.0)
        await runs.update(write, run_id, state=RunState.TERMINATED, ended_at_s=5000.0)


async def a_run(state: State) -> str:
    await add_host(state)
    run_id = await add_run(state)
    await add_replica(state, run_id, "r1", host_id="h1", phase=Phase.READY)
    return run_id


async def test_a_container_that_starts_again_is_read_on_from_where_it_was(state: State, on_hosts: Hosts) -> None:
    run_id, dies = await a_run(state), asyncio.Event()
    on_hosts.scripts["r1"] = [[1, 2], [3, dies], []]
    async with following(state, on_hosts, tail=5) as found:
        await until_true(lambda: len(found.lines) == 2)
        await change(state, "r1", restarts=1)
        await until_true(lambda: len(found.lines) == 3)
        first, second = on_hosts.requests("r1")
        assert (first.tail, first.after, second.tail) == (5, "", -1)
        assert second.after.endswith("stdout=2026-11-23T10:00:00.000000002Z")
        dies.set()
        await end_run(state, run_id, "r1")
    assert found.lines == [("r1", 1), ("r1", 2), ("r1", 3)]
    assert not on_hosts.requests("r1")[-1].follow  # the last look, at what is complete now


async def test_a_new_replica_is_read_from_its_beginning(state: State, on_hosts: Hosts) -> None:
    run_id = await a_run(state)
    on_hosts.scripts |= {"r1": [[1]], "r2": [[2]]}
    async with following(state, on_hosts, tail=0, since_s=5.0) as found:
        await until_true(lambda: len(found.lines) == 1)
        await add_replica(state, run_id, "r2", host_id="h1", revision=1, created_at_s=2000.0)
        await until_true(lambda: len(found.lines) == 2)
        assert [(query.tail, query.since_s) for query in on_hosts.requests("r2")[:1]] == [(-1, 0.0)]
        await end_run(state, run_id, "r1", "r2")
    assert found.notes == []


async def test_what_had_ended_before_is_not_read(state: State, on_hosts: Hosts) -> None:
    run_id = await a_run(state)
    await add_replica(state, run_id, "r0", host_id="h1", created_at_s=500.0)
    await end_replica(state, "r0")
    on_hosts.scripts["r1"] = [[1]]
    async with following(state, on_hosts) as found:
        await until_true(lambda: found.lines)
        await end_run(state, run_id, "r1")
    assert on_hosts.requests("r0") == []


async def test_a_host_that_is_away_is_a_note_once_and_is_read_when_it_is_back(state: State, on_hosts: Hosts) -> None:
    run_id = await a_run(state)
    away = NotReady("it is not connected now")
    on_hosts.scripts["r1"] = [[1, away], [away], [2]]
    async with following(state, on_hosts) as found:
        for connection in (Connection.UNREACHABLE, Connection.CONNECTED):
            count = len(on_hosts.asked)
            async with state.database.write() as write:
                await hosts.update(write, "h1", {"connection": connection})
            await until_true(lambda before=count: len(on_hosts.asked) > before)  # type: ignore[misc]
        await until_true(lambda: len(found.lines) == 2)
        await end_run(state, run_id, "r1")
    assert found.lines == [("r1", 1), ("r1", 2)]
    assert found.notes == ["replica 0 on h1: it is not connected now"]


async def test_a_run_without_a_container_is_waited_for_and_says_so(state: State, on_hosts: Hosts) -> None:
    await add_host(state)
    run_id = await add_run(state)
    on_hosts.scripts["r1"] = [[NotFound("none")], [1]]
    async with following(state, on_hosts) as found:
        await until_true(lambda: found.notes)
        await add_replica(state, run_id, "r1", host_id="h1", phase=Phase.PULLING)
        await until_true(lambda: on_hosts.asked)
        await change(state, "r1", phase=Phase.PROBING)
        await until_true(lambda: found.lines)
        await end_run(state, run_id, "r1")
    assert found.notes == ["hello is submitted; waiting for a replica of it to run"]


async def test_who_had_nothing_to_say_is_asked_for_what_came_since(state: State, on_hosts: Hosts) -> None:
    run_id = await a_run(state)
    on_hosts.scripts["r1"] = [[], [1]]
    async with following(state, on_hosts, tail=0) as found:
        await until_true(lambda: on_hosts.asked)
        await change(state, "r1", restarts=1)
        await until_true(lambda: found.lines)
        first, second = on_hosts.requests("r1")[:2]
        assert (first.tail, first.since_s, second.tail) == (0, 0.0, -1)
        assert 0 < second.since_s < DEADLINE_S
        await end_run(state, run_id, "r1")


async def test_what_came_since_is_counted_from_the_first_question_whenever_it_is_asked_again(
    state: State, on_hosts: Hosts
) -> None:
    run_id = await a_run(state)
    on_hosts.scripts["r1"] = [[], [], [1]]
    async with following(state, on_hosts, tail=0) as found:
        for restarts in (1, 2):
            await until_true(lambda count=restarts: len(on_hosts.asked) == count)  # type: ignore[misc]
            asked_s = time.monotonic()
            await until_true(lambda before=asked_s: time.monotonic() - before > 0.2)  # type: ignore[misc]
            await change(state, "r1", restarts=restarts)
        await until_true(lambda: found.lines)
        _, second, third = on_hosts.requests("r1")[:3]
        assert (second.since_s > 0.2, third.since_s > 0.4) == (True, True)
        await end_run(state, run_id, "r1")


async def test_a_new_replica_that_had_written_nothing_yet_is_read_from_its_beginning(
    state: State, on_hosts: Hosts
) -> None:
    run_id = await a_run(state)
    on_hosts.scripts |= {"r1": [[1]], "r2": [[], [2]]}  # r2's container was made, and not started
    async with following(state, on_hosts, tail=0) as found:
        await until_true(lambda: len(found.lines) == 1)
        await add_replica(state, run_id, "r2", host_id="h1", revision=1, created_at_s=2000.0)
        await until_true(lambda: on_hosts.requests("r2"))
        await change(state, "r2", phase=Phase.PROBING)
        await until_true(lambda: len(found.lines) == 2)
        assert [(query.tail, query.since_s) for query in on_hosts.requests("r2")[:2]] == [(-1, 0.0)] * 2
        await end_run(state, run_id, "r1", "r2")


async def test_a_run_that_has_ended_is_read_to_its_end(state: State, on_hosts: Hosts) -> None:
    run_id = await a_run(state)
    await end_run(state, run_id, "r1")
    on_hosts.scripts["r1"] = [[1, 2]]
    async with following(state, on_hosts) as found:
        pass
    assert found.lines == [("r1", 1), ("r1", 2)]


async def test_a_host_that_stays_away_does_not_keep_an_ended_run_open(state: State, on_hosts: Hosts) -> None:
    run_id = await a_run(state)
    await end_run(state, run_id)
    on_hosts.scripts["r1"] = [[NotReady("it is away")]] * 5
    async with following(state, on_hosts, retry_s=0.05) as found:
        pass
    assert found.notes == ["replica 0 on h1: it is away"]


async def end_replica(state: State, replica_id: str) -> None:
    async with state.database.write() as write:
        await replicas.end(write, replica_id, 600.0)

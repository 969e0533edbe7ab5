import asyncio
from collections.abc import AsyncGenerator

import pytest
from homeport_control.api import log_merge
from homeport_control.api.log_merge import ReplicaSource, by_time
from homeport_control.domain.errors import HomeportError, NotFound, NotReady
from homeport_control.domain.logs import LogLine, LogQuery
from homeport_control.domain.replicas import Replica, Wanted
from homeport_protos.api.v1 import api_pb2

Part = list[int] | HomeportError | None


def stamp(number: int) -> str:
    return f"2026-11-23T10:00:00.{number:09d}Z"


async def merged(*logs: list[Part], stall_s: float = 10.0) -> list[api_pb2.LogsResponse]:
    """Of replicas 0, 1, … with these batches; a None never comes."""
    sources = [
        ReplicaSource(Replica(f"r{n}", "run", n, 1, Wanted.RUN, 0.0, host_id="h"), f"h{n}") for n in range(len(logs))
    ]

    async def read(_host_id: str, _name: str, query: LogQuery) -> AsyncGenerator[list[LogLine], None]:
        for part in logs[int(query.replica_id[1:])]:
            if isinstance(part, HomeportError):
                raise part
            if part is None:
                await asyncio.Event().wait()
            yield [LogLine(f"{number}".encode(), "stdout", stamp(number)) for number in part or ()]

    async with asyncio.timeout(20):
        return [it async for it in by_time(sources, api_pb2.LogsRequest(tail=-1), read, stall_s)]


def texts(answers: list[api_pb2.LogsResponse]) -> list[tuple[int, int]]:
    return [(entry.replica, int(entry.text)) for answer in answers for entry in answer.entries]


def notes(answers: list[api_pb2.LogsResponse]) -> list[str]:
    return [answer.note for answer in answers if answer.note]


async def test_lines_of_all_come_in_the_order_of_their_times() -> None:
    found = await merged([[1, 4], [6]], [[2, 3, 5, 7]], [])
    assert texts(found) == [(0, 1), (1, 2), (1, 3), (0, 4), (1, 5), (0, 6), (1, 7)]


async def test_lines_of_one_replica_stay_in_their_order_whatever_their_times_are() -> None:
    found = await merged([[5, 2, 6]], [[3]])
    assert texts(found) == [(1, 3), (0, 5), (0, 2), (0, 6)]


async def test_many_lines_come_in_several_messages() -> None:
    found = await merged([list(range(500))])
    assert texts(found) == [(0, number) for number in range(500)]
    assert max(len(answer.entries) for answer in found) == log_merge.MESSAGE_LINES


async def test_one_that_fails_is_a_note_and_what_it_gave_is_there() -> None:
    found = await merged([[1], NotReady("the host is away")], [[2]])
    assert texts(found) == [(0, 1), (1, 2)]
    assert notes(found) == ["replica 0 on h0: the host is away"]


async def test_one_that_gives_nothing_does_not_hold_up_the_others() -> None:
    found = await merged([[1], None], [[2]], stall_s=0.05)
    assert texts(found) == [(0, 1), (1, 2)]
    assert "nothing came for 0.05 s" in notes(found)[0]


async def test_all_that_fail_are_an_error() -> None:
    with pytest.raises(NotReady, match="away"):
        await merged([NotFound("gone")], [NotReady("away")])
    with pytest.raises(NotFound, match="gone"):
        await merged([NotFound("gone")], [NotFound("gone too")])


async def test_nothing_at_all_is_no_error() -> None:
    assert await merged([], []) == []

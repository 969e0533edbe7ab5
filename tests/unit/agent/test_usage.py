"""agent/usage: lines of the access log become counts, asked for from a place on."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from homeport_agent.envoy.access_log import AccessLog
from homeport_agent.outbox import Due, Outbox
from homeport_agent.usage import UsageDesk, count
from homeport_protos.agent.v1 import agent_pb2

HOUR_S = 1767225600  # 2026-01-01T00:00:00Z


def line(**said: Any) -> bytes:
    usual = {
        "time": "2026-01-01T00:59:59.999999000Z",
        "replica": "r1",
        "service": "llm",
        "token": "t1",
        "model": "llama",
        "prompt_tokens": 10,
        "completion_tokens": 5,
    }
    return json.dumps(usual | said).encode()


def test_what_replicas_answered_is_added_up_by_who_called_what() -> None:
    lines = [
        line(),
        line(prompt_tokens=None, completion_tokens=None),
        line(time="2026-01-01T01:00:00.0Z"),
        line(token=None, model=None, prompt_tokens=0),
        line(replica=None),  # refused at the door
        line(prompt_tokens=-7, completion_tokens=10**30),
    ]
    assert count(lines) == {
        (HOUR_S, "t1", "llm", "llama"): (3, 10, 5 + 10**9),
        (HOUR_S + 3600, "t1", "llm", "llama"): (1, 10, 5),
        (HOUR_S, "", "llm", ""): (1, 0, 5),
    }


def test_lines_that_are_none_are_passed_over() -> None:
    bad = [b"", b"{", b"[]", b"5", b'{"replica":"r"}', line(time="yesterday"), line(prompt_tokens="many"), line(time=5)]
    assert count([*bad, line()]) == {(HOUR_S, "t1", "llm", "llama"): (1, 10, 5)}


class Desk:
    def __init__(self, folder: Path) -> None:
        self.outbox = Outbox()
        self.tasks: set[asyncio.Task[None]] = set()
        self.desk = UsageDesk(lambda gateway: AccessLog(folder / gateway), self._spawn, look_s=0.01)
        self.desk.opened(self.outbox)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        return task

    async def next(self) -> agent_pb2.UsageBatch:
        async with asyncio.timeout(10):
            while isinstance(message := await self.outbox.take(10), Due):
                pass
        return message.usage_batch


async def test_an_answer_comes_when_there_is_something_and_the_next_goes_on_after_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.desk.requested(agent_pb2.UsageRequest(request_id=1))
    desk.desk.requested(agent_pb2.UsageRequest(request_id=2))  # the newer one counts
    (tmp_path / "access.log").write_bytes(line() + b"\n")
    first = await desk.next()
    assert (first.request_id, first.missed) == (2, False)
    assert [(it.hour_s, it.token_id, it.requests, it.prompt_tokens) for it in first.counts] == [(HOUR_S, "t1", 1, 10)]
    desk.desk.requested(agent_pb2.UsageRequest(request_id=3, after=first.place))
    with (tmp_path / "access.log").open("ab") as file:
        file.write(line(token="t2") + b"\n")
    second = await desk.next()
    assert [it.token_id for it in second.counts] == ["t2"]
    desk.desk.requested(agent_pb2.UsageRequest(request_id=4, after=second.place))
    desk.desk.closed()
    await asyncio.wait(desk.tasks)
    assert all(task.cancelled() or task.exception() is None for task in desk.tasks)


async def test_each_gateway_is_answered_for_from_its_own_log(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for number, gateway in enumerate(("local", "lab")):
        (tmp_path / gateway).mkdir()
        desk.desk.requested(agent_pb2.UsageRequest(request_id=number, gateway=gateway))
    for gateway in ("lab", "local"):
        (tmp_path / gateway / "access.log").write_bytes(line(token=gateway) + b"\n")
    answers = [await desk.next(), await desk.next()]
    found = {answer.request_id: [it.token_id for it in answer.counts] for answer in answers}
    assert found == {0: ["local"], 1: ["lab"]}
    desk.desk.closed()


async def test_a_log_that_went_with_its_gateway_is_told_and_the_next_of_that_name_begins_anew(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.desk.requested(agent_pb2.UsageRequest(request_id=1, after="0123456789abcdef:7", gateway="lab"))
    gone = await desk.next()
    assert (gone.place, list(gone.counts), gone.missed) == ("", [], False)
    desk.desk.requested(agent_pb2.UsageRequest(request_id=2, gateway="lab"))
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "access.log").write_bytes(line() + b"\n")
    again = await desk.next()
    assert (len(again.counts), again.missed) == (1, False)
    desk.desk.closed()


async def test_who_wants_to_let_a_log_go_waits_until_the_server_has_kept_all_of_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    await desk.desk.counted("lab")  # there is nothing
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "access.log").write_bytes(line() + b"\n")
    desk.desk.requested(agent_pb2.UsageRequest(request_id=1, gateway="lab"))
    answer = await desk.next()
    counted = asyncio.ensure_future(desk.desk.counted("lab"))
    await asyncio.wait([counted], timeout=0.1)
    assert not counted.done(), "sent is not kept"
    desk.desk.requested(agent_pb2.UsageRequest(request_id=2, after=answer.place, gateway="lab"))
    async with asyncio.timeout(10):
        await counted
    desk.desk.closed()

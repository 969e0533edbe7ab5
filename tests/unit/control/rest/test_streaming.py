"""rest/streaming: lines or events, a sign of life, an end in words; who reads slowly holds back who sends."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

import grpc
import pytest
from google.protobuf.message import Message
from homeport_control.relay.inside import Failed
from homeport_control.rest.failures import Failure
from homeport_control.rest.streaming import Answers, Framing, Writer, chunks
from homeport_protos.api.v1 import api_pb2

LINES, EVENTS = Framing("*/*"), Framing("text/html, Text/Event-Stream;q=0.9")
FAILURE = Failure.of(grpc.StatusCode.NOT_FOUND, "no run x")


class Source:
    """An endless stream that counts what was taken of it."""

    def __init__(self, ends_with: Exception | None = None, after: int = 10**6, silent_from: int = 10**6) -> None:
        self.taken = 0
        self.is_over = False
        self._ends_with, self._after, self._silent_from = ends_with, after, silent_from

    async def stream(self) -> AsyncGenerator[Message, None]:
        try:
            while self.taken < self._after:
                if self.taken >= self._silent_from:
                    await asyncio.Event().wait()
                self.taken += 1
                yield api_pb2.EventsResponse(last_id=self.taken)
            if self._ends_with is not None:
                raise self._ends_with
        finally:
            self.is_over = True


def test_an_answer_a_sign_of_life_and_a_failure_are_lines_or_events() -> None:
    assert (LINES.content_type, EVENTS.content_type) == ("application/x-ndjson", "text/event-stream")
    assert (LINES.answer(b"{}"), EVENTS.answer(b"{}")) == (b"{}\n", b"data: {}\n\n")
    assert (LINES.alive, EVENTS.alive) == (b"\n", b": alive\n\n")
    text = b'{"error":{"code":"NOT_FOUND","message":"no run x"}}'
    assert (LINES.failure(FAILURE), EVENTS.failure(FAILURE)) == (text + b"\n", b"event: error\ndata: " + text + b"\n\n")


async def test_all_of_a_stream_is_told_and_its_end() -> None:
    said = [it async for it in chunks(Answers(Source(after=2).stream()), b"first\n", LINES, Writer())]
    assert [said[0], *(json.loads(it)["last_id"] for it in said[1:])] == [b"first\n", "1", "2"]


async def test_a_failure_that_comes_late_is_the_last_line() -> None:
    source = Source(Failed(grpc.StatusCode.NOT_FOUND, "no run x"), after=1)
    said = [it async for it in chunks(Answers(source.stream()), b"first\n", EVENTS, Writer())]
    assert said[-1] == EVENTS.failure(FAILURE)


async def test_a_silence_is_filled_and_loses_nothing() -> None:
    source = Source(silent_from=1)
    async with aclosing(Answers(source.stream())) as answers:
        body = chunks(answers, b"", LINES, Writer(), alive_s=0.001)
        assert await anext(body) == LINES.alive  # nothing is there yet
        await anext(body)
        assert [await anext(body) for _ in range(3)] == [LINES.alive] * 3
        assert source.taken == 1
        assert not source.is_over
    assert source.is_over


async def test_a_stream_ends_before_its_connection_is_cut_and_says_so() -> None:
    async with aclosing(Answers(Source(silent_from=0).stream())) as answers:
        said = [it async for it in chunks(answers, b"first\n", LINES, Writer(), alive_s=0.001, stream_s=0.01)]
    assert b"a stream lasts an hour at the most" in said[-1]
    assert b'"DEADLINE_EXCEEDED"' in said[-1]


async def test_nothing_is_taken_before_the_reader_has_what_came_before() -> None:
    source = Source()
    async with aclosing(Answers(source.stream())) as answers:
        body = chunks(answers, b"first\n", LINES, Writer())
        for taken in (0, 1, 2, 3):
            await anext(body)
            assert source.taken == taken


async def test_an_end_of_the_reader_ends_the_call_also_while_it_is_waited_for() -> None:
    source = Source(silent_from=1)
    answers = Answers(source.stream())
    assert await answers.next(1.0) == api_pb2.EventsResponse(last_id=1)
    with pytest.raises(TimeoutError):
        await answers.next(0.0)
    await answers.aclose()
    assert source.is_over


async def test_an_end_of_the_reader_ends_the_call_also_between_two_answers() -> None:
    source = Source()
    answers = Answers(source.stream())
    await answers.next(1.0)
    await answers.aclose()
    assert (source.taken, source.is_over) == (1, True)


async def test_much_is_written_beside_the_event_loop() -> None:
    large = api_pb2.ListRunsResponse(runs=[api_pb2.Run(name="x" * 1000)] * 100)
    assert len(json.loads(await Writer().json(large))["runs"]) == 100

"""What an operation wants done, without doing it: a call, an upload, work that blocks, waiting for something to be seen.

An operation is a generator of steps that is sent their answers, or a Stream. `client` and `aio` do the steps, each in its
own way; so every operation is written once. Covers the vocabulary. Does not cover the operations (`operations`).
"""

import enum
import logging
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message
from homeport_protos.api.v1.api_pb2 import UploadCodeRequest

from homeport.methods import Answer, Ask, Method

Result = TypeVar("Result")
Item = TypeVar("Item")
Notice = Callable[[str], None]
WATCH_DEADLINE_S = 300.0  # then a watch is opened anew: the first answer of one is the whole list, nothing is lost


def log(line: str) -> None:
    """Where notices go that nobody asked for."""
    logging.getLogger("homeport").warning(line)


class End(enum.Enum):
    """What it means that the server ends a stream; one that breaks is opened anew but with ONCE."""

    ONCE = enum.auto()  # it was whole, and is opened once
    OVER = enum.auto()  # there is no more
    TROUBLE = enum.auto()  # it should not have


@dataclass(frozen=True, slots=True)
class Stream(Generic[Item]):
    method: Method[Any, Any]
    request: Callable[[], Message]  # asked before each opening: it says where the last one broke
    read: Callable[[Any], Iterable[Item]]
    end: End
    deadline_s: float = WATCH_DEADLINE_S  # of one opening
    within_s: float | None = None  # of all of it
    on_notice: Notice = log  # hears one line when the server is lost


@dataclass(frozen=True, slots=True)
class Call:
    method: Method[Any, Any]
    request: Message


@dataclass(frozen=True, slots=True)
class Upload:
    pieces: Iterable[UploadCodeRequest]  # reads files: it blocks, and raises
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Blocking:
    work: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Until:
    stream: Stream[Any]
    look: Callable[[Any], object | None]  # anything but None is what was waited for


Step = Call | Upload | Blocking | Until
Steps = Generator[Step, Any, Result]


def call(method: Method[Ask, Answer], request: Ask) -> Steps[Answer]:
    answer: Answer = yield Call(method, request)
    return answer


def blocking(work: Callable[[], Result]) -> Steps[Result]:
    result: Result = yield Blocking(work)
    return result


def until(stream: Stream[Item], look: Callable[[Item], Result | None]) -> Steps[Result]:
    found: Result = yield Until(stream, look)
    return found

"""Calls of the API that pages of this server make for who looks at them: by their token, from their address, at the leader.

They go the way that another server's calls go (forward), so REST and dashboard can do what their reader's token may do and
no more, on any server. Covers one call or stream. Does not cover how a page finds the token (rest, dashboard).
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from grpc.aio import AioRpcError
from homeport_protos.api.v1 import api_pb2

from homeport_control.relay.forward import CHANGED, HOLD_S, NOT_LEADING_KEY, PAUSE_S
from homeport_control.relay.leader import LeaderChannel, Unknown
from homeport_control.trust.callers import PEER_KEY, RELAYED_KEY

CALL_S = 30.0  # a deadline for calls that name none
Answer = TypeVar("Answer")
SERVICE = api_pb2.DESCRIPTOR.services_by_name["Api"]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who looks at a page: `token` as it was sent, `host` and `port` of its connection."""

    token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 0

    @property
    def peer(self) -> str:
        """As gRPC writes an address."""
        return f"ipv6:%5B{self.host}%5D:{self.port}" if ":" in self.host else f"ipv4:{self.host}:{self.port}"


class Failed(Exception):
    """What the API answered in place of an answer: its status, and its words on one line."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.code = code


class Inside:
    def __init__(self, leader: LeaderChannel, name: str, *, hold_s: float = HOLD_S) -> None:
        """`name`: this server's, in the metadata of what it calls."""
        self._leader = leader
        self._name = name
        self._hold_s = hold_s

    async def call(
        self, method: str, request: Any, answer: type[Answer], reader: Reader, *, timeout_s: float = CALL_S
    ) -> Answer:
        """A unary method of the API, by its name: "ListRuns". Raises Failed."""
        async with aclosing(self.stream(method, request, answer, reader, timeout_s=timeout_s)) as answers:
            async for found in answers:
                return found
        raise Failed(grpc.StatusCode.INTERNAL, "the server failed at this; its log says why")

    async def stream(
        self, method: str, request: Any, answer: type[Answer], reader: Reader, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Answer, None]:
        """The answers of a method that streams; without `timeout_s` as long as it is read. Raises Failed."""
        deadline_s = asyncio.get_running_loop().time() + self._hold_s
        path = f"/{SERVICE.full_name}/{SERVICE.methods_by_name[method].name}"
        try:
            while True:
                call = await self._opened(path, request, answer, reader, timeout_s, deadline_s)
                is_answered = False
                try:
                    async for found in call:
                        is_answered = True
                        yield found
                    return
                except AioRpcError as error:
                    if is_answered or (NOT_LEADING_KEY, "1") not in tuple(error.trailing_metadata() or ()):
                        raise Failed(error.code(), error.details() or "") from None
                except asyncio.CancelledError:
                    if (task := asyncio.current_task()) is not None and not task.cancelling():  # the channel was closed
                        raise Failed(grpc.StatusCode.UNAVAILABLE, CHANGED) from None
                    raise
                finally:
                    call.cancel()
                await asyncio.sleep(PAUSE_S)
        except Unknown as unknown:
            why = f"no server that leads could be reached within {self._hold_s:g} s: {unknown}; try again in a moment"
            raise Failed(grpc.StatusCode.UNAVAILABLE, why) from None

    async def _opened(
        self,
        path: str,
        request: Any,
        answer: type[Any],
        reader: Reader,
        timeout_s: float | None,
        deadline_s: float,
    ) -> Any:
        channel = await self._leader.get(deadline_s)
        metadata = grpc.aio.Metadata(
            ("authorization", f"Bearer {reader.token}"), (PEER_KEY, reader.peer), (RELAYED_KEY, self._name)
        )
        method: Any = channel.unary_stream(path, type(request).SerializeToString, answer.FromString)
        return method(request, timeout=timeout_s, metadata=metadata)

"""gRPC without sockets: streams between simulated processes, in order, each message with a delay, through links that can fail.

`Listener` takes the registrations that a grpc.aio.Server takes, so the servicers are the real ones; messages go through their
own (de)serialisers. A link that is cut says nothing: what is sent waits, like TCP's retransmissions, until it is healed; an
end that gave up meanwhile is told then.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc.aio import AioRpcError, Metadata

from sim.clock import Process, SimTask, process

KEEPALIVE_S = 4.0  # without an answer for so long, a client's channel gives up
DOUBLED = "/homeport_protos.agent.v1.AgentLink/Session"  # the one that guards itself against doubled messages
FASTEST_S, SLOWEST_S = 0.0002, 0.004


def spawn(owner: Process, work: Coroutine[Any, Any, Any]) -> SimTask:
    """A task of this process."""

    def begin() -> Any:
        process.set(owner)
        return asyncio.get_running_loop().create_task(work)

    task: SimTask = copy_context().run(begin)
    return task


def broken(details: str, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details=details)


@dataclass
class Link:
    """Between one machine and the server's."""

    is_cut: bool = False
    extra_s: float = 0.0  # on each message
    streams: "list[Stream]" = field(default_factory=list)
    doubles: int = 0  # so many of the next messages from the machine come twice


class Network:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.links: dict[str, Link] = {}
        self.listener: Listener | None = None  # of the server that runs now

    def link(self, machine: str) -> Link:
        return self.links.setdefault(machine, Link())

    def cut(self, machine: str) -> None:
        link = self.link(machine)
        link.is_cut = True
        for stream in link.streams:
            stream.silent_since()

    def heal(self, machine: str) -> None:
        link = self.link(machine)
        link.is_cut = False
        for stream in list(link.streams):
            stream.healed()

    def reset(self, machine: str) -> None:
        """All connections break, and both ends hear of it."""
        for stream in list(self.link(machine).streams):
            stream.break_off("Socket closed")

    def lost_client(self, owner: Process, *, is_told: bool) -> None:
        """A machine's process is gone. `is_told`: its kernel closes the connections."""
        for link in self.links.values():
            for stream in list(link.streams):
                if stream.client is owner:
                    stream.client_gone(is_told=is_told)


class Listener:
    """The server's end. `owner`: the server's process."""

    def __init__(self, owner: Process) -> None:
        self.owner = owner
        self._generic: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._generic += handlers

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """The same are given as generic handlers."""

    def handler(self, method: str) -> Any:
        details = _Details(method)
        for it in self._generic:
            if (found := it.service(details)) is not None:
                return found
        raise LookupError(method)


@dataclass(frozen=True)
class _Details:
    method: str
    invocation_metadata: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Peer:
    """Who dials, by its certificate."""

    host_id: str
    certificate_pem: bytes


_END = object()


class Stream:
    """One bidirectional call."""

    def __init__(
        self, network: Network, machine: str, peer: Peer, method: str, client: Process,
        serialize: Callable[[Any], bytes] = lambda it: it.SerializeToString(),
        deserialize: Callable[[bytes], Any] | None = None,
    ) -> None:  # fmt: skip
        self._network = network
        self.link = network.link(machine)
        self._peer = peer
        self._method = method
        self.client = client
        self._serialize, self._deserialize = serialize, deserialize
        self._to_server: asyncio.Queue[Any] = asyncio.Queue()
        self._to_client: asyncio.Queue[Any] = asyncio.Queue()
        self._held: deque[tuple[bool, Any]] = deque()  # while the link is cut: (to the server, what)
        self._last_s = [0.0, 0.0]
        self._server_task: SimTask | None = None
        self._sender: SimTask | None = None
        self._owner: Process | None = None  # the server's process that answers
        self.is_server_done = self.is_client_done = False
        self._loop = asyncio.get_running_loop()
        self._giving_up: asyncio.TimerHandle | None = None

    def open(self, outgoing: AsyncIterator[Any]) -> None:
        listener = self._network.listener
        if self.link.is_cut or listener is None or listener.owner.is_dead:
            why = "keepalive watchdog" if self.link.is_cut else "Connection refused"
            after_s = KEEPALIVE_S if self.link.is_cut else self._delay_s()
            self._loop.call_later(after_s, self._client_ends, broken(why))
            self.is_server_done = True
            return
        self.link.streams.append(self)
        self._sender = spawn(self.client, self._send_all(outgoing))
        self._carry(True, ("open", listener))

    # --- the client's side ---

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> Any:
        item = await self._to_client.get()
        if isinstance(item, AioRpcError):
            self._to_client.put_nowait(item)
            raise item
        if item is _END:
            self._to_client.put_nowait(item)
            raise StopAsyncIteration
        return item

    async def _send_all(self, outgoing: AsyncIterator[Any]) -> None:
        async for message in outgoing:
            if self.is_client_done:
                return
            data = self._serialize(message)
            self._carry(True, ("message", data))
            if self.link.doubles > 0 and self._method == DOUBLED:
                self.link.doubles -= 1
                self._carry(True, ("message", data))

    def close(self) -> None:
        """The client hangs up."""
        if not self.is_client_done:
            self.is_client_done = True
            self._stop_sending()
            self._carry(True, ("gone", None))

    def client_gone(self, *, is_told: bool) -> None:
        self.is_client_done = True
        if is_told:
            self._carry(True, ("gone", None))
        else:
            self._loop.call_later(60.0, self._forget)

    # --- the wire ---

    def _delay_s(self) -> float:
        return self._network.rng.uniform(FASTEST_S, SLOWEST_S) + self.link.extra_s

    def _carry(self, to_server: bool, what: Any) -> None:
        if self.link.is_cut:
            self._held.append((to_server, what))
            return
        at_s = max(self._last_s[to_server] + 1e-6, self._loop.time() + self._delay_s())
        self._last_s[to_server] = at_s
        self._loop.call_at(at_s, self._arrives, to_server, what)

    def _arrives(self, to_server: bool, what: Any) -> None:
        if self.link.is_cut:  # it was under way
            self._held.append((to_server, what))
        elif to_server:
            self._at_server(*what)
        else:
            self._at_client(*what)

    def silent_since(self) -> None:
        if self._giving_up is None and not self.is_client_done:
            self._giving_up = self._loop.call_later(KEEPALIVE_S, self._give_up)

    def _give_up(self) -> None:
        if self.link.is_cut and not self.is_client_done:
            self._client_ends(broken("keepalive watchdog timeout"))

    def healed(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None
        held, self._held = self._held, deque()
        for to_server, what in held:
            self._carry(to_server, what)
        if self.is_client_done:
            self._carry(True, ("gone", None))

    def break_off(self, why: str) -> None:
        self._client_ends(broken(why))
        self._server_ends()

    def server_gone(self, owner: Process) -> None:
        """The server's process is dead; its kernel closes the connection."""
        if self._server_task is not None and not self.is_server_done and self._owner is owner:
            self.is_server_done = True
            self._carry(False, ("error", broken("Socket closed")))

    def _forget(self) -> None:
        if self in self.link.streams:
            self.link.streams.remove(self)

    # --- what arrives ---

    def _at_server(self, kind: str, data: Any) -> None:
        match kind:
            case "open":
                if data.owner.is_dead:
                    self._carry(False, ("error", broken("Connection refused")))
                    return
                self._owner = data.owner
                self._server_task = spawn(data.owner, self._serve(data))
            case "message":
                self._to_server.put_nowait(data)
            case "gone":
                self._server_ends()
                self._forget()

    def _server_ends(self) -> None:
        if not self.is_server_done:
            self.is_server_done = True
            self._to_server.put_nowait(_END)
            if self._server_task is not None:
                self._server_task.cancel()

    def _at_client(self, kind: str, data: Any) -> None:
        if self.is_client_done:
            return
        match kind:
            case "message":
                self._to_client.put_nowait(self._deserialize(data) if self._deserialize else data)
            case "error":
                self._client_ends(data)
            case "end":
                self._client_ends(_END)

    def _client_ends(self, why: Any) -> None:
        if not self.is_client_done:
            self.is_client_done = True
            self._stop_sending()
            self._to_client.put_nowait(why)
            if self.is_server_done:
                self._forget()

    def _stop_sending(self) -> None:
        if self._sender is not None:
            self._sender.cancel()

    # --- the server's side ---

    async def _serve(self, listener: Listener) -> None:
        handler = listener.handler(self._method)
        context = Context(self, handler.response_serializer)
        try:
            await handler.stream_stream(self._requests(handler.request_deserializer), context)
        except grpc.aio.AbortError:
            pass
        except asyncio.CancelledError:
            self._server_over(broken("Socket closed"))
            raise
        except Exception as error:
            self._server_over(broken(f"Unexpected {type(error).__name__}: {error}", grpc.StatusCode.UNKNOWN))
            raise
        self._server_over(None)

    def _server_over(self, error: AioRpcError | None) -> None:
        if not self.is_server_done:
            self.is_server_done = True
            self._carry(False, ("end", None) if error is None else ("error", error))

    async def _requests(self, deserialize: Callable[[bytes], Any]) -> AsyncIterator[Any]:
        while (data := await self._to_server.get()) is not _END:
            yield deserialize(data)

    def answer(self, data: bytes) -> None:
        if self.is_server_done:
            raise grpc.aio.UsageError("RPC already finished.")
        self._carry(False, ("message", data))

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        if not self.is_server_done:
            self.is_server_done = True
            self._carry(False, ("error", broken(details, code)))
        raise grpc.aio.AbortError("Locally aborted.")


class Context:
    """A ServicerContext."""

    def __init__(self, stream: Stream, serialize: Callable[[Any], bytes]) -> None:
        self._stream = stream
        self._serialize = serialize

    def auth_context(self) -> dict[str, list[bytes]]:
        peer = self._stream._peer
        return {"x509_common_name": [peer.host_id.encode()], "x509_pem_cert": [peer.certificate_pem]}

    def peer(self) -> str:
        return "ipv4:10.0.0.1:1"

    async def write(self, message: Any) -> None:
        self._stream.answer(self._serialize(message))
        await asyncio.sleep(0)

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        await self._stream.abort(code, details)

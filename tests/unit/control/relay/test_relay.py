"""relay: two servers on loopback with mutual TLS, one leads. A caller meets at the other what it would meet at the leader."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import grpc
import pytest
from fixtures.control import State
from fixtures.plane import key_pem, new_request
from homeport_control.agents.peers import peer_host_id
from homeport_control.listeners import grpc_server
from homeport_control.relay.door import Door
from homeport_control.relay.forward import Forward
from homeport_control.relay.handlers import Handlers
from homeport_control.relay.leader import LeaderChannel
from homeport_control.trust.callers import caller_peer, is_from_server
from rig.ports import free_port

DEADLINE_S = 10.0
HOLD_S = 1.0
OPTIONS = (("grpc.ssl_target_name_override", "homeport-server"), ("grpc.max_receive_message_length", -1))
API = "/test.Api/"


class Service:
    """What the leader's handlers are; it tells what they met."""

    def __init__(self) -> None:
        self.met: asyncio.Queue[str] = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.sent = 0

    async def unary(self, request: bytes, context: Any) -> bytes:
        return request.upper()

    async def who(self, request: bytes, context: Any) -> bytes:
        said = dict(context.invocation_metadata())
        context.set_trailing_metadata((("after", "all"), ("raw-bin", b"\x00\xff")))
        remaining_s = context.time_remaining()
        left = "none" if remaining_s is None else str(5 < remaining_s <= 20)
        return f"{peer_host_id(context)} {caller_peer(context)} {said.get('authorization')} {left}".encode()

    async def fails(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no: ünot", trailing_metadata=(("why-bin", b"\x01"),))
        return b""

    async def counts(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            for number in range(int(request)):
                yield str(number).encode()
                self.sent += 1
            self.met.put_nowait("counted")
        finally:
            self.met.put_nowait("over")

    async def large(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        for _ in range(int(request)):
            yield bytes(1 << 20)
            self.sent += 1

    async def both(self, requests: Any, context: Any) -> None:
        async for request in requests:
            await context.write(b"re:" + request)
        await context.write(b"bye")

    async def waits(self, requests: Any, context: Any) -> None:
        try:
            await context.write(b"waiting")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.met.put_nowait("cancelled")
            raise

    def handlers(self) -> Handlers:
        made = Handlers()
        methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Who": grpc.unary_unary_rpc_method_handler(self.who),
            "Fails": grpc.unary_unary_rpc_method_handler(self.fails),
            "Counts": grpc.unary_stream_rpc_method_handler(self.counts),
            "Large": grpc.unary_stream_rpc_method_handler(self.large),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Waits": grpc.stream_stream_rpc_method_handler(self.waits),
        }
        for name in ("test.Link", "test.Api"):
            made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
        return made


class Server:
    """One of several: its link port, its API port, its doors."""

    def __init__(self, state: State, name: str) -> None:
        self.link_port, self.api_port = free_port(), free_port()
        pair = state.ca.server_pair()
        self.leader = LeaderChannel(state.ca.pem, pair)
        forward = Forward(self.leader, name, hold_s=HOLD_S)
        self.link_door = Door(forward, lambda method: not method.startswith(API), lambda method: method.startswith(API))
        self.api_door = Door(forward, lambda method: method.startswith(API))
        self.link = grpc_server("127.0.0.1", self.link_port, pair, client_ca=state.ca.pem)
        self.link.add_generic_rpc_handlers((self.link_door,))
        self.api = grpc_server("127.0.0.1", self.api_port, pair)
        self.api.add_generic_rpc_handlers((self.api_door,))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.link_port}"

    def open(self, service: Service) -> None:
        handlers = service.handlers()
        self.link_door.open(handlers)
        self.api_door.open(handlers)

    async def start(self) -> "Server":
        await self.link.start()
        await self.api.start()
        return self

    async def close(self) -> None:
        await self.leader.close()
        await self.link.stop(0)
        await self.api.stop(0)


class Two:
    """`leads` and `follows`, and channels of a host to both."""

    def __init__(self, state: State, leads: Server, follows: Server, service: Service) -> None:
        self.state, self.leads, self.follows, self.service = state, leads, follows, service
        key, csr = new_request()
        certificate = state.ca.sign_host(csr, "h1").encode()
        self._host = grpc.ssl_channel_credentials(state.ca.pem, key_pem(key), certificate)
        self._user = grpc.ssl_channel_credentials(state.ca.pem)
        self._channels: list[grpc.aio.Channel] = []

    def link(self, server: Server, *more: tuple[str, Any]) -> grpc.aio.Channel:
        return self._kept(grpc.aio.secure_channel(server.address, self._host, options=(*OPTIONS, *more)))

    def api(self, server: Server) -> grpc.aio.Channel:
        return self._kept(grpc.aio.secure_channel(f"127.0.0.1:{server.api_port}", self._user, options=OPTIONS))

    def _kept(self, channel: grpc.aio.Channel) -> grpc.aio.Channel:
        self._channels.append(channel)
        return channel

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()
        await self.follows.close()
        await self.leads.close()


@pytest.fixture
async def two(state: State) -> AsyncIterator[Two]:
    leads, follows = await Server(state, "one").start(), await Server(state, "two").start()
    service = Service()
    leads.open(service)
    follows.leader.is_at(leads.address, 1)
    made = Two(state, leads, follows, service)
    try:
        yield made
    finally:
        await made.close()


async def unary(channel: grpc.aio.Channel, method: str, request: bytes = b"x", **more: Any) -> bytes:
    answer: bytes = await channel.unary_unary(method)(request, timeout=more.pop("timeout", DEADLINE_S), **more)
    return answer


async def fails_with(code: grpc.StatusCode, waiting: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(DEADLINE_S):
            await waiting
    assert caught.value.code() is code, caught.value
    return caught.value


async def test_a_call_is_answered_by_the_leader_wherever_it_comes_in(two: Two) -> None:
    for server in (two.leads, two.follows):
        assert await unary(two.link(server), "/test.Link/Unary", b"abc") == b"ABC"
        assert await unary(two.api(server), "/test.Api/Unary", b"abc") == b"ABC"


async def test_the_leader_hears_who_calls_from_where_with_what_and_until_when(two: Two) -> None:
    for server in (two.leads, two.follows):
        call = two.link(server).unary_unary("/test.Link/Who")(
            b"", timeout=20, metadata=(("authorization", "Bearer t"),)
        )
        host, peer, token, left = (await call).decode().replace("Bearer t", "Bearer-t").split()
        assert (host, token, left) == ("h1", "Bearer-t", "True")
        assert peer.startswith("ipv4:127.0.0.1:")
        trailing = dict(await call.trailing_metadata())
        assert (trailing["after"], trailing["raw-bin"]) == ("all", b"\x00\xff")
        assert (await unary(two.link(server), "/test.Link/Who", timeout=None)).endswith(b"none")


async def test_who_claims_to_be_passed_on_is_believed_nothing(two: Two) -> None:
    other = two.state.ca.sign_host(new_request()[1], "h2")
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    der = x509.load_pem_x509_certificate(other.encode()).public_bytes(Encoding.DER)
    forged = (("homeport-caller-certificate-bin", der), ("homeport-caller-peer", "ipv4:9.9.9.9:9"))
    for server in (two.leads, two.follows):
        said = await unary(two.link(server), "/test.Link/Who", metadata=forged)
        assert said.startswith(b"h1 ipv4:127.0.0.1"), said


async def test_a_port_takes_only_what_is_its_own(two: Two) -> None:
    for server in (two.leads, two.follows):
        await fails_with(grpc.StatusCode.UNIMPLEMENTED, unary(two.link(server), "/test.Api/Unary"))
        await fails_with(grpc.StatusCode.UNIMPLEMENTED, unary(two.api(server), "/test.Link/Unary"))
        await fails_with(grpc.StatusCode.UNIMPLEMENTED, unary(two.link(server), "/test.Link/None"))


async def test_an_error_comes_as_it_was(two: Two) -> None:
    for server in (two.leads, two.follows):
        error = await fails_with(grpc.StatusCode.FAILED_PRECONDITION, unary(two.link(server), "/test.Link/Fails"))
        assert error.details() == "no: ünot"
        assert ("why-bin", b"\x01") in list(error.trailing_metadata())


async def test_a_stream_of_answers_comes_whole(two: Two) -> None:
    call = two.link(two.follows).unary_stream("/test.Link/Counts")(b"2000", timeout=DEADLINE_S)
    assert [int(answer) async for answer in call] == list(range(2000))


async def test_both_ways_at_once_with_the_end_of_one_side_passed_on(two: Two) -> None:
    call = two.link(two.follows).stream_stream("/test.Link/Both")(timeout=DEADLINE_S)
    for number in range(50):
        await call.write(str(number).encode())
        assert await call.read() == f"re:{number}".encode()
    await call.done_writing()
    assert await call.read() == b"bye"
    assert await call.read() is grpc.aio.EOF


async def test_a_message_as_large_as_the_port_takes(two: Two) -> None:
    body = bytes(range(256)) * (15 << 12)  # 15 MiB
    assert await unary(two.link(two.follows), "/test.Link/Unary", body) == body.upper()


async def test_a_caller_that_goes_away_ends_the_call_at_the_leader(two: Two) -> None:
    call = two.link(two.follows).stream_stream("/test.Link/Waits")(timeout=DEADLINE_S)
    assert await call.read() == b"waiting"
    call.cancel()
    async with asyncio.timeout(DEADLINE_S):
        assert await two.service.met.get() == "cancelled"


async def test_who_does_not_read_holds_the_leader_back_and_nobody_else(two: Two) -> None:
    slow = two.link(two.follows, ("grpc.http2.lookahead_bytes", 1 << 16))
    call = slow.unary_stream("/test.Link/Large")(b"500", timeout=3 * DEADLINE_S)
    assert len(await call.read()) == 1 << 20
    quick = two.link(two.follows)
    for _ in range(100):
        assert await unary(quick, "/test.Link/Unary", b"x") == b"X"
    seen = -1
    while seen != two.service.sent:  # until it stands still for two hundred answers of the other one
        seen = two.service.sent
        for _ in range(200):
            assert await unary(quick, "/test.Link/Unary", b"x") == b"X"
    assert seen < 100, "it was not held back"
    read = 1
    while await call.read() is not grpc.aio.EOF:
        read += 1
    assert read == 500


async def test_a_leader_that_dies_in_the_middle_is_told_and_the_next_one_serves(two: Two) -> None:
    channel = two.link(two.follows)
    call = channel.stream_stream("/test.Link/Waits")(timeout=DEADLINE_S)
    assert await call.read() == b"waiting"
    await two.leads.link.stop(0)
    await fails_with(grpc.StatusCode.UNAVAILABLE, call.read())
    again = asyncio.create_task(unary(channel, "/test.Link/Unary", b"held"))
    two.follows.open(two.service)  # it leads itself by now
    two.follows.leader.is_at(two.follows.address, 2)
    assert await again == b"HELD"


async def test_a_change_of_leader_ends_what_goes_to_the_one_before(two: Two) -> None:
    """Also when that one has only been stopped, and says nothing."""
    call = two.link(two.follows).stream_stream("/test.Link/Waits")(timeout=DEADLINE_S)
    assert await call.read() == b"waiting"
    two.follows.leader.is_at("", 0)
    error = await fails_with(grpc.StatusCode.UNAVAILABLE, call.read())
    assert "another server leads" in (error.details() or "")


async def test_one_that_leads_no_more_ends_its_calls_and_passes_on_the_next(two: Two, state: State) -> None:
    call = two.link(two.leads).stream_stream("/test.Link/Waits")(timeout=DEADLINE_S)
    counts = two.link(two.leads).unary_stream("/test.Link/Counts")(b"100000", timeout=DEADLINE_S)
    assert await call.read() == b"waiting"
    assert await counts.read() == b"0"
    await two.leads.link_door.close(DEADLINE_S)
    error = await fails_with(grpc.StatusCode.UNAVAILABLE, call.read())
    assert "does not lead any more" in (error.details() or "")
    with suppress(grpc.aio.AioRpcError):
        while await counts.read() is not grpc.aio.EOF:
            pass
    assert await counts.code() is grpc.StatusCode.UNAVAILABLE
    async with asyncio.timeout(DEADLINE_S):
        assert {await two.service.met.get(), await two.service.met.get()} == {"cancelled", "over"}
    two.follows.open(two.service)
    two.leads.leader.is_at(two.follows.address, 2)
    assert await unary(two.link(two.leads), "/test.Link/Unary", b"abc") == b"ABC"


async def test_while_nobody_leads_a_call_is_held_and_then_told(two: Two) -> None:
    two.follows.leader.is_at("", 0, "the database is away")
    channel = two.link(two.follows)
    error = await fails_with(grpc.StatusCode.UNAVAILABLE, unary(channel, "/test.Link/Unary"))
    assert "no server that leads could be reached within 1 s: the database is away; try" in (error.details() or "")
    held = asyncio.create_task(unary(channel, "/test.Link/Unary", b"held"))
    await asyncio.sleep(0)
    two.follows.leader.is_at(two.leads.address, 2)
    assert await held == b"HELD"


async def test_a_call_that_reached_one_that_leads_no_more_goes_to_the_next(two: Two) -> None:
    """It was refused before it did anything, so that it may be sent again; its caller sees nothing of it."""
    await two.leads.link_door.close(0)
    channel = two.link(two.follows)
    held = asyncio.create_task(unary(channel, "/test.Link/Unary", b"held"))
    await refused(two.follows)
    two.leads.open(two.service)
    assert await held == b"HELD"


async def refused(server: Server) -> None:
    """It has connected to who leads no more, by what it was told."""
    async with asyncio.timeout(DEADLINE_S):
        await (await server.leader.get(asyncio.get_running_loop().time() + DEADLINE_S)).channel_ready()


async def test_a_call_is_passed_on_once(two: Two) -> None:
    """Two that each take the other for the leader do not send it to and fro."""
    await two.leads.link_door.close(0)
    two.leads.leader.is_at(two.follows.address, 1)
    error = await fails_with(grpc.StatusCode.UNAVAILABLE, unary(two.link(two.follows), "/test.Link/Unary"))
    assert "no server that leads" in (error.details() or "")


async def test_a_hosts_certificate_is_no_servers(two: Two) -> None:
    met: list[bool] = []

    async def look(request: bytes, context: Any) -> bytes:
        met.append(is_from_server(context))
        return b""

    handlers: Callable[[], Handlers] = Handlers
    made = handlers()
    methods = {"Look": grpc.unary_unary_rpc_method_handler(look)}
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Link", methods),))
    two.leads.link_door.open(made)
    await unary(two.link(two.leads), "/test.Link/Look")
    await unary(two.link(two.follows), "/test.Link/Look")
    assert met == [False, True]

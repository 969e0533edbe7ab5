"""relay/inside: pages call the API at the leader's link port, for the token and the address of who looks at them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from fixtures.control import State
from homeport_control.listeners import grpc_server
from homeport_control.relay.door import Door
from homeport_control.relay.forward import Forward
from homeport_control.relay.handlers import Handlers
from homeport_control.relay.inside import SERVICE, Failed, Inside, Reader
from homeport_control.relay.leader import LeaderChannel
from homeport_control.trust.callers import caller_peer
from homeport_protos.api.v1 import api_pb2
from rig.ports import free_port

HOLD_S = 1.0
READER = Reader("secret", "10.1.2.3", 4711)


class Leader:
    """A link port whose door can be opened. `leader` is the way to it."""

    def __init__(self, state: State) -> None:
        self.over = asyncio.Event()
        pair, port = state.ca.server_pair(), free_port()
        self.leader = LeaderChannel(state.ca.pem, pair)
        self.door = Door(Forward(self.leader, "alpha"), lambda _method: False, lambda _method: True)
        self.address = f"127.0.0.1:{port}"
        self.link = grpc_server("127.0.0.1", port, pair, client_ca=state.ca.pem)
        self.link.add_generic_rpc_handlers((self.door,))
        self.inside = Inside(self.leader, "alpha", hold_s=HOLD_S)

    def open(self) -> None:
        made = Handlers()
        who = grpc.unary_unary_rpc_method_handler(
            self.who, api_pb2.GetServerRequest.FromString, api_pb2.GetServerResponse.SerializeToString
        )
        events = grpc.unary_stream_rpc_method_handler(
            self.events, api_pb2.EventsRequest.FromString, api_pb2.EventsResponse.SerializeToString
        )
        methods = {"GetServer": who, "Events": events}
        made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, methods),))
        self.door.open(made)

    async def who(self, _request: Any, context: Any) -> api_pb2.GetServerResponse:
        said = dict(context.invocation_metadata())
        return api_pb2.GetServerResponse(user=said["authorization"], server_id=caller_peer(context))

    async def events(self, request: Any, context: Any) -> AsyncIterator[api_pb2.EventsResponse]:
        try:
            yield api_pb2.EventsResponse(last_id=1)
            if request.follow:
                await asyncio.Event().wait()
            await context.abort(grpc.StatusCode.NOT_FOUND, "no more")
        finally:
            self.over.set()


@pytest.fixture
async def leader(state: State) -> AsyncIterator[Leader]:
    made = Leader(state)
    await made.link.start()
    made.leader.is_at(made.address, 1)
    yield made
    await made.leader.close()
    await made.link.stop(0)


@pytest.mark.parametrize(("host", "peer"), [("10.1.2.3", "ipv4:10.1.2.3:4711"), ("fe80::1", "ipv6:%5Bfe80::1%5D:4711")])
async def test_the_api_meets_the_token_and_the_address_of_the_reader(leader: Leader, host: str, peer: str) -> None:
    leader.open()
    reader = Reader("secret", host, 4711)
    found = await leader.inside.call("GetServer", api_pb2.GetServerRequest(), api_pb2.GetServerResponse, reader)
    assert (found.user, found.server_id) == ("Bearer secret", peer)


async def test_a_stream_gives_its_answers_and_fails_as_the_api_does(leader: Leader) -> None:
    leader.open()
    answers = leader.inside.stream("Events", api_pb2.EventsRequest(), api_pb2.EventsResponse, READER)
    assert (await anext(answers)).last_id == 1
    with pytest.raises(Failed) as caught:
        await anext(answers)
    assert (str(caught.value), caught.value.code) == ("no more", grpc.StatusCode.NOT_FOUND)


async def test_a_reader_that_leaves_ends_the_call(leader: Leader) -> None:
    leader.open()
    request = api_pb2.EventsRequest(follow=True)
    async with aclosing(leader.inside.stream("Events", request, api_pb2.EventsResponse, READER)) as answers:
        assert (await anext(answers)).last_id == 1
    await asyncio.wait_for(leader.over.wait(), 5)


async def test_a_leader_that_is_not_ready_yet_is_waited_for(leader: Leader) -> None:
    calling = asyncio.create_task(
        leader.inside.call("GetServer", api_pb2.GetServerRequest(), api_pb2.GetServerResponse, READER)
    )
    await leader.leader.get(asyncio.get_running_loop().time() + 5)  # it is there, and refuses
    leader.open()
    assert (await calling).user == "Bearer secret"


async def test_nobody_who_leads_is_said_so_in_time(leader: Leader) -> None:
    leader.leader.is_at("", 1, "nobody was elected")
    with pytest.raises(Failed, match="no server that leads could be reached within 1 s: nobody was elected") as caught:
        await leader.inside.call("GetServer", api_pb2.GetServerRequest(), api_pb2.GetServerResponse, READER)
    assert caught.value.code is grpc.StatusCode.UNAVAILABLE


async def test_a_change_of_leader_ends_a_stream_in_words(leader: Leader) -> None:
    leader.open()
    request = api_pb2.EventsRequest(follow=True)
    async with aclosing(leader.inside.stream("Events", request, api_pb2.EventsResponse, READER)) as answers:
        await anext(answers)
        leader.leader.is_at(leader.address, 2)
        with pytest.raises(Failed) as caught:
            await anext(answers)
        assert caught.value.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}

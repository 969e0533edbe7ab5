"""Somebody on the network without a token or a certificate: refused at a known price, and the others go on."""

import asyncio
import socket
import time
from contextlib import ExitStack

import grpc
from fixtures.hostile import ANSWER_S, CLIENT, Victim, bearer
from fixtures.plane import new_request
from homeport_protos.agent.v1 import agent_pb2, agent_pb2_grpc
from homeport_protos.api.v1 import api_pb2, api_pb2_grpc
from homeport_protos.versions import PROTOCOL

ALL_AT_ONCE_MIB = 250.0  # of messages that come at the same time, before it is known who sends them


def test_wrong_tokens_are_refused_unread_after_a_while_and_good_ones_go_on(server: Victim) -> None:
    server.must_be_well()
    codes = []
    for number in range(60):
        wrong = (("authorization", f"Bearer hp_wrong{number}"),)
        try:
            server.stub.GetServer(api_pb2.GetServerRequest(), metadata=wrong, timeout=ANSWER_S)
        except grpc.RpcError as error:
            codes.append(error.code())
            last = error.details() or ""
    assert codes[:10] == [grpc.StatusCode.UNAUTHENTICATED] * 10
    assert codes[-10:] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 10
    assert "too many wrong tokens came from 127.0.0.1; try again in " in last
    server.must_be_well()  # by a token that was good before, from the same address


def test_wrong_join_tokens_are_refused_unread_after_a_while_and_nothing_is_made(server: Victim) -> None:
    _, csr = new_request()
    stub = agent_pb2_grpc.EnrollmentStub(server.channel)  # type: ignore[no-untyped-call]
    before = server.rows("SELECT count(*) FROM hosts")
    codes = []
    for number in range(60):
        request = agent_pb2.JoinRequest(token=f"hpj_{number}", hostname="x", csr_pem=csr, protocol=PROTOCOL)
        try:
            stub.Join(request, timeout=ANSWER_S)
        except grpc.RpcError as error:
            codes.append(error.code())
    assert codes[:10] == [grpc.StatusCode.PERMISSION_DENIED] * 10
    assert codes[-10:] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 10
    assert server.rows("SELECT count(*) FROM hosts") == before


async def test_large_messages_of_strangers_take_a_bounded_memory(server: Victim) -> None:
    before_mib = server.rss_mib
    most_mib = before_mib
    large = api_pb2.PlanRequest(document=api_pb2.Document(json="x" * (15 << 20)))
    larger = api_pb2.PlanRequest(document=api_pb2.Document(json="x" * (17 << 20)))
    credentials = grpc.ssl_channel_credentials(server.ca_pem)
    async with grpc.aio.secure_channel(server.server.address, credentials, CLIENT) as channel:
        stub = api_pb2_grpc.ApiStub(channel)
        calls = [asyncio.ensure_future(stub.Plan(it, timeout=60)) for it in [large] * 12 + [larger] * 12]
        gathered = asyncio.gather(*calls, return_exceptions=True)
        while not gathered.done():
            await asyncio.wait([gathered], timeout=0.1)
            most_mib = max(most_mib, server.rss_mib)
        codes = [it.code() for it in await gathered if isinstance(it, grpc.aio.AioRpcError)]
    assert set(codes) <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(codes) == 24
    print(f"RSS {before_mib:.0f} MiB, at most {most_mib:.0f}, afterwards {server.rss_mib:.0f}")
    assert most_mib - before_mib < ALL_AT_ONCE_MIB
    await asyncio.to_thread(server.must_be_well)


def test_connections_that_say_nothing_keep_nobody_out(server: Victim) -> None:
    ports = (server.server.api_port, server.server.link_port, server.server.api_port + 2)
    with ExitStack() as open_ones:
        for port in ports:
            for _ in range(200):
                open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2))
        began_s = time.monotonic()
        with server.another_channel() as channel:
            stub = api_pb2_grpc.ApiStub(channel)  # type: ignore[no-untyped-call]
            stub.GetServer(api_pb2.GetServerRequest(), metadata=bearer("admin"), timeout=ANSWER_S)
        assert time.monotonic() - began_s < ANSWER_S
    server.must_be_well()

"""listeners: ports that are taken in words, TLS with our CA on each."""

import asyncio
import socket
import ssl
import stat
from pathlib import Path

import grpc
import pytest
from fixtures.control import DEADLINE_S, State
from fixtures.plane import CLIENT_OPTIONS
from homeport_control.domain.errors import NotReady
from homeport_control.listeners import check_free, grpc_server, web_server
from homeport_control.trust.ca import CertificateAuthority
from homeport_control.web.downloads import Downloads
from homeport_control.web.server import web_app
from rig.ports import free_port


def test_a_port_that_is_taken_is_named_with_what_to_do() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(NotReady, match=f"cannot listen on 127.0.0.1:{port}: Address already in use; stop what"):
            check_free("127.0.0.1", port)
    check_free("127.0.0.1", port)


def test_an_address_that_is_not_this_machines_is_named() -> None:
    with pytest.raises(NotReady, match=r"cannot listen on 192\.0\.2\.1:7400: Cannot assign requested address"):
        check_free("192.0.2.1", 7400)


DOWNLOADS = Downloads("1", b"", b"", "homeport-1-py3-none-any.whl", b"", Path("/nowhere"), 7401)


async def test_two_servers_do_not_share_a_port(state: State) -> None:
    port, pair = free_port(), state.ca.server_pair()
    server = grpc_server("127.0.0.1", port, pair)
    await server.start()
    with pytest.raises(NotReady):
        grpc_server("127.0.0.1", port, pair)
    await server.stop(None)


async def test_a_client_that_pins_another_ca_does_not_talk(state: State, tmp_path: Path) -> None:
    port = free_port()
    server = grpc_server("127.0.0.1", port, state.ca.server_pair())
    await server.start()
    foreign = CertificateAuthority.load_or_create(tmp_path / "foreign", "x")
    for pem, is_ours in ((state.ca.pem, True), (foreign.pem, False)):
        credentials = grpc.ssl_channel_credentials(pem)
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, CLIENT_OPTIONS) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/no.Such/Method")(b"", timeout=DEADLINE_S)
        expected = grpc.StatusCode.UNIMPLEMENTED if is_ours else grpc.StatusCode.UNAVAILABLE
        assert caught.value.code() is expected
    await server.stop(None)


async def test_the_web_server_answers_over_tls_and_ends_when_it_is_told(state: State) -> None:
    port = free_port()
    server = web_server(web_app(state.ca.pem, DOWNLOADS), "127.0.0.1", port, state.ca.server_pair(), state.directory)
    assert stat.S_IMODE((state.directory / "server.key").stat().st_mode) == 0o600
    serving = asyncio.create_task(server.serve())
    context = ssl.create_default_context(cadata=state.ca.pem.decode())
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, ssl=context, server_hostname="localhost"
                )
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)  # uvicorn has no event for "listens"
        writer.write(b"GET /ca.pem HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(state.ca.pem)
        server.should_exit = True
        await serving

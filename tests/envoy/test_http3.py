"""HTTP/3 at the gateway, with a real Envoy and a real client: the same services, tokens and certificates as by HTTPS."""

import asyncio
import socket
import ssl
import time
from dataclasses import replace

import pytest
from homeport_control.domain.gateway import GatewaySnapshot, ServedCertificate
from homeport_control.loops.acknowledged import Acknowledged
from homeport_control.trust import gateway_ca
from homeport_control.trust.ca import KeyPair
from rig.gateway import TOKEN, Gateway, Replica, replicas
from rig.http3 import http3
from rig.ports import free_port

pytestmark = pytest.mark.envoy
NAME = "hello.lab.localhost"


class Lab:
    """A gateway at `lab.localhost` with HTTP/3, and its CA."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = free_port()
        self.ca = gateway_ca.new_ca("lab", time.time())

    @property
    def ca_pem(self) -> bytes:
        return self.ca.certificate_pem

    def wildcard(self) -> KeyPair:
        return gateway_ca.issue(self.ca, "*.lab.localhost", time.time())

    def snapshot(self, replica: Replica, pair: KeyPair | None, *, on: bool = True) -> GatewaySnapshot:
        base = self.gateway.snapshot(replica.endpoint())
        services = tuple(replace(it, domains=(NAME,), plain=False, secure=True) for it in base.services)
        shown = ()
        if pair is not None:
            names = ("*", NAME) if on else (NAME,)
            text = pair.certificate_pem.decode(), pair.key_pem.decode()
            shown = tuple(ServedCertificate(name, *text) for name in names)
        return replace(
            base, domain="lab.localhost", https_port=self.port, services=services, certificates=shown, http3=on
        )


@pytest.fixture
def lab(gateway: Gateway) -> Lab:
    return Lab(gateway)


async def test_a_service_is_called_with_its_token_and_the_gateway_answers_as_by_https(lab: Lab) -> None:
    async with replicas("a") as (a,):
        await lab.gateway.control.publish(lab.snapshot(a, lab.wildcard()))
        async with http3(lab.port, NAME, lab.ca_pem) as client:
            answer = await client.ask(NAME, "/x", TOKEN)
            assert answer.status == 200
            assert answer.headers["alt-svc"] == f'h3=":{lab.port}"; ma=3600'
            seen = answer.json()
            assert (seen["replica"], seen["path"]) == ("a", "/x")
            assert seen["headers"]["x-forwarded-proto"] == "https"  # type: ignore[index]
            assert "authorization" not in seen["headers"]  # type: ignore[operator]
            big = await client.ask(NAME, "/", TOKEN, b"x" * 3_000_000)
            assert big.json()["body_bytes"] == 3_000_000
            assert (await client.ask(NAME, "/", "wrong")).status == 403
            assert (await client.ask(NAME, "/")).status == 401
            assert (await client.ask("other.lab.localhost", "/", TOKEN)).status == 404
        (line, *_) = await lab.gateway.access(5)
        assert (line["protocol"], line["service"], line["replica"]) == ("HTTP/3", "hello", "a")


async def test_a_certificate_is_swapped_and_neither_connection_stream_nor_listener_notices(lab: Lab) -> None:
    async with replicas("a") as (a,):
        await lab.gateway.control.publish(lab.snapshot(a, lab.wildcard()))
        async with http3(lab.port, NAME, lab.ca_pem) as client:
            stream = client.send(NAME, "/hold", TOKEN)
            await client.whole(stream, until=b"first")
            lab.ca = gateway_ca.new_ca("another", time.time())
            await lab.gateway.control.publish(lab.snapshot(a, lab.wildcard()))
            async with http3(lab.port, NAME, lab.ca_pem) as another:
                assert (await another.ask(NAME, "/", TOKEN)).status == 200
            assert (await client.ask(NAME, "/", TOKEN)).status == 200
            a.release.set()
            assert (await client.whole(stream)).body == b"firstlast"


async def test_before_there_is_a_certificate_there_is_no_handshake_and_https_tells_nobody(lab: Lab) -> None:
    async with replicas("a") as (a,):
        await lab.gateway.control.publish(lab.snapshot(a, None))
        with pytest.raises((ConnectionError, TimeoutError)):
            async with http3(lab.port, NAME, lab.ca_pem, connect_s=2):
                pass
        await lab.gateway.control.publish(lab.snapshot(a, lab.wildcard()))
        async with http3(lab.port, NAME, lab.ca_pem) as client:
            assert (await client.ask(NAME, "/", TOKEN)).status == 200
            await lab.gateway.control.publish(lab.snapshot(a, None))
            assert (await client.ask(NAME, "/", TOKEN)).status == 200, "who is connected stays"
            async with http3(lab.port, NAME, lab.ca_pem) as another:  # Envoy keeps the last one until another comes
                assert "alt-svc" not in (await another.ask(NAME, "/", TOKEN)).headers
        assert lab.gateway.control.nacked == []


async def test_it_is_told_by_https_while_it_is_on_and_turning_it_touches_no_connection_by_tcp(lab: Lab) -> None:
    pair = lab.wildcard()
    context = ssl.create_default_context(cadata=lab.ca_pem.decode())

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(f"GET / HTTP/1.1\r\nhost: {NAME}\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line for line in head.splitlines() if line.startswith("content-length"))
        await reader.readexactly(int(length.split(":")[1]))
        return head

    async with replicas("a") as (a,):
        await lab.gateway.control.publish(lab.snapshot(a, pair, on=False))
        kept = await asyncio.open_connection("127.0.0.1", lab.port, ssl=context, server_hostname=NAME)
        assert "alt-svc" not in await ask(*kept)
        with pytest.raises((ConnectionError, TimeoutError)):
            async with http3(lab.port, NAME, lab.ca_pem, connect_s=2):
                pass
        await lab.gateway.control.publish(lab.snapshot(a, pair))
        assert f'alt-svc: h3=":{lab.port}"; ma=3600' in await ask(*kept)
        async with http3(lab.port, NAME, lab.ca_pem) as client:
            assert (await client.ask(NAME, "/", TOKEN)).status == 200
        await lab.gateway.control.publish(lab.snapshot(a, pair, on=False))
        assert "alt-svc" not in await ask(*kept)


@pytest.mark.slow
async def test_a_silent_stream_is_kept_open(lab: Lab) -> None:
    async with replicas("a") as (a,):
        await lab.gateway.control.publish(lab.snapshot(a, lab.wildcard()))
        async with http3(lab.port, NAME, lab.ca_pem, idle_s=8) as client:  # who hears nothing for so long gives up
            stream = client.send(NAME, "/hold", TOKEN)
            await client.whole(stream, until=b"first")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(10):
                    await client.wait_closed()
            a.release.set()
            assert (await client.whole(stream)).body == b"firstlast"


async def test_a_port_that_is_taken_is_a_refusal_that_names_its_listener_and_the_rest_is_served(lab: Lab) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", lab.port))
        async with replicas("a") as (a,):
            pair, control = lab.wildcard(), lab.gateway.control
            version = control.xds.publish(lab.snapshot(a, pair))
            assert not await control.xds.wait_acked("local", version, 10)
            known = Acknowledged("local", "h1")
            known.take_nack(control.nacked[-1][1], 0.0)
            assert f"cannot bind '127.0.0.1:{lab.port}': Address already in use" in known.http3_off
            await control.publish(lab.snapshot(a, pair, on=False))
            context = ssl.create_default_context(cadata=lab.ca_pem.decode())
            _, writer = await asyncio.open_connection("127.0.0.1", lab.port, ssl=context, server_hostname=NAME)
            writer.close()
    await control.publish(lab.snapshot(a, pair))
    async with http3(lab.port, NAME, lab.ca_pem):
        pass

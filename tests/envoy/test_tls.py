"""TLS at the gateway, with a real Envoy: certificates by name, swapped under traffic, late, missing, old; HTTP sent on."""

import asyncio
import ssl
import time
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from homeport_control.domain.gateway import GatewaySnapshot, ServedCertificate
from homeport_control.trust import gateway_ca
from homeport_control.trust.ca import KeyPair
from rig.gateway import TOKEN, Gateway, Replica, read_body, read_head, replicas
from rig.ports import free_port

pytestmark = pytest.mark.envoy
NAMES = ("gateway.localhost", "hello.localhost")


class Tls:
    """A gateway that speaks TLS, and its CA."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.port = free_port()
        self.ca = gateway_ca.new_ca("local", time.time())
        self.served = {name: self.issue(name) for name in NAMES}

    def issue(self, name: str, now_s: float | None = None) -> KeyPair:
        return gateway_ca.issue(self.ca, name, now_s or time.time())

    def snapshot(self, replica: Replica, **changed: Any) -> GatewaySnapshot:
        base = self.gateway.snapshot(replica.endpoint())
        shown = {"": self.served["gateway.localhost"], **self.served} if "gateway.localhost" in self.served else {}
        certificates = tuple(
            ServedCertificate(name, pair.certificate_pem.decode(), pair.key_pem.decode())
            for name, pair in sorted((shown or self.served).items())
        )
        services = tuple(replace(it, plain=changed.get("plain", False), secure=True) for it in base.services)
        return replace(base, https_port=self.port, services=services, certificates=certificates, plain_models=False)

    def context(self, *, verify: bool = True, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.certificate_pem.decode())
        if not verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(list(alpn))
        return context

    async def connect(
        self, name: str | None = "hello.localhost", **how: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = how.pop("context", None) or self.context(**how)
        async with asyncio.timeout(10):
            return await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name or "")

    async def serial(self, name: str = "hello.localhost", **how: Any) -> int:
        _, writer = await self.connect(name, **how)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(der).serial_number


async def ask(connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str = "/") -> tuple[str, bytes]:
    reader, writer = connection
    writer.write(f"GET {path} HTTP/1.1\r\nhost: hello.localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        _, status, headers = await read_head(reader)
        return status, await read_body(reader, headers)


def serial(pair: KeyPair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate_pem).serial_number


@pytest.fixture
def tls(gateway: Gateway) -> Tls:
    return Tls(gateway)


async def test_each_name_has_its_certificate_and_requests_reach_the_replica(tls: Tls) -> None:
    async with replicas("a") as (a,):
        await tls.gateway.control.publish(tls.snapshot(a))
        status, body = await ask(await tls.connect())
        assert (status, b'"replica": "a"' in body) == ("200", True)
        assert b'"x-forwarded-proto": "https"' in body
        for name in NAMES:
            assert await tls.serial(name) == serial(tls.served[name])
        assert await tls.serial("", verify=False) == serial(tls.served["gateway.localhost"]), "who says no name"


async def test_http2_is_chosen_by_alpn_and_old_tls_is_refused(tls: Tls) -> None:
    async with replicas("a") as (a,):
        await tls.gateway.control.publish(tls.snapshot(a))
        _, writer = await tls.connect(alpn=("h2", "http/1.1"))
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()
        old = tls.context(verify=False)
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await tls.connect(context=old)


async def test_a_certificate_is_swapped_and_no_connection_and_no_stream_notices(tls: Tls) -> None:
    async with replicas("a") as (a,):
        await tls.gateway.control.publish(tls.snapshot(a))
        kept, stream = await tls.connect(), await tls.connect()
        reader, writer = stream
        writer.write(f"GET /hold HTTP/1.1\r\nhost: hello.localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n".encode())
        _, status, headers = await read_head(reader)
        assert status == "200"
        for _ in range(3):
            tls.served["hello.localhost"] = tls.issue("hello.localhost")
            await tls.gateway.control.publish(tls.snapshot(a))
            assert await tls.serial() == serial(tls.served["hello.localhost"])
        assert (await ask(kept))[0] == "200"
        a.release.set()
        assert await read_body(reader, headers) == b"firstlast"


async def test_a_name_without_a_certificate_is_told_at_once_and_served_when_it_comes(tls: Tls) -> None:
    async with replicas("a") as (a,):
        late = tls.served.pop("hello.localhost")
        await tls.gateway.control.publish(tls.snapshot(a))
        for name in ("hello.localhost", "made-up.example"):
            began_s = time.monotonic()
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await tls.connect(name)
            assert time.monotonic() - began_s < 2
        tls.served["hello.localhost"] = late
        await tls.gateway.control.publish(tls.snapshot(a))
        assert (await ask(await tls.connect()))[0] == "200"
        assert tls.gateway.control.nacked == []


async def test_one_that_has_expired_is_served_on(tls: Tls) -> None:
    async with replicas("a") as (a,):
        tls.served["hello.localhost"] = tls.issue("hello.localhost", time.time() - 100 * 86400)
        await tls.gateway.control.publish(tls.snapshot(a))
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            await tls.connect()
        assert (await ask(await tls.connect(verify=False)))[0] == "200"


async def test_a_pair_that_does_not_fit_leaves_the_last_good_one(tls: Tls) -> None:
    async with replicas("a") as (a,):
        await tls.gateway.control.publish(tls.snapshot(a))
        good = serial(tls.served["hello.localhost"])
        assert await tls.serial() == good
        other = tls.issue("hello.localhost")
        tls.served["hello.localhost"] = KeyPair(tls.issue("hello.localhost").certificate_pem, other.key_pem)
        version = tls.gateway.control.xds.publish(tls.snapshot(a))
        assert not await tls.gateway.control.xds.wait_acked("local", version, 10)
        assert await tls.serial() == good


async def test_who_comes_by_http_is_sent_to_https_unless_the_service_is_plain(tls: Tls) -> None:
    async with replicas("a") as (a,):
        await tls.gateway.control.publish(tls.snapshot(a))
        client = tls.gateway.client
        for host, path in (("hello.localhost", "/x?y=1"), ("gateway.localhost", "/v1/models")):
            answer = await client.request(host, path, method="POST", token=None)
            assert answer.status == 308
            assert answer.headers["location"] == f"https://{host}:{tls.port}{path}"
        await tls.gateway.control.publish(tls.snapshot(a, plain=True))
        assert (await client.request()).status == 200


async def test_only_a_trusted_proxy_says_how_the_caller_came(tls: Tls) -> None:
    async with replicas("a") as (a,):
        base = tls.gateway.snapshot(a.endpoint())
        said = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"}
        for trusted, proto in ((), "http"), (("127.0.0.1/32",), "https"), (("10.0.0.0/8",), "http"):
            await tls.gateway.control.publish(replace(base, trusted_addresses=trusted))
            tls.gateway.client.close()
            answer = (await tls.gateway.client.request(headers=said)).json()
            assert answer["headers"]["x-forwarded-proto"] == proto, trusted  # type: ignore[index]

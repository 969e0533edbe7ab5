"""TLS at the gateway, with a real Envoy: certificates by name, swapped under traffic, late, missing, old; HTTP sent on."""

import asyncio
import json
import ssl
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from homeport_control.domain.gateway import GatewaySnapshot, ServedCertificate
from homeport_control.trust import gateway_ca
from homeport_control.trust.ca import KeyPair
from rig.gateway import TOKEN, Gateway, Replica, read_body, read_head, replicas
from rig.keys import pair_of
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


async def ask(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str = "/", more: str = ""
) -> tuple[str, bytes]:
    reader, writer = connection
    head = f"GET {path} HTTP/1.1\r\nhost: hello.localhost\r\n{more}authorization: Bearer {TOKEN}\r\n\r\n"
    writer.write(head.encode())
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


async def test_http2_is_chosen_by_alpn_and_serves(tls: Tls, tmp_path: Path) -> None:
    async with replicas("a") as (a,):
        await tls.gateway.control.publish(tls.snapshot(a))
        _, writer = await tls.connect(alpn=("h2", "http/1.1"))
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()
        (tmp_path / "ca.pem").write_bytes(tls.ca.certificate_pem)
        address = f"hello.localhost:{tls.port}"
        asked = ["--http2", "--cacert", str(tmp_path / "ca.pem"), "--resolve", f"{address}:127.0.0.1"]
        said = ["-w", " %{http_version} %{http_code}", "-H", f"authorization: Bearer {TOKEN}", f"https://{address}/x"]
        client = await asyncio.create_subprocess_exec("curl", "-sS", *asked, *said, stdout=asyncio.subprocess.PIPE)
        out, _ = await client.communicate()
        assert out.endswith(b" 2 200"), out
        assert (await tls.gateway.access(1))[0]["protocol"] == "HTTP/2"


async def test_tls_1_2_and_later_are_spoken_and_nothing_before(tls: Tls) -> None:
    async with replicas("a") as (a,):
        await tls.gateway.control.publish(tls.snapshot(a))
        for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
            context = tls.context()
            context.minimum_version = context.maximum_version = version
            _, writer = await tls.connect(context=context)
            assert writer.get_extra_info("ssl_object").version() == name
            writer.close()
        old = tls.context(verify=False)
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):  # the gateway's alert: it was asked, and refused
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


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        *(ec.generate_private_key(curve()) for curve in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)),
    ],
)
async def test_a_kind_of_key_that_we_take_is_served_and_refused_by_no_listener(tls: Tls, key: Any) -> None:
    tls.served["hello.localhost"] = pair = pair_of(key, "hello.localhost")
    assert gateway_ca.checked(pair.certificate_pem, pair.key_pem)
    for_all = ServedCertificate("*", pair.certificate_pem.decode(), pair.key_pem.decode())
    async with replicas("a") as (a,):
        snapshot = tls.snapshot(a)
        shown = (*snapshot.certificates, for_all)
        await tls.gateway.control.publish(replace(snapshot, http3=True, certificates=shown))
        assert (await ask(await tls.connect(verify=False)))[0] == "200"
        assert tls.gateway.control.nacked == []


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


async def test_by_https_only_a_trusted_proxy_says_who_the_caller_is_and_how_it_came(tls: Tls) -> None:
    async with replicas("a") as (a,):
        base = tls.snapshot(a)
        said = "x-forwarded-proto: http\r\nx-forwarded-for: 203.0.113.9\r\n"
        for trusted, proto, client in ((), "https", "127.0.0.1"), (("127.0.0.1/32",), "http", "203.0.113.9"):
            await tls.gateway.control.publish(replace(base, trusted_addresses=trusted))
            status, body = await ask(await tls.connect(), more=said)
            assert status == "200"
            assert json.loads(body)["headers"]["x-forwarded-proto"] == proto, trusted
            assert (await tls.gateway.access(1 if not trusted else 2))[-1]["client"] == client

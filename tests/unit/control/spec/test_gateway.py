from typing import Any

import pytest
from homeport_control.spec.document import parse
from homeport_control.spec.gateway import Certificate, GatewaySpec
from homeport_control.spec.problems import BadDocument


def gateway(**document: Any) -> GatewaySpec:
    spec = parse({"type": "gateway", "domain": "example.com", **document}).spec
    assert isinstance(spec, GatewaySpec)
    return spec


def test_the_gateway_of_the_reference_is_read() -> None:
    spec = gateway(name="main", default=True, host="local", certificate={"type": "lets-encrypt", "email": "a@b.c"})
    assert spec == GatewaySpec(
        name="main", domain="example.com", default=True, certificate=Certificate(type="lets-encrypt", email="a@b.c")
    )
    assert GatewaySpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("certificate", "kind"),
    [
        ({"type": "acme", "directory": "https://ca/dir"}, "acme"),
        ({"type": "files", "cert": "/c", "key": "/k"}, "files"),
        ({"type": "acme", "directory": "https://ca/dir", "challenge": "dns-01", "hook": "/hook"}, "acme"),
        ({"type": "lets-encrypt", "challenge": "http-01"}, "lets-encrypt"),
        ({"type": "self-signed"}, "self-signed"),
        ("self-signed", "self-signed"),
        (None, "none"),
    ],
)
def test_a_certificate_is_read(certificate: object, kind: str) -> None:
    assert gateway(certificate=certificate).certificate.type == kind


def test_without_a_certificate_it_is_lets_encrypt() -> None:
    assert gateway().certificate.type == "lets-encrypt"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"domain": None}, "domain"),
        ({"domain": "a b"}, "domain"),
        ({"domain": "-a.b"}, "domain"),
        ({"certificate": {"type": "acme"}}, "certificate"),
        ({"certificate": {"type": "files", "cert": "/c"}}, "certificate"),
        ({"certificate": {"type": "self-signed", "email": "a@b.c"}}, "certificate"),
        ({"certificate": {"type": "letsencrypt"}}, "certificate.type"),
        ({"host": ""}, "host"),
        ({"certificate": {"type": "files", "cert": "c.pem", "key": "/k"}}, "certificate"),
        ({"certificate": {"type": "lets-encrypt", "challenge": "dns-01"}}, "certificate"),
        ({"certificate": {"type": "lets-encrypt", "hook": "/h"}}, "certificate"),
        ({"certificate": {"type": "lets-encrypt", "challenge": "dns-01", "hook": "h"}}, "certificate"),
        ({"certificate": {"type": "lets-encrypt", "challenge": "dns"}}, "certificate.challenge"),
        ({"certificate": {"type": "files", "cert": "/c", "key": "/k", "challenge": "http-01"}}, "certificate"),
        ({"http_port": 0}, "http_port"),
        ({"https_port": "443"}, "https_port"),
        ({"address": "eth0"}, "address"),
        ({"trusted_addresses": ["10.0.0.1/8"]}, "trusted_addresses"),
    ],
)
def test_a_wrong_gateway_is_told_with_its_place(document: dict[str, Any], path: str) -> None:
    with pytest.raises(BadDocument) as caught:
        gateway(**document)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_the_star_of_a_wildcard_may_be_written() -> None:
    assert gateway(domain="*.Example.com").domain == "example.com"


def test_it_listens_everywhere_but_a_domain_of_loopback_there() -> None:
    assert gateway().listen_address == "0.0.0.0"  # noqa: S104
    assert gateway(domain="lab.localhost").listen_address == "127.0.0.1"
    assert gateway(address=" ::1 ").listen_address == "::1"
    assert (gateway().http_port, gateway().https_port) == (80, 443)


def test_trusted_addresses_are_networks() -> None:
    found = gateway(trusted_addresses=["10.0.0.0/8", "::1", "10.0.0.0/8"]).trusted_addresses
    assert found == ("10.0.0.0/8", "::1/128")

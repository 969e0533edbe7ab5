"""trust/gateway_ca: what a gateway's CA signs, and which pairs are none."""

import time
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from homeport_control.domain.errors import BadRequest
from homeport_control.trust.gateway_ca import LIFETIME, checked, issue, new_ca
from rig.keys import pair_of

NOW_S = time.time()
CA = new_ca("main", NOW_S)
PAIR = issue(CA, "web.example.com", NOW_S)


def test_a_certificate_is_for_one_name_and_verifies_against_its_ca() -> None:
    certificate = x509.load_pem_x509_certificate(PAIR.certificate_pem)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(CA.certificate_pem))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["web.example.com"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_ca_signs_servers_and_no_further_ca() -> None:
    constraints = x509.load_pem_x509_certificate(CA.certificate_pem).extensions.get_extension_for_class(
        x509.BasicConstraints
    )
    assert (constraints.value.ca, constraints.value.path_length, constraints.critical) == (True, 0, True)


def test_a_name_of_any_length_fits() -> None:
    name = f"{'a' * 60}.{'b' * 60}.example.com"
    assert checked(*_parts(issue(CA, name, NOW_S)))


def test_how_long_a_pair_is_good_is_read() -> None:
    validity = checked(*_parts(PAIR))
    assert validity.not_before_s < NOW_S < validity.not_after_s
    assert abs(validity.not_after_s - NOW_S - LIFETIME.total_seconds()) < 2


def _parts(pair: object) -> tuple[bytes, bytes]:
    return pair.certificate_pem, pair.key_pem  # type: ignore[attr-defined]


def _encrypted() -> bytes:
    key = serialization.load_pem_private_key(PAIR.key_pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )


@pytest.mark.parametrize(
    ("chain", "key", "words"),
    [
        (b"", PAIR.key_pem, "the certificate is not PEM"),
        (b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----", PAIR.key_pem, "the certificate is not PEM"),
        (PAIR.certificate_pem, b"no", "the key is not PEM"),
        (PAIR.certificate_pem, CA.key_pem, "the key is not that of the first certificate"),
        (PAIR.certificate_pem, _encrypted(), "the key is encrypted"),
    ],
)
def test_a_pair_that_envoy_would_refuse_is_told(chain: bytes, key: bytes, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        checked(chain, key)
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "is_served"),
    [
        (rsa.generate_private_key(65537, 1024), False),  # noqa: S505
        (rsa.generate_private_key(65537, 2048), True),
        (ec.generate_private_key(ec.SECP224R1()), False),
        (ec.generate_private_key(ec.SECP384R1()), True),
        (ed25519.Ed25519PrivateKey.generate(), False),
    ],
)
def test_a_kind_of_key_that_envoy_does_not_serve_is_told(key: Any, is_served: bool) -> None:
    pair = _parts(pair_of(key))
    if is_served:
        assert checked(*pair)
    else:
        with pytest.raises(BadRequest, match="Envoy does not serve"):
            checked(*pair)

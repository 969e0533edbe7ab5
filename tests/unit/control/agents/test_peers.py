"""agents/peers: a host is named by its certificate, in two places that must agree."""

import datetime as dt

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fixtures.control import State
from fixtures.plane import new_request
from homeport_control.agents.peers import code_of, peer_host_id
from homeport_control.domain.errors import BadRequest, Denied, NotReady


class context_of:
    """What gRPC says of a call with this certificate; empty: without one."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    def auth_context(self) -> dict[str, list[bytes]]:
        return {"x509_pem_cert": [self._pem]} if self._pem else {}


def certificate(common_name: str, uri: str | None) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(hours=1))
    if uri is not None:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


async def test_a_certificate_that_we_signed_names_its_host(state: State) -> None:
    pem = state.ca.sign_host(new_request()[1], "h1").encode()
    assert peer_host_id(context_of(pem)) == "h1"


@pytest.mark.parametrize(
    ("common_name", "uri"),
    [
        ("h1", None),
        ("h1", "homeport://host/h2"),
        ("h1", "homeport://host/h1/x"),
        ("", "homeport://host/"),
        ("h1", "h1"),
    ],
)
def test_names_that_do_not_agree_are_nobodys(common_name: str, uri: str | None) -> None:
    with pytest.raises(Denied, match="names no host"):
        peer_host_id(context_of(certificate(common_name, uri)))


def test_no_certificate_is_nobody() -> None:
    with pytest.raises(Denied, match="no client certificate"):
        peer_host_id(context_of(b""))


def test_only_a_refusal_says_that_trying_again_is_useless() -> None:
    codes = [code_of(error) for error in (Denied("d"), BadRequest("b"), NotReady("n"))]
    assert codes == [
        grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION,
    ]  # fmt: skip

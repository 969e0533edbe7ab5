"""Who calls: by the certificate at the other end, or, when that is another server, by what it says of whom it passes on.

A server of this CA is trusted to have seen the certificate that it forwards; from anybody else these metadata count for
nothing. Covers the metadata of relayed calls, on both sides. What a host's certificate must say: agents/peers.py.
"""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from homeport_control.trust.ca import SERVER_NAME, SERVER_URI

RELAYED_KEY = "homeport-relayed"  # who passed it on; a call is passed on once
CERTIFICATE_KEY = "homeport-caller-certificate-bin"  # DER
PEER_KEY = "homeport-caller-peer"  # as gRPC writes an address
OWN_KEYS = frozenset({RELAYED_KEY, CERTIFICATE_KEY, PEER_KEY})


def caller_certificate(context: Any) -> x509.Certificate | None:
    """Of who made the call, wherever it came in; None: without one."""
    pem = _first(context, "x509_pem_cert")
    if not pem:
        return None
    certificate = x509.load_pem_x509_certificate(pem)
    if not _is_servers(certificate):
        return certificate
    der = _metadata(context, CERTIFICATE_KEY)
    return x509.load_der_x509_certificate(der) if isinstance(der, bytes) else certificate  # itself, which is no host


def caller_common_name(context: Any) -> str:
    """Of the same certificate; empty without one."""
    name = _first(context, "x509_common_name").decode()
    if name != SERVER_NAME:
        return name
    certificate = caller_certificate(context)
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if certificate is not None else []
    return str(found[0].value) if found else ""


def caller_peer(context: Any) -> str:
    """Its address, as gRPC writes it: "ipv4:127.0.0.1:51734"."""
    said = _metadata(context, PEER_KEY) if is_from_server(context) else None
    return said if isinstance(said, str) else str(context.peer())


def is_from_server(context: Any) -> bool:
    """Whether another server of this CA is at the other end of this connection."""
    if _first(context, "x509_common_name").decode() != SERVER_NAME:
        return False
    pem = _first(context, "x509_pem_cert")
    return bool(pem) and _is_servers(x509.load_pem_x509_certificate(pem))


def forwarded(context: Any, by: str) -> list[tuple[str, str | bytes]]:
    """The metadata with which a call is passed on: the caller's own, and who it is. Never what it claims to be."""
    kept = [(key, value) for key, value in context.invocation_metadata() or () if _is_passed_on(key)]
    pem = _first(context, "x509_pem_cert")
    if pem:
        kept.append((CERTIFICATE_KEY, x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)))
    return [*kept, (PEER_KEY, context.peer()), (RELAYED_KEY, by)]


def _is_passed_on(key: str) -> bool:
    """gRPC makes those of its own anew."""
    return key not in OWN_KEYS and key != "user-agent" and not key.startswith(("grpc-", ":"))


def _is_servers(certificate: x509.Certificate) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return SERVER_URI in names.get_values_for_type(x509.UniformResourceIdentifier)


def _first(context: Any, key: str) -> bytes:
    found: bytes = next(iter((context.auth_context() or {}).get(key, ())), b"")
    return found


def _metadata(context: Any, key: str) -> str | bytes | None:
    return next((value for name, value in context.invocation_metadata() or () if name == key), None)

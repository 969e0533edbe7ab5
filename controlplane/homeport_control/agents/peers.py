"""Who is at the other end of an mTLS connection: read from the certificate that our CA signed, and from nothing else.

And the one status that each of our errors has on the agents' wire.
"""

from typing import Any

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID

from homeport_control.domain.errors import BadRequest, Denied, HomeportError, NotFound, NotLeading
from homeport_control.domain.hosts import Host
from homeport_control.trust.ca import serial_of
from homeport_control.trust.callers import caller_certificate
from homeport_control.trust.guesses import TooManyGuesses

HOST_URI = "homeport://host/"


def peer_host_id(context: Any) -> str:
    """The host id in the certificate of who calls (a gRPC context). Raises Denied when it names no host."""
    return host_id_of(peer_certificate(context))


def peer_certificate(context: Any) -> x509.Certificate:
    """Raises Denied when there is none."""
    certificate = caller_certificate(context)
    if certificate is None:
        raise Denied("no client certificate: an agent speaks with the certificate that it got when it joined")
    return certificate


def must_be_good(host: Host, certificate: x509.Certificate) -> None:
    """Raises Denied for a certificate that newer ones have replaced: whoever has it is not the host, or an old copy of it."""
    if host.serials and serial_of(certificate) not in host.serials:
        raise Denied(
            f"host {host.name} has newer certificates than this one: this is another machine with an old copy of its identity; "
            "join with a new token (homeport fleet join-command)"
        )


def host_id_of(certificate: x509.Certificate) -> str:
    """Raises Denied when it is no host's."""
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    host_id = str(common_names[0].value) if common_names else ""
    if not host_id or f"{HOST_URI}{host_id}" not in names.get_values_for_type(x509.UniformResourceIdentifier):
        raise Denied("the client certificate names no host; join again")
    return host_id


def code_of(error: HomeportError) -> grpc.StatusCode:
    """PERMISSION_DENIED says that trying again is useless without a new token or certificate."""
    if isinstance(error, TooManyGuesses):
        return grpc.StatusCode.RESOURCE_EXHAUSTED
    if isinstance(error, Denied):
        return grpc.StatusCode.PERMISSION_DENIED
    if isinstance(error, NotFound):
        return grpc.StatusCode.NOT_FOUND
    if isinstance(error, NotLeading):
        return grpc.StatusCode.UNAVAILABLE
    return grpc.StatusCode.INVALID_ARGUMENT if isinstance(error, BadRequest) else grpc.StatusCode.FAILED_PRECONDITION

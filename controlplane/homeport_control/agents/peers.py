"""Who is at the other end of an mTLS connection: read from the certificate that our CA signed, and from nothing else.

And the one status that each of our errors has on the agents' wire.
"""

from typing import Any

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID

from homeport_control.domain.errors import BadRequest, Denied, HomeportError, NotFound

HOST_URI = "homeport://host/"


def peer_host_id(auth_context: Any) -> str:
    """The host id in the peer's certificate (gRPC's `context.auth_context()`). Raises Denied when it names no host."""
    pems = auth_context.get("x509_pem_cert") or []
    if not pems:
        raise Denied("no client certificate: an agent speaks with the certificate that it got when it joined")
    return host_id_of(x509.load_pem_x509_certificate(pems[0]))


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
    if isinstance(error, Denied):
        return grpc.StatusCode.PERMISSION_DENIED
    if isinstance(error, NotFound):
        return grpc.StatusCode.NOT_FOUND
    return grpc.StatusCode.INVALID_ARGUMENT if isinstance(error, BadRequest) else grpc.StatusCode.FAILED_PRECONDITION

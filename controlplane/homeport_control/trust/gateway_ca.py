"""Key pairs of gateways: a private CA of each gateway and what it signs; and looking at pairs that come from elsewhere.

Apart from the server's own CA: who trusts a gateway's CA trusts it for services, and not for hosts.
"""

import datetime as dt
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from homeport_control.domain.errors import BadRequest
from homeport_control.trust.ca import CLOCK_SKEW, KeyPair, _key_pem, _usage, self_signed

LIFETIME = dt.timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Validity:
    not_before_s: float
    not_after_s: float


def new_ca(gateway: str, now_s: float) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = self_signed(key, f"Homeport gateway {gateway}", dt.datetime.fromtimestamp(now_s, dt.UTC))
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def issue(ca: KeyPair, name: str, now_s: float) -> KeyPair:
    """A server's certificate for one host name, with a key of its own."""
    ca_key = serialization.load_pem_private_key(ca.key_pem, None)
    issuer = x509.load_pem_x509_certificate(ca.certificate_pem)
    if not isinstance(ca_key, ec.EllipticCurvePrivateKey):
        raise TypeError("a gateway's CA has an elliptic-curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.fromtimestamp(now_s, dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(cert_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def checked(chain_pem: bytes, key_pem: bytes) -> Validity:
    """How long a pair is good. Raises BadRequest when it is none: Envoy would refuse it, and with it what comes after."""
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
    except ValueError:
        raise BadRequest("the certificate is not PEM") from None
    try:
        key = serialization.load_pem_private_key(key_pem, None)
    except TypeError:
        raise BadRequest("the key is encrypted; store it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadRequest("the key is not PEM, or of a kind that is not known") from None
    if not _is_served(key):
        raise BadRequest(
            "the key is of a kind that Envoy does not serve by every protocol; make one of RSA with 2048 bits or more, or of "
            "the curve P-256 or P-384"
        )
    if chain[0].public_key() != key.public_key():
        raise BadRequest("the key is not that of the first certificate")
    return Validity(chain[0].not_valid_before_utc.timestamp(), chain[0].not_valid_after_utc.timestamp())


def _is_served(key: PrivateKeyTypes) -> bool:
    """By Envoy 1.40, tried: it refuses shorter RSA and other curves, and Ed25519 by HTTP/3."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.key_size >= 2048
    return isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(
        key.curve, (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    )

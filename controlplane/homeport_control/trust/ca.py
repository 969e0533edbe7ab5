"""The server's private CA: one key, made at the first start, that signs the server's and every host's certificate.

Covers keys and certificates on disk and the signing of requests. Does not decide who may ask (agents/ does).
Certificates: ECDSA P-256. A host's names are its CN (the host id), the URI SAN `homeport://host/<id>` (after SPIFFE, whose
ids are URI SANs too) and a DNS SAN, which Envoy compares with whom it dials; nothing in a request but its public key is
taken over.
"""

import base64
import datetime as dt
import hashlib
import ipaddress
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from homeport_control.domain.errors import BadRequest, NotReady

SERVER_NAME = "homeport-server"  # what every client checks, whatever the address is that it dials
SERVER_URI = "homeport://server"  # what makes a certificate a server's, to other servers: no host's certificate has it
HOST_DOMAIN = "host.homeport"  # a host's certificate is for <host id>.host.homeport: what its door is dialled as
HOST_LIFETIME = dt.timedelta(hours=24)
SERVER_LIFETIME = dt.timedelta(days=90)  # made anew at each start of the server that finds it past half of its life
CA_LIFETIME = dt.timedelta(days=3650)
# A machine whose clock is an hour behind takes a certificate that was made just now; renewal at 2/3 of a life counts from here.
CLOCK_SKEW = dt.timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """PEM bytes. The repr shows no key."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return "KeyPair(…)"


class CertificateAuthority:
    """The CA of one server."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def load_or_create(cls, directory: Path, server_id: str) -> "CertificateAuthority":
        """Read ca.key and ca.pem from a directory, or make them there (key mode 0600). Raises NotReady.

        The key is written first: one without a certificate has signed nothing yet, and is made anew. A certificate
        without its key is not, since every host trusts it.
        """
        key_file, certificate_file = directory / "ca.key", directory / "ca.pem"
        if certificate_file.exists():
            return cls(*_read(key_file, certificate_file))
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self_signed(key, f"Homeport CA {server_id}", dt.datetime.now(dt.UTC))
        directory.mkdir(parents=True, exist_ok=True)
        write_private(key_file, _key_pem(key))
        write_private(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
        return cls(key, certificate)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def sha256(self) -> str:
        """The pin: SHA-256 of the certificate's DER, 64 lower-case hex digits."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def sign_host(self, csr_pem: str, host_id: str) -> str:
        """A host's certificate (PEM) for the public key in its request. Raises BadRequest when that is not valid."""
        try:
            request = x509.load_pem_x509_csr(csr_pem.encode())
            valid = request.is_signature_valid
        except ValueError:
            valid = False
        if not valid:
            raise BadRequest(
                "the certificate request is not valid: it does not parse or its signature is wrong; join again"
            )
        public_key = request.public_key()
        if not isinstance(public_key, ec.EllipticCurvePublicKey):
            raise BadRequest("the certificate request has no elliptic-curve key; join again with this server's agent")
        names: list[x509.GeneralName] = [
            x509.UniformResourceIdentifier(f"homeport://host/{host_id}"),
            x509.DNSName(f"{host_id}.{HOST_DOMAIN}"),
        ]
        return self._sign(public_key, host_id, names, HOST_LIFETIME).public_bytes(serialization.Encoding.PEM).decode()

    def server_pair(self, addresses: Iterable[str] = (), key_pem: bytes = b"") -> KeyPair:
        """A fresh certificate for the server's own listeners, for SERVER_NAME, localhost and the addresses.

        For the given key, which join commands pin; a fresh one without it, or when it cannot be used.
        """
        key = _usable_key(key_pem) or ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [
            x509.DNSName(SERVER_NAME),
            x509.DNSName("localhost"),
            x509.UniformResourceIdentifier(SERVER_URI),
        ]
        for address in ("127.0.0.1", "::1", *addresses):
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(address)))
            except ValueError:
                names.append(x509.DNSName(address))
        certificate = self._sign(key.public_key(), SERVER_NAME, list(dict.fromkeys(names)), SERVER_LIFETIME)
        return KeyPair(certificate.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def _sign(
        self, public_key: ec.EllipticCurvePublicKey, common_name: str, names: list[x509.GeneralName], life: dt.timedelta
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(cert_sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


def serial_of(certificate: x509.Certificate | str) -> str:
    """Hexadecimal; of a certificate, or of its PEM."""
    if isinstance(certificate, str):
        certificate = x509.load_pem_x509_certificate(certificate.encode())
    return f"{certificate.serial_number:x}"


def public_key_pin(pair: KeyPair) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo, DER) in base64: what `curl --pinnedpubkey sha256//…` wants."""
    public_key = x509.load_pem_x509_certificate(pair.certificate_pem).public_key()
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


def _usable_key(pem: bytes) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _read(key_file: Path, certificate_file: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    if not key_file.exists():
        raise NotReady(f"{key_file} is missing, but its certificate is there and hosts trust it; put it back")
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise NotReady(
            f"the server's CA in {key_file.parent} cannot be read: ca.key or ca.pem is damaged; put both back"
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise NotReady(f"ca.key and ca.pem in {key_file.parent} do not belong together; put back the two that do")
    return key, certificate


def write_private(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file that only its owner may read, in one step: a reader sees all of it or none."""
    temporary = path.with_suffix(path.suffix + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def self_signed(key: ec.EllipticCurvePrivateKey, common_name: str, now: dt.datetime) -> x509.Certificate:
    """The certificate of a CA that signs leaves only (RFC 5280 4.2.1.9: path length 0), good for CA_LIFETIME."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _usage(*, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=cert_sign,
        crl_sign=cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

"""A new certificate for a host whose old one expired: it proves that it has the old one's key.

A certificate lives for a day, so a server that was away for longer would otherwise have to let each of its hosts join
again by hand. The challenge is fresh and signed by this process, so that a proof that somebody heard is good for nothing.
"""

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from homeport_protos.agent.v1 import agent_pb2

from homeport_control.agents.peers import host_id_of, must_be_good
from homeport_control.domain.errors import Denied
from homeport_control.domain.hosts import Connection
from homeport_control.store import hosts
from homeport_control.store.connect import Database
from homeport_control.trust.ca import CertificateAuthority, serial_of

GRACE = timedelta(days=30)  # after the end of the old one; an on-demand host that we let go may come back at any time
CHALLENGE_S = 60.0
JOIN_AGAIN = "join again with a new token (homeport fleet join-command)"


class Recovery:
    """One server process's."""

    def __init__(self, database: Database, ca: CertificateAuthority) -> None:
        self._database = database
        self._ca = ca
        self._key = secrets.token_bytes(32)

    def challenge(self, now_s: float) -> str:
        text = f"{int(now_s)}.{secrets.token_hex(16)}"
        return f"{text}.{self._seal(text)}"

    async def recover(self, request: agent_pb2.RecoverRequest, now_s: float) -> tuple[str, str]:
        """Host id and new certificate. Raises Denied with what to do, BadRequest."""
        self._check_challenge(request.challenge, now_s)
        shown = self._proved(request, now_s)
        host_id = host_id_of(shown)
        certificate = self._ca.sign_host(request.csr_pem, host_id)
        async with self._database.write() as write:
            host = await hosts.get(write.connection, host_id)
            if host is None:
                raise Denied(f"this host is not part of the fleet any more; {JOIN_AGAIN}")
            over = _over(shown, now_s)
            if over > GRACE and host.connection is not Connection.RELEASED:
                raise Denied(f"the certificate expired {over.days} days ago, {GRACE.days} are allowed; {JOIN_AGAIN}")
            if host.connection is Connection.CONNECTED:
                raise Denied(
                    f"host {host.name} is connected with a newer certificate: this is another machine with a copy of its "
                    f"identity, or of its disk; {JOIN_AGAIN}"
                )
            must_be_good(host, shown)
            await hosts.certified(write, host_id, serial_of(certificate), serial_of(shown))
        return host_id, certificate

    def _seal(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _check_challenge(self, challenge: str, now_s: float) -> None:
        text, _, seal = challenge.rpartition(".")
        made = text.partition(".")[0]
        is_ours = hmac.compare_digest(seal.encode(), self._seal(text).encode())
        if not is_ours or not 0 <= now_s - int(made) <= CHALLENGE_S:
            raise Denied("the challenge is not a fresh one of this server; ask for another")

    def _proved(self, request: agent_pb2.RecoverRequest, now_s: float) -> x509.Certificate:
        """The one whose key signed it."""
        try:
            certificate = x509.load_pem_x509_certificate(request.certificate_pem.encode())
            certificate.verify_directly_issued_by(self._ca.certificate)
            key = certificate.public_key()
            if not isinstance(key, ec.EllipticCurvePublicKey):
                raise ValueError
            signed = f"{request.challenge}\n{request.csr_pem}".encode()
            key.verify(request.signature, signed, ec.ECDSA(hashes.SHA256()))
        except (ValueError, TypeError, InvalidSignature):
            raise Denied(f"the proof is not by the key of a certificate of this server; {JOIN_AGAIN}") from None
        return certificate


def _over(certificate: x509.Certificate, now_s: float) -> timedelta:
    """How long after its end it is."""
    return datetime.fromtimestamp(now_s, UTC) - certificate.not_valid_after_utc

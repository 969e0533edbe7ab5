"""Getting to know a server's CA: download, fingerprint, compare. What it does not cover: asking the user (`login`)."""

import hashlib
import http.client
import socket
import ssl

from homeport import Unreachable

from homeport_cli.errors import CliError

SERVER_NAME = "homeport-server"
TIMEOUT_S = 10.0
LIMIT_BYTES = 64 * 1024


def download(address: str) -> str:
    """The CA certificate as the server at address shows it, not verified by anything. Raises Unreachable, CliError."""
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPSConnection(host.strip("[]"), int(port), timeout=TIMEOUT_S, context=unverified)
    try:
        connection.request("GET", "/ca.pem")
        answer = connection.getresponse()
        body = answer.read(LIMIT_BYTES)
    except (OSError, http.client.HTTPException) as error:
        why = (getattr(error, "strerror", None) or str(error) or "no answer").lower()
        raise Unreachable(
            f"cannot get the CA certificate from https://{address}/ca.pem: {why}; is the server running? "
            "(or pass its CA with --ca FILE)"
        ) from None
    finally:
        connection.close()
    pem = body.decode("ascii", errors="replace")
    if answer.status != http.client.OK or "-----BEGIN CERTIFICATE-----" not in pem:
        raise CliError(
            f"https://{address}/ca.pem is no CA certificate (status {answer.status}); is this a Homeport server?"
        )
    return pem


def fetch(host: str, port: int, path: str, ca_pem: str) -> bytes:
    """What the server with this CA serves there. Raises Unreachable, CliError."""
    context = ssl.create_default_context(cadata=ca_pem)
    connection = _NamedConnection(host.strip("[]"), port, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        why = (getattr(error, "strerror", None) or str(error) or "no answer").lower()
        raise Unreachable(f"cannot get https://{host}:{port}{path}: {why}; is the server running?") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise CliError(f"https://{host}:{port}{path} answered {answer.status}; is the server of another version?")
    return body


class _NamedConnection(http.client.HTTPSConnection):
    """To an address, for the name that every server's certificate has."""

    def __init__(self, host: str, port: int, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, timeout=timeout)
        self._trust = context

    def connect(self) -> None:
        plain = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = self._trust.wrap_socket(plain, server_hostname=SERVER_NAME)


def fingerprint(pem: str) -> str:
    """SHA-256 of the certificate's DER, 64 hex digits. Raises Error."""
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest()
    except ValueError:
        raise CliError("the server's CA certificate is not a valid PEM") from None


def must_match(pem: str, expected: str) -> None:
    """Raises Error when the certificate is another one than the hash says."""
    wanted = expected.lower().replace(":", "").removeprefix("sha256")
    found = fingerprint(pem)
    if found != wanted:
        raise CliError(
            f"the server shows another CA certificate than --ca-hash says (sha256 {found}); "
            "the hash is of another server, or somebody stands between"
        )


def introduce(server: str, pem: str) -> str:
    return f"The server at {server} is not known here. Its CA certificate has the SHA-256\n  {fingerprint(pem)}"

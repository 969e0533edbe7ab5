"""`python -P -m homeport_agent.keys`: a key and its signing request, and the dates of a certificate, in a process of
its own, since `cryptography` would cost the agent 10 MB for work that it does once a day.

Covers the child and the functions that run it. The key leaves the child by its pipe only: never by a file or an
argument. See also identity, which keeps the results.
"""

import asyncio
import base64
import json
import sys
from dataclasses import dataclass, field

CHILD_S = 30.0


class KeysFailed(Exception):
    """The child did not do its work; str() is one line."""


@dataclass(frozen=True, slots=True)
class KeyAndRequest:
    key_pem: str = field(repr=False)
    csr_pem: str


async def new_key(common_name: str) -> KeyAndRequest:
    """A fresh ECDSA P-256 key and its certificate signing request. Raises KeysFailed."""
    answer = json.loads(await _child("csr", common_name))
    return KeyAndRequest(answer["key_pem"], answer["csr_pem"])


async def validity(certificate_pem: str) -> tuple[float, float]:
    """Unix times between which a certificate is valid. Raises KeysFailed."""
    answer = json.loads(await _child("dates", stdin=certificate_pem))
    return float(answer["not_before_s"]), float(answer["not_after_s"])


async def sign(key_pem: str, text: str) -> bytes:
    """ECDSA with SHA-256 of `text`, DER. Raises KeysFailed."""
    return base64.b64decode(json.loads(await _child("sign", stdin=json.dumps([key_pem, text]))))


async def _child(*arguments: str, stdin: str = "") -> bytes:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "homeport_agent.keys", *arguments, stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(CHILD_S):
            out, complaint = await child.communicate(stdin.encode())
    except TimeoutError:
        child.kill()
        raise KeysFailed(f"making a key took longer than {CHILD_S:g} s") from None
    if child.returncode:
        last = complaint.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {child.returncode}"]
        raise KeysFailed(f"key work failed: {last[0]}")
    return out


def _csr(common_name: str) -> dict[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name[:64] or "host")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"key_pem": private.decode(), "csr_pem": request.public_bytes(serialization.Encoding.PEM).decode()}


def _dates(certificate_pem: bytes) -> dict[str, float]:
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(certificate_pem)
    return {
        "not_before_s": certificate.not_valid_before_utc.timestamp(),
        "not_after_s": certificate.not_valid_after_utc.timestamp(),
    }


def _sign(key_pem: str, text: str) -> str:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(key_pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SystemExit("the key is no elliptic-curve key")
    return base64.b64encode(key.sign(text.encode(), ec.ECDSA(hashes.SHA256()))).decode()


def main(arguments: list[str]) -> int:
    match arguments:
        case ["csr", common_name]:
            answer: object = _csr(common_name)
        case ["dates"]:
            answer = _dates(sys.stdin.buffer.read())
        case ["sign"]:
            answer = _sign(*json.loads(sys.stdin.buffer.read()))
        case _:
            sys.stderr.write("usage: python -P -m homeport_agent.keys csr NAME | dates | sign\n")
            return 2
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

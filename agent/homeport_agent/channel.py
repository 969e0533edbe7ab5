"""gRPC channels to the server: TLS with its private CA, and mTLS with this host's certificate.

Covers options and the words for what may break. Does not cover what is said on them (join, link, renewal).
"""

import time

import grpc
from grpc.aio import AioRpcError, Channel

from homeport_agent.identity import Identity

# The server's certificate carries this name, so that it may move to another address without a new one.
SERVER_NAME = "homeport-server"
MAX_MESSAGE_BYTES = 16 << 20
OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.ssl_target_name_override", SERVER_NAME),
    # A link that is cut without a word is noticed within about 4 s: by a ping without an answer, or by bytes of a report
    # without an acknowledgement (gRPC sets TCP_USER_TIMEOUT to the keepalive timeout). The ping must come sooner than
    # the next report: each write puts it off.
    ("grpc.keepalive_time_ms", 1000),
    ("grpc.keepalive_timeout_ms", 3000),
    (
        "grpc.http2.ping_timeout_ms",
        3000,
    ),  # gRPC 1.85 waits 60 s for the answer to a ping, whatever keepalive_timeout says
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),  # each try is a fresh one: no back-off of gRPC's under ours
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
)


def tls_channel(target: str, ca_pem: str) -> Channel:
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(ca_pem.encode()), options=OPTIONS)


# A fetch of much data: gRPC would guess how much to have under way, and takes 10 MB of memory for it on a fast link.
FETCH_OPTIONS = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 20))


def mtls_channel(identity: Identity, more: tuple[tuple[str, int | str], ...] = ()) -> Channel:
    credentials = grpc.ssl_channel_credentials(
        identity.ca_pem.encode(), identity.key_pem.encode(), identity.certificate_pem.encode()
    )
    return grpc.aio.secure_channel(identity.link_target, credentials, options=(*OPTIONS, *more))


def why(error: AioRpcError, target: str) -> str:
    """One line about a failed call. A refusal of the server is its own sentence."""
    details = " ".join((error.details() or "").split())
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return f"the server at {target} cannot be reached: {_short(details)}"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"the server at {target} did not answer in time"
    return f"the server at {target} refused: {details or error.code().name.lower()}"


def _short(details: str) -> str:
    for clue, words in (
        ("Connection refused", "connection refused"),
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not of the CA that this host joined"),
        ("BAD_SIGNATURE", "its certificate is not of the CA that this host joined"),
        ("WRONG_VERSION_NUMBER", "it does not speak TLS there"),
        ("certificate has expired", "the certificate has expired"),
        ("DNS resolution failed", "its name is not known"),
        ("keepalive", "it fell silent"),
        ("Socket closed", "it closed the connection"),
    ):
        if clue in details:
            return words
    return details[-160:] or "no reason given"


def expiry_hint(identity: Identity) -> str:
    """Not empty when the certificate is the likely reason of a refusal."""
    if not identity.is_expired(time.time()):
        return ""
    return "; this host's certificate has expired, a new one is asked for"

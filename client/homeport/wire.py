"""The server at the other end: its address, what proves it, what each call carries, and what its failures mean.

Covers what both transports share (`client`, `aio`). Does not cover the wording of errors (`errors`).
"""

import os
from typing import Any

import grpc

from homeport import config
from homeport.errors import Error, Unauthenticated, status_error
from homeport.methods import Method

SERVER_NAME = "homeport-server"  # a SAN of every server's certificate, whatever address it is called by
CALL_DEADLINE_S = 30.0
OPTIONS = [
    ("grpc.ssl_target_name_override", SERVER_NAME),
    ("grpc.enable_http_proxy", 0),  # the server is on the owner's network, not behind a web proxy
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5000),  # so long may one try take, its handshakes included: a far or busy server
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Slower than the 5 minutes below which a gRPC server calls pings abuse; finds a dead peer under `logs -f`.
    ("grpc.keepalive_time_ms", 330_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]


class Peer:
    """What is not given is that of `homeport login` and its environment variables. Raises Unauthenticated, Invalid, Error."""

    def __init__(self, server: str | None, token: str | None, ca: str | os.PathLike[str] | None) -> None:
        given = {"SERVER": server, "TOKEN": token, "CA": None if ca is None else os.fspath(ca)}
        known = config.load({**os.environ, **{f"HOMEPORT_{key}": value for key, value in given.items() if value}})
        if not (known.token.isascii() and known.token.isprintable()):  # gRPC would raise over it, and quote it
            raise Unauthenticated("the token is none: a token is one word such as hp_…; run `homeport login`")
        self.server = known.server
        self.metadata = (("authorization", f"Bearer {known.token}"),)
        self.credentials = grpc.ssl_channel_credentials(known.ca_pem.encode())

    def failure(self, error: grpc.RpcError, deadline_s: float) -> Error:
        # Every error of a call is a grpc.Call too; the base class RpcError just does not say so.
        return status_error(error.code().name, error.details() or "", self.server, deadline_s)

    def too_slow(self, deadline_s: float) -> Error:
        return status_error("DEADLINE_EXCEEDED", "", self.server, deadline_s)


def bad_ca() -> Error:
    """gRPC refuses a certificate that is none when it makes the channel, with a ValueError."""
    return Error("the CA certificate is not valid; run `homeport login` again")


def ended_early(method: Method[Any, Any]) -> Error:
    """What was waited for cannot come any more."""
    return Error(
        f"the server ended {method.name} before what was waited for came; `homeport doctor` looks for the reason"
    )

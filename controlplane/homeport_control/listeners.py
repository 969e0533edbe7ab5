"""Listeners: gRPC servers and the web server, with their TLS, and a clear word when a port is taken."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import uvicorn
from starlette.types import ASGIApp

from homeport_control.domain.errors import NotReady
from homeport_control.trust.ca import KeyPair, write_private

WEB_STOP_S = 1  # a client that never reads its answer does not hold up the end of the process
MAX_MESSAGE_BYTES = 64 << 20
MAX_API_MESSAGE_BYTES = 16 << 20  # a manifest of 50,000 files; who has no token yet cannot send more than that either
# Agents and Envoys ping every few seconds to notice a silent break; gRPC's default calls that abuse (GOAWAY
# too_many_pings). These contain xds.server.SERVER_OPTIONS; the server of the link port is one for both.
OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.so_reuseport", 0),  # a second server must fail at the port, not share it
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 30_000),
)


def grpc_server(
    address: str,
    port: int,
    pair: KeyPair,
    *,
    client_ca: bytes | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> grpc.aio.Server:
    """A server bound to its port, not started. With `client_ca` every client must have a certificate of it.

    Raises NotReady when the port is taken.
    """
    check_free(address, port)
    credentials = grpc.ssl_server_credentials(
        [(pair.key_pem, pair.certificate_pem)],
        root_certificates=client_ca,
        require_client_auth=client_ca is not None,
    )
    options = (*OPTIONS, ("grpc.max_receive_message_length", max_message_bytes))
    server = grpc.aio.server(interceptors=interceptors, options=options)
    server.add_secure_port(f"[{address}]:{port}" if ":" in address else f"{address}:{port}", credentials)
    return server


class EmbeddedWebServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the process has one place for signals, app.py."""

    def capture_signals(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()


def kept_key(directory: Path) -> bytes:
    """The key that `web_server` has left there at an earlier start; empty: none yet."""
    try:
        return (directory / "server.key").read_bytes()
    except FileNotFoundError:
        return b""


def web_server(application: ASGIApp, address: str, port: int, pair: KeyPair, directory: Path) -> EmbeddedWebServer:
    """Raises NotReady when the port is taken. The key goes through a file (mode 0600): ssl reads no other."""
    check_free(address, port)
    certificate_file, key_file = directory / "server.pem", directory / "server.key"
    certificate_file.write_bytes(pair.certificate_pem)
    write_private(key_file, pair.key_pem)
    return EmbeddedWebServer(
        uvicorn.Config(
            application,
            host=address,
            port=port,
            ssl_certfile=str(certificate_file),
            ssl_keyfile=str(key_file),
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=5,
            limit_concurrency=100,
            timeout_graceful_shutdown=WEB_STOP_S,
        )
    )


def check_free(address: str, port: int) -> None:
    """Raises NotReady when nothing can listen there."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise NotReady(
                f"cannot listen on {address}:{port}: {error.strerror}; stop what uses it (`ss -ltnp 'sport = :{port}'` "
                "shows it) or choose another port (`homeport server run --help`)"
            ) from None

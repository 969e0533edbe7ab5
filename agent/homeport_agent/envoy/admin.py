"""What can be seen of an Envoy from its own host: its admin socket, and who holds its port.

Covers looking. Does not cover acting on it (host).
"""

import asyncio
import contextlib
import errno
import json
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from homeport_agent.envoy.bootstrap import ADMIN_SOCKET

_ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class EnvoyState:
    uptime_s: float
    is_configured: bool  # it has had a first configuration from the server, accepted or not
    listening: frozenset[tuple[str, int]]


async def look(run_dir: Path) -> EnvoyState | None:
    """What Envoy says of itself; None when it does not answer within two seconds."""
    try:
        async with asyncio.timeout(_ANSWER_S):
            info = json.loads(await get(run_dir, "/server_info"))
            listeners = json.loads(await get(run_dir, "/listeners?format=json"))
    except (OSError, TimeoutError, ValueError):
        return None
    addresses = (entry["local_address"].get("socket_address", {}) for entry in listeners.get("listener_statuses", ()))
    return EnvoyState(
        uptime_s=float(info["uptime_current_epoch"].removesuffix("s")),
        is_configured=info["state"] == "LIVE",
        listening=frozenset((a.get("address", ""), int(a.get("port_value", 0))) for a in addresses),
    )


async def get(run_dir: Path, path: str) -> bytes:
    """The body of one admin answer; OSError when there is none."""
    reader, writer = await asyncio.open_unix_connection(str(run_dir / ADMIN_SOCKET))
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nhost: admin\r\n\r\n".encode())
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise OSError(f"Envoy's admin socket answered {head[:60]!r}")
        return body
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def port_problem(address: str, port: int) -> str:
    """Why nothing can listen there, in one sentence with who does; empty when the port is free."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return (
                    f"port {port} on {address} is taken by {_holder(port)}; "
                    "free it or start the server with --gateway-port"
                )
            return f"port {port} on {address} cannot be opened: {error.strerror}"
    return ""


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:2] == (port,):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"

"""What can be seen of an Envoy from its own host: its admin socket, and who holds its port.

Covers looking. Does not cover acting on it (host). Blocking calls: for a thread.
"""

import contextlib
import errno
import http.client
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
    sockets: frozenset[str] = frozenset()  # paths, as they were given to it
    listeners: frozenset[str] = frozenset()  # by name, those that listen nowhere too


def look(run_dir: Path) -> EnvoyState | None:
    """What Envoy says of itself; None when it does not answer within two seconds."""
    try:
        info = json.loads(get(run_dir, "/server_info"))
        listeners = json.loads(get(run_dir, "/listeners?format=json"))
    except (OSError, ValueError):
        return None
    places = [entry["local_address"] for entry in listeners.get("listener_statuses", ())]
    addresses = (it.get("socket_address", {}) for it in places)
    return EnvoyState(
        uptime_s=float(info["uptime_current_epoch"].removesuffix("s")),
        is_configured=info["state"] == "LIVE",
        listening=frozenset((a.get("address", ""), int(a.get("port_value", 0))) for a in addresses),
        listeners=frozenset(it.get("name", "") for it in listeners.get("listener_statuses", ())),
        sockets=frozenset(it["pipe"]["path"] for it in places if "pipe" in it),
    )


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("admin", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get(run_dir: Path, path: str) -> bytes:
    """The body of one admin answer; OSError when there is none."""
    with contextlib.closing(_UnixConnection(run_dir / ADMIN_SOCKET)) as connection:
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except http.client.HTTPException as error:
            raise OSError(f"Envoy's admin socket broke off its answer to {path}: {error!r}") from None
    if response.status != http.client.OK:
        raise OSError(f"Envoy's admin socket answered {response.status} to {path}")
    return body


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
                    f"port {port} on {address} is taken by {_holder(port)}; free it, or give the gateway another port"
                )
            return f"port {port} on {address} cannot be opened: {error.strerror}"
    return ""


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:2] == (port,):
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"

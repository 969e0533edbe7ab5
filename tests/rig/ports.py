"""Ports for servers of tests, outside the range from which the kernel gives ports to outgoing connections: between the look
and the listening nobody's connection takes one away."""

import secrets
import socket
from contextlib import suppress


def free_port() -> int:
    """A port that nothing listens on now."""
    while True:
        port = secrets.choice(range(12_000, 32_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def free_ports(count: int) -> list[int]:
    """So many that differ."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)

"""Ports for servers of tests, outside the range from which the kernel gives ports to outgoing connections: between the look
and the listening nobody's connection takes one away."""

import secrets
import socket
from collections import deque
from contextlib import suppress

# What was given last is not given again: two that one test asks for must differ before anything listens on them.
_given: deque[int] = deque(maxlen=1000)


def free_port() -> int:
    """A port that nothing listens on now."""
    while True:
        port = secrets.choice(range(12_000, 32_000))
        if port in _given:
            continue
        _given.append(port)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def free_ports(count: int) -> list[int]:
    """So many that differ."""
    return [free_port() for _ in range(count)]

"""Asks one replica whether it is ready, again and again, and tells each answer.

Covers asking over TCP and HTTP/1.1 and how often. Does not cover what the answers add up to (readiness, replica).
A probe dials the container's own address: on the published port Docker's proxy accepts even when nothing listens.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from homeport_agent.model import AssignedReplica, Container, Probe

# Before the first success, the pause is a share of the time that the start has taken: readiness is seen 5 % late at most.
SHARE_OF_START = 0.05
SHORTEST_FIRST_PAUSE_S = 0.02
LONGEST_FIRST_PAUSE_S = 1.0
TCP_TIMEOUT_S = 5.0
TCP_INTERVAL_S = 2.0
HINT_AFTER_S = 2.0  # a program that only begins listens on nothing yet: no hint before that
_HEAD_LIMIT = 64 * 1024

Tell = Callable[[int, bool, str], None]  # probe, is_ok, sentence
Ports = Callable[[Container], Awaitable[tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to dial, and the port that the user knows it by."""

    host: str
    port: int
    named_port: int


def target_of(assigned: AssignedReplica, container: Container) -> Target:
    if container.ip:
        return Target(container.ip, assigned.container_port, assigned.container_port)
    return Target("127.0.0.1", container.host_port, assigned.container_port)


async def probe_until_cancelled(assigned: AssignedReplica, container: Container, tell: Tell, ports: Ports) -> None:
    """Run all probes of a replica side by side until cancelled."""
    target, probes = target_of(assigned, container), assigned.probes or (None,)
    begun_s = time.monotonic()

    async def one(number: int, probe: Probe | None) -> None:
        interval_s = probe.interval_s if probe else TCP_INTERVAL_S
        had_success = False
        while True:
            problem = await (ask_http(target, probe) if probe else ask_tcp(target))
            if problem and time.monotonic() - begun_s > HINT_AFTER_S:
                problem += _hint(target.named_port, await ports(container))
            had_success = had_success or not problem
            tell(number, not problem, problem)
            first_s = max(SHORTEST_FIRST_PAUSE_S, SHARE_OF_START * (time.monotonic() - begun_s))
            await asyncio.sleep(interval_s if had_success else min(first_s, LONGEST_FIRST_PAUSE_S, interval_s))

    async with asyncio.TaskGroup() as together:
        for number, probe in enumerate(probes):
            together.create_task(one(number, probe))


def _hint(port: int, ports: tuple[int, ...]) -> str:
    if not ports or port in ports:
        return ""
    return f"; the container listens on {', '.join(map(str, ports[:5]))}, is `port` right?"


async def ask_tcp(target: Target) -> str:
    """Empty when something accepts, else the sentence why not."""
    try:
        async with asyncio.timeout(TCP_TIMEOUT_S):
            _, writer = await asyncio.open_connection(target.host, target.port)
        writer.close()
    except (OSError, TimeoutError) as error:
        return _no_connection(target, error, TCP_TIMEOUT_S)
    return ""


async def ask_http(target: Target, probe: Probe) -> str:
    """Empty on a 2xx answer, else the sentence why not."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(probe.timeout_s):
            reader, writer = await asyncio.open_connection(target.host, target.port, limit=_HEAD_LIMIT)
            writer.write(_request(target, probe))
            await writer.drain()
            status_line = await reader.readline()
    except TimeoutError as error:
        if writer is None:
            return _no_connection(target, error, probe.timeout_s)
        return f"{probe.method} {probe.url} did not answer within {probe.timeout_s:g} s"
    except ValueError:
        return f"{probe.method} {probe.url} on port {target.named_port} did not answer in HTTP"
    except OSError as error:
        if writer is None:
            return _no_connection(target, error, probe.timeout_s)
        return f"{probe.method} {probe.url} broke off: {_words(error)}"
    finally:
        if writer is not None:
            writer.transport.abort()  # a probe wants the status only, not the rest of the answer
    parts = status_line.split(None, 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/") or not parts[1].isdigit():
        return f"{probe.method} {probe.url} on port {target.named_port} did not answer in HTTP"
    status = int(parts[1])
    return "" if 200 <= status < 300 else f"{probe.method} {probe.url} answered {status}"


def _request(target: Target, probe: Probe) -> bytes:
    given = {name.lower() for name, _ in probe.headers}
    headers = [(name, value) for name, value in probe.headers]
    defaults = (("Host", f"127.0.0.1:{target.named_port}"), ("User-Agent", "homeport-probe"), ("Connection", "close"))
    headers += [(name, value) for name, value in defaults if name.lower() not in given]
    body = probe.body.encode()
    if body or probe.method in ("POST", "PUT", "PATCH"):
        headers.append(("Content-Length", str(len(body))))
    lines = [f"{probe.method} {probe.url or '/'} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    # one line break inside a value would be a header of its own
    return "\r\n".join(line.replace("\r", "").replace("\n", "") for line in lines).encode() + b"\r\n\r\n" + body


def _no_connection(target: Target, error: BaseException, timeout_s: float) -> str:
    if isinstance(error, TimeoutError):
        return f"port {target.named_port} did not accept a connection within {timeout_s:g} s"
    return f"nothing listens on port {target.named_port} yet ({_words(error)})"


def _words(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__

"""Looks at everything between this machine and a published service, for `homeport doctor`. Each look has a deadline.

What it does not cover: what the findings mean (`checks`).
"""

import http.client
import json
import os
import shutil
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TypeVar
from urllib.parse import urlsplit

from homeport import Client, Error, Unauthenticated, config
from homeport.errors import one_line
from homeport.wire import SERVER_NAME
from homeport_protos.versions import PROTOCOL

from homeport_cli import checks, programs
from homeport_cli.checks import Check

LOOK_S = 3.0  # each of them
CALL_S = 5.0
HOST_S = 150.0  # all looks at a host: each has a deadline of its own, this is for what has none
Found = TypeVar("Found")


def examine(environ: Mapping[str, str]) -> Iterator[Check]:
    """The findings, as they are found; what cannot be looked at because of one before it is left out."""
    try:
        settings = config.load(environ)
    except Error as error:
        yield Check("fail", "configuration", str(error))
    else:
        yield _file(environ)
        yield from _server(settings)
    yield checks.git(shutil.which("git"))


def examine_host() -> Iterator[Check]:
    """The findings about this machine, by the agent's own looks. Raises Error when the agent is not installed."""
    for line in programs.lines_of("homeport_agent", "agent", ["doctor", "--json"], HOST_S):
        yield Check(**json.loads(line))


def within(limit_s: float, look: Callable[[], Found]) -> Found:
    """`look()`; TimeoutError when it takes longer. A resolver, for one, has no deadline of its own."""
    found: list[Found] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            found.append(look())
        except Exception as error:  # raised again where it is waited for
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit_s)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError("no answer in time")
    return found[0]


def _file(environ: Mapping[str, str]) -> Check:
    file = config.path(environ)
    try:
        return checks.file_mode(file, stat.S_IMODE(file.stat().st_mode))
    except OSError:
        return checks.file_mode(file, None)


def _server(settings: config.Config) -> Iterator[Check]:
    host, _, port = settings.server.rpartition(":")
    place = (host.strip("[]"), int(port))
    try:
        within(LOOK_S, lambda: socket.create_connection(place, LOOK_S).close())
    except OSError as error:
        yield Check("fail", "server", f"{settings.server}: {_reason(error)}", "is it running, and no firewall between?")
        return
    yield Check("ok", "server", f"{settings.server} answers")
    try:
        yield checks.certificate(within(LOOK_S, lambda: _days_left(place, settings.ca_pem)))
    except ssl.SSLCertVerificationError as error:
        yield Check("fail", "certificate", error.verify_message, "run `homeport login` again with the server's CA")
        return
    except (OSError, ValueError) as error:
        yield Check(
            "fail", "certificate", f"no TLS there: {_reason(error)}", "is this the API's port, 7400 by default?"
        )
        return
    with Client(settings.server, token=settings.token, ca=settings.ca_pem, deadline_s=CALL_S) as api:
        yield from _api(api, settings)


def _api(api: Client, settings: config.Config) -> Iterator[Check]:
    try:
        server = api.server()
    except Error as error:
        yield Check("fail", "token" if isinstance(error, Unauthenticated) else "server", str(error))
        return
    yield checks.token(server)
    yield checks.versions(_own_version(), PROTOCOL, server)
    if server.HasField("leader"):
        yield checks.leader(server.leader, time.time())
    yield _clock(settings)
    yield checks.gateway(server.gateway)
    try:
        yield from checks.hosts(api.hosts())
    except Error as error:
        yield Check("fail", "hosts", str(error))
    if server.gateway.ready:
        yield from _gateway(server.gateway.example_url, server.gateway.domain, settings)


def _clock(settings: config.Config) -> Check:
    host, _, port = config.web_address(settings.server).rpartition(":")
    place = (host.strip("[]"), int(port))
    try:
        sent_s = time.time()
        server_s = within(LOOK_S, lambda: _date(place, settings.ca_pem))
        return checks.clock(server_s - (sent_s + time.time()) / 2)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Check("warn", "clock", f"cannot ask https://{host}:{port} for its time: {_reason(error)}")


def _gateway(url: str, domain: str, settings: config.Config) -> Iterator[Check]:
    name = f"homeport-doctor.{domain}"
    local = domain == "localhost" or domain.endswith(".localhost")
    try:
        addresses = within(LOOK_S, lambda: sorted({str(info[4][0]) for info in socket.getaddrinfo(name, None)}))
    except OSError:
        addresses = []
    if local:
        yield checks.names(name, addresses)
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        # A name under localhost is this machine, whatever its resolver makes of it.
        within(LOOK_S, lambda: socket.create_connection(("127.0.0.1" if local else name, port), LOOK_S).close())
    except OSError as error:
        why = f"nothing answers at port {port} of {'this machine' if local else name}: {_reason(error)}"
        if local and not _is_here(settings.server):
            why += f". A gateway for {domain} listens on its own host only"
            yield Check("warn", "gateway port", why, "use the services there, or forward the port: `ssh -L`")
        else:
            yield Check("fail", "gateway port", why, "is the agent of its host running? `homeport gateway list`")
    else:
        yield Check("ok", "gateway port", f"port {port} answers")


def _is_here(server: str) -> bool:
    return server.startswith(("127.", "localhost:", "[::1]"))


def _days_left(place: tuple[str, int], ca_pem: str) -> float:
    with _tls(place, ca_pem, ["h2"]) as connection:
        names = connection.getpeercert() or {}
        return (ssl.cert_time_to_seconds(str(names["notAfter"])) - time.time()) / 86400


def _date(place: tuple[str, int], ca_pem: str) -> float:
    """The time that the server's web port says, seconds since the epoch."""
    with _tls(place, ca_pem, ["http/1.1"]) as connection:
        connection.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: homeport\r\nConnection: close\r\n\r\n")
        answer = http.client.HTTPResponse(connection, method="HEAD")
        answer.begin()
        said = answer.getheader("date")
    if not said:
        raise ValueError("it does not say")
    return parsedate_to_datetime(said).timestamp()


def _tls(place: tuple[str, int], ca_pem: str, protocols: list[str]) -> ssl.SSLSocket:
    context = ssl.create_default_context(cadata=ca_pem)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as gRPC checks it: a private CA needs no key identifiers
    context.set_alpn_protocols(protocols)
    plain = socket.create_connection(place, LOOK_S)
    try:
        return context.wrap_socket(plain, server_hostname=SERVER_NAME)
    except BaseException:
        plain.close()
        raise


def _own_version() -> str:
    try:
        return version("homeport")
    except PackageNotFoundError:
        return "unknown"


def _reason(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    return one_line(os.strerror(number) if number and number > 0 else str(error)).lower() or "no answer"

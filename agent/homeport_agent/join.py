"""Joining a server: trust it by the hash in the token, only then tell it the token.

Covers the order of the steps and the sentence of each failure. The CA comes over TLS that nobody has verified yet: it
is worth nothing until its hash is the one in the token.
"""

import asyncio
import http.client
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from grpc.aio import AioRpcError
from homeport_protos.agent.v1 import agent_pb2
from homeport_protos.agent.v1.agent_pb2_grpc import EnrollmentStub
from homeport_protos.versions import PROTOCOL

from homeport_agent import keys
from homeport_agent.channel import tls_channel, why
from homeport_agent.identity import Identity, IdentityStore, NotJoined, ca_sha256
from homeport_agent.renewal import CannotRenew, recover

API_PORT = 7400
WEB_PORT_AFTER_API = 2  # the web port is the API's plus this, unless it is given
FETCH_S = 15.0
JOIN_S = 30.0
_CA_LIMIT_BYTES = 64 * 1024
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TOKEN = re.compile(r"hpj_([0-9a-f]{64})_([A-Za-z0-9_-]{8,})")


class CannotJoin(Exception):
    """One line: what happened, why, what to do."""


class BadJoinInput(CannotJoin):
    """What was typed cannot be right; nothing was tried."""


@dataclass(frozen=True, slots=True)
class JoinToken:
    ca_sha256: str
    text: str = field(repr=False)


def parse_token(text: str) -> JoinToken:
    """Raises BadJoinInput."""
    match = _TOKEN.fullmatch(text.strip())
    if match is None:
        raise BadJoinInput(
            "this is no join token (hpj_…); copy it whole from the output of: homeport fleet join-command"
        )
    return JoinToken(match.group(1), text.strip())


def parse_label(text: str) -> tuple[str, str]:
    """`rack=a`. Raises BadJoinInput."""
    key, equals, value = text.partition("=")
    if not equals or not _LABEL.fullmatch(key) or not _LABEL.fullmatch(value):
        raise BadJoinInput(
            f"--label {text!r} is no NAME=VALUE of letters, digits, '.', '_' and '-'; for example: --label rack=a"
        )
    return key, value


def parse_server(text: str) -> tuple[str, int]:
    """`host`, `host:port`, `[v6]:port` -> host without brackets, API port. Raises BadJoinInput."""
    match = re.fullmatch(r"(?:https?://)?(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/\s]+))(?::(\d{1,5}))?/?", text.strip())
    port = int(match.group(3) or API_PORT) if match else 0
    if match is None or not 0 < port < 65536:
        raise BadJoinInput(f"--server {text!r} is no HOST:PORT; for example: --server 192.168.1.10:{API_PORT}")
    return match.group(1) or match.group(2), port


async def join(
    store: IdentityStore,
    server: str,
    token_text: str,
    name: str,
    web_port: int | None = None,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Identity, bool]:
    """Join, and keep the identity. Returns it, and whether the host had joined this server before (then it is the same host
    still). Raises CannotJoin."""
    token, (host, api_port) = parse_token(token_text), parse_server(server)
    known = _known(store, token)
    if known is not None and known.is_expired(time.time()):
        known = await _recovered(store, known)
    if known is not None:
        return known, True
    ca_pem = await asyncio.to_thread(fetch_ca, host, web_port or api_port + WEB_PORT_AFTER_API)
    if (found := ca_sha256(ca_pem)) != token.ca_sha256:
        raise CannotJoin(
            f"the server at {host} is not the one that made this token (its CA is {found[:12]}…, the token's "
            f"{token.ca_sha256[:12]}…): the token was not sent; check the address, or make a new token there"
        )
    try:
        fresh = await keys.new_key(name)
        request = agent_pb2.JoinRequest(
            token=token.text, hostname=name, csr_pem=fresh.csr_pem, protocol=PROTOCOL, labels=labels
        )
        answer = await _ask(host, api_port, ca_pem, request)
        not_before_s, not_after_s = await keys.validity(answer.certificate_pem)
    except keys.KeysFailed as error:
        raise CannotJoin(str(error)) from None
    identity = Identity(
        server_host=host,
        api_port=api_port,
        link_port=answer.link_port or api_port + 1,
        server_id=answer.server_id,
        host_id=answer.host_id,
        name=name,
        not_before_s=not_before_s,
        not_after_s=not_after_s,
        key_pem=fresh.key_pem,
        certificate_pem=answer.certificate_pem,
        ca_pem=ca_pem,  # the one whose hash was checked, whatever the answer says
    )
    try:
        await asyncio.to_thread(store.save, identity)
    except OSError as error:
        raise CannotJoin(f"the identity cannot be written to {store.folder}: {error.strerror}") from None
    return identity, False


def _known(store: IdentityStore, token: JoinToken) -> Identity | None:
    """The identity that makes joining needless. Raises CannotJoin when it is another server's."""
    if not store.is_there():
        return None
    try:
        known = store.read()
    except NotJoined as error:
        raise CannotJoin(str(error)) from None
    if ca_sha256(known.ca_pem) != token.ca_sha256:
        raise CannotJoin(
            f"this host belongs to the server at {known.server_host} already; remove {store.folder} to leave it, "
            "or choose another --state-dir"
        )
    return known


async def _recovered(store: IdentityStore, known: Identity) -> Identity | None:
    """Away for longer than its certificate lived: the same host again, by a proof of its key. None: the token lets it in, as
    another host. Raises CannotJoin."""
    try:
        recovered = await recover(known)
    except CannotRenew:
        return None
    try:
        await asyncio.to_thread(store.save, recovered)
    except OSError as error:
        raise CannotJoin(f"the identity cannot be written to {store.folder}: {error.strerror}") from None
    return recovered


def fetch_ca(host: str, port: int) -> str:
    """The server's CA as it says it is; unverified. Blocking. Raises CannotJoin."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"https://{host}:{port}/ca.pem"
    connection = http.client.HTTPSConnection(host, port, timeout=FETCH_S, context=context)
    try:
        connection.request("GET", "/ca.pem")
        answer = connection.getresponse()
        text = answer.read(_CA_LIMIT_BYTES).decode("ascii", "replace")
        if answer.status != 200:
            raise CannotJoin(f"{url} answered {answer.status}; is this the web port of a Homeport server (--web-port)?")
        ca_sha256(text)
    except ssl.SSLError:
        raise CannotJoin(f"{url} does not speak TLS; is this the web port of a Homeport server (--web-port)?") from None
    except (OSError, http.client.HTTPException) as error:
        words = (
            "no answer in time" if isinstance(error, TimeoutError) else getattr(error, "strerror", None) or str(error)
        )
        raise CannotJoin(
            f"cannot get {url}: {words}; does the server run there, and may this host reach that port (--web-port)?"
        ) from None
    except ValueError:
        raise CannotJoin(f"{url} is no certificate; is this the web port of a Homeport server (--web-port)?") from None
    finally:
        connection.close()
    return text


async def _ask(host: str, port: int, ca_pem: str, request: agent_pb2.JoinRequest) -> agent_pb2.JoinResponse:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    async with tls_channel(target, ca_pem) as channel:
        try:
            return await EnrollmentStub(channel).Join(request, timeout=JOIN_S)
        except AioRpcError as error:
            raise CannotJoin(why(error, target)) from None

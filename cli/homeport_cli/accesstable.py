"""Tokens, users, and the line with which a host joins. Pure: messages of the API in, what is shown out."""

import shlex
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp
from homeport.config import WEB_PORT_OFFSET
from homeport_protos.api.v1 import api_pb2
from rich.console import RenderableType
from rich.text import Text

from homeport_cli.render import age, state_text, table_of, until


def tokens(rows: Sequence[api_pb2.Token], now_s: float) -> RenderableType:
    if not rows:
        return Text("No tokens.")
    table = table_of("NAME", "ID", "USER", "ROLE", "SERVICES", "STATUS", "EXPIRES", "CREATED")
    for row in rows:
        services = ", ".join(row.services) if row.services else ("all" if row.role == "service" else "")
        expires = until(row.expires_at, now_s) if row.HasField("expires_at") else "never"
        cells = (row.name, row.id, row.user, row.role, services)
        table.add_row(
            *map(Text, cells), state_text(_token_state(row, now_s)), Text(expires), Text(age(row.created_at, now_s))
        )
    return table


def users(rows: Sequence[api_pb2.User], now_s: float) -> RenderableType:
    if not rows:
        return Text("No users.")
    table = table_of("NAME", "ROLE", "TOKENS", "CREATED")
    for row in rows:
        table.add_row(Text(row.name), Text(row.role), Text(str(row.tokens)), Text(age(row.created_at, now_s)))
    return table


def join_command(server: str, joining: api_pb2.Joining, token: str, labels: Sequence[str] = ()) -> str:
    """One line for a shell. -k: the server's certificate is of its own CA, the pin is what proves that it is the one."""
    host = server.rpartition(":")[0]
    fetch = f"curl -fsSLk --pinnedpubkey {shlex.quote(f'sha256//{joining.public_key_pin}')}"
    words = ["--server", server, "--join", token]
    if joining.web_port != int(server.rpartition(":")[2]) + WEB_PORT_OFFSET:
        words += ["--web-port", str(joining.web_port)]
    for label in labels:
        words += ["--label", label]
    return f"{fetch} https://{host}:{joining.web_port}/install.sh | sudo sh -s -- {shlex.join(words)}"


def join_hint(server: str, joining: api_pb2.Joining, expires_at: Timestamp, now_s: float) -> list[str]:
    lines = [
        f"Run it on the host. The token in it expires {until(expires_at, now_s)}.",
        f"It pins this server's key; the script has the SHA-256 {joining.script_sha256}",
    ]
    if _is_loopback(joining.bind):
        lines.append(
            f"The server listens on {joining.bind} only, no other machine reaches it: start it with --bind ADDRESS."
        )
    elif _is_loopback(server.rpartition(":")[0]):
        lines.append(
            f"Only this machine knows the server as {server}: write the address that the host reaches it by (--server)."
        )
    return lines


def _is_loopback(host: str) -> bool:
    return host.strip("[]") in {"localhost", "::1"} or host.startswith("127.")


def _token_state(token: api_pb2.Token, now_s: float) -> str:
    if token.HasField("revoked_at"):
        return "revoked"
    if token.HasField("expires_at") and token.expires_at.seconds <= now_s:
        return "expired"
    return "valid"

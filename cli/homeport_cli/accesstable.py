"""Tokens, users, and the line with which a host joins. Pure: messages of the API in, what is shown out."""

import shlex
from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp
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


def join_command(server: str, token: str) -> str:
    join = f"homeport agent join --server {shlex.quote(server)} --token {shlex.quote(token)}"
    return f"{join} && homeport agent run"


def join_hint(server: str, expires_at: Timestamp, now_s: float) -> str:
    hint = f"Run it as root on the host. The token in it expires {until(expires_at, now_s)}."
    if server.startswith(("127.", "localhost:", "[::1]")):
        hint += f" Only this machine knows the server as {server}: write the address that the host reaches it by."
    return hint


def _token_state(token: api_pb2.Token, now_s: float) -> str:
    if token.HasField("revoked_at"):
        return "revoked"
    if token.HasField("expires_at") and token.expires_at.seconds <= now_s:
        return "expired"
    return "valid"

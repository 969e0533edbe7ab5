"""`homeport token`: what users and programs call the API and the services with."""

import time
from typing import Annotated

import typer
from homeport_protos.api.v1 import api_pb2

from homeport_cli import accesstable, render
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal
from homeport_cli.durations import seconds
from homeport_cli.errors import UsageError

app = verbs("Tokens of users and services.")
ROLES = ("user", "service", "metrics", "admin")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for: it is listed and revoked by it.")],
    role: Annotated[
        str,
        typer.Option(
            "--role", help="user, service (may only call services), metrics (may only read /metrics) or admin."
        ),
    ] = "user",
    services: Annotated[
        list[str] | None, typer.Option("--service", help="With the role service: only this service; may be repeated.")
    ] = None,
    ttl: Annotated[
        str | None, typer.Option("--ttl", "--expires", help="How long it is valid: 12h, 30d. Without: for ever.")
    ] = None,
    user: Annotated[
        str, typer.Option("--user", help="Whose it will be; another one's than yours needs an admin.")
    ] = "",
) -> None:
    """Create a token and print it; it is shown this once."""
    if role not in ROLES:
        raise UsageError(f"--role: `{role}` is not a role; write {', '.join(ROLES)}")
    if services and role != "service":
        raise UsageError("--service needs --role service: users and admins may call every service")
    screen = terminal()
    ttl_s = seconds(ttl, "--ttl") if ttl else 0
    with connect() as api:
        answer = api.create_token(name, role=role, services=services or [], ttl_s=ttl_s, user=user)
    screen.data(answer.token)
    screen.say("Keep it now: it is not shown again.")
    if answer.description.HasField("expires_at"):
        screen.say(f"It expires {render.until(answer.description.expires_at, time.time())}.")


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="The API's own objects.")] = False) -> None:
    """List your tokens, an admin those of all; never the secret itself."""
    with connect() as api:
        found = api.tokens()
    answer = api_pb2.ListTokensResponse(tokens=found)
    terminal().data(render.json_text(answer) if as_json else accesstable.tokens(found, time.time()))


@app.command("revoke")
def revoke(token: Annotated[str, typer.Argument(metavar="NAME", help="The token's name or id.")]) -> None:
    """Make a token invalid, at once and for ever."""
    with connect() as api:
        api.revoke_token(token)
    terminal().say(f"Revoked {token}")

"""`homeport user`: who may log in."""

import time
from typing import Annotated

import typer
from homeport_protos.api.v1 import api_pb2

from homeport_cli import accesstable, render
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal
from homeport_cli.durations import seconds
from homeport_cli.errors import UsageError

app = verbs("Users: who may log in, and as what.")
ROLES = ("user", "admin")


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, `.`, `_` and `-`.")],
    role: Annotated[str, typer.Option("--role", help="user, or admin (hosts, users, everybody's tokens).")] = "user",
    expires: Annotated[
        str | None, typer.Option("--expires", help="How long the first token is valid: 12h, 30d. Without: for ever.")
    ] = None,
) -> None:
    """Create a user and print the first token, with which to log in; it is shown this once."""
    if role not in ROLES:
        raise UsageError(f"--role: `{role}` is not a role of users; write {', '.join(ROLES)}")
    screen = terminal()
    ttl_s = seconds(expires, "--expires") if expires else 0
    with connect() as api:
        answer = api.create_user(name, role=role, ttl_s=ttl_s)
    screen.data(answer.token)
    screen.say(f"Give it to {name}, for `homeport login`: it is not shown again.")


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="The API's own objects.")] = False) -> None:
    """List users."""
    with connect() as api:
        found = api.users()
    answer = api_pb2.ListUsersResponse(users=found)
    terminal().data(render.json_text(answer) if as_json else accesstable.users(found, time.time()))


@app.command("delete")
def delete(name: Annotated[str, typer.Argument(metavar="NAME", help="The user.")]) -> None:
    """Delete a user; its tokens are revoked, its runs go on."""
    with connect() as api:
        revoked = api.delete_user(name)
    terminal().say(f"Deleted {name}; revoked {revoked} of its tokens")

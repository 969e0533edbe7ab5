"""`homeport login`: which server, whose token, and why its certificate is to be trusted."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from homeport import Client, config

from homeport_cli import trust
from homeport_cli.commands import verbs
from homeport_cli.context import terminal
from homeport_cli.errors import UsageError

app = verbs()


@app.command("login")
def login(
    server: Annotated[str, typer.Option("--server", help="HOST or HOST:PORT.")],
    token: Annotated[str | None, typer.Option("--token", help="Your token; `-` reads it from standard input.")] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="The server's CA certificate, a PEM file.")] = None,
    ca_hash: Annotated[str | None, typer.Option("--ca-hash", help="SHA-256 of the CA certificate, in hex.")] = None,
    web_port: Annotated[
        int | None, typer.Option("--web-port", min=1, max=65535, help="Where the CA is; default: the API port + 2.")
    ] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Trust the server's CA without asking.")] = False,
) -> None:
    """Remember a server and a token, after both have been verified."""
    if ca and ca_hash:
        raise UsageError("--ca and --ca-hash say the same thing; pass one of them")
    screen = terminal()
    address = config.address(server)
    if ca:
        pem = config.read_ca(str(ca), Path.cwd())
    else:
        # The certificate comes over a connection that nothing vouches for; the hash, or the user, does.
        pem = trust.download(config.web_address(address, web_port))
        if ca_hash:
            trust.must_match(pem, ca_hash)
        elif not screen.confirm(f"{trust.introduce(address, pem)}\nTrust it?", yes=yes):
            raise UsageError("the server's CA is not trusted: nothing was saved")
    secret = _secret(token, interactive=screen.interactive)
    login_as = config.Config(address, secret, pem)
    with Client(address, token=secret, ca=pem) as api:
        answer = api.server()
    file = config.save(login_as, os.environ)
    screen.say(f"Logged in to {address} as {answer.user} ({answer.role}); saved in {file}")


def _secret(token: str | None, *, interactive: bool) -> str:
    if token is None and not interactive:
        raise UsageError("pass --token, or `--token -` to read it from standard input")
    if token is None:
        token = typer.prompt("Token", hide_input=True, err=True)
    elif token == "-":  # noqa: S105 - a dash is no password
        token = sys.stdin.readline()
    if not token.strip() or not token.strip().isprintable() or not token.isascii():
        raise UsageError("that is not a token; a token is one word such as hp_…")
    return token.strip()

"""`homeport bundle`: one file for hosts without internet."""

import os
from pathlib import Path
from typing import Annotated

import typer
from homeport import config

from homeport_cli import bundling, trust
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal
from homeport_cli.errors import UsageError

app = verbs()


@app.command("bundle")
def bundle(
    output: Annotated[Path, typer.Option("-o", "--output", help="Where to write it.")] = Path("homeport-bundle.tar.gz"),
    pythons: Annotated[
        list[str] | None, typer.Option("--python", metavar="VERSION", help="For hosts with this Python; repeat it.")
    ] = None,
    architecture: Annotated[str, typer.Option("--arch", help="x86_64 or aarch64.")] = "x86_64",
) -> None:
    """Make one file with the agent and all that it needs, for hosts that reach no package registry."""
    if architecture not in bundling.ARCHITECTURES:
        raise UsageError(f"--arch {architecture}: hosts are {' or '.join(bundling.ARCHITECTURES)}")
    screen, settings = terminal(), config.load(os.environ)
    with connect() as api:
        port = api.server().joining.web_port
    host = settings.server.rpartition(":")[0]

    def fetch(path: str) -> bytes:
        return trust.fetch(host, port, path, settings.ca_pem)

    build = bundling.make(fetch, output, pythons or bundling.PYTHONS, architecture, screen.say)
    screen.data(str(output))
    screen.say(
        f"The agent {build} with all that it needs. On a host: install.sh … --bundle FILE; or let the server serve it to all "
        "hosts: homeport server add-bundle FILE"
    )

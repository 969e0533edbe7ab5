"""`homeport delete -f`: what a file describes is stopped, and waited for."""

from pathlib import Path
from typing import Annotated

import typer
from homeport import manifest
from homeport.documents import kind_of

from homeport_cli import gateways, removing
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal
from homeport_cli.documents import named, run_name
from homeport_cli.stopping import stop_and_wait

app = verbs()


@app.command("delete")
def delete(
    file: Annotated[Path | None, typer.Option("-f", "--file", help="The configuration file.")] = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
) -> None:
    """Delete what a file describes: a service is stopped, a fleet's hosts are taken out, a gateway goes."""
    document = manifest.load(file).document_json
    if kind_of(document) == "fleet":
        with connect() as api:
            removing.delete_fleet(api, terminal(), named(document, "fleet"), yes=yes)
        return
    if kind_of(document) == "gateway":
        with connect() as api:
            gateways.delete(api, terminal(), named(document, "gateway"), yes=yes)
        return
    name = run_name(document)
    with connect() as api:
        stop_and_wait(api, terminal(), [name], verb="Delete", abort=False, yes=yes, wait=True)

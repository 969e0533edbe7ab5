"""`homeport gateway`: where services are published."""

from typing import Annotated

import typer

from homeport_cli import gatewaytable, render
from homeport_cli.commands import verbs
from homeport_cli.context import connect, terminal

app = verbs("The gateways that publish services.")


@app.callback()
def gateway() -> None:
    """The gateways that publish services."""


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="The API's own objects.")] = False) -> None:
    """List gateways."""
    with connect() as api:
        answer = api.list_gateways()
    terminal().data(render.json_text(answer) if as_json else gatewaytable.gateways(answer.gateways))

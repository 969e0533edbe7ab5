"""`homeport gateway`: where services are published. Made and changed by `homeport apply`."""

from typing import Annotated

import typer
from homeport_protos.api.v1 import api_pb2

from homeport_cli import gateways, gatewaytable, render
from homeport_cli.commands import verbs
from homeport_cli.completing import gateway_names
from homeport_cli.context import connect, terminal
from homeport_cli.errors import CliError

app = verbs("The gateways that publish services.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name.", autocompletion=gateway_names)]


@app.callback()
def gateway() -> None:
    """The gateways that publish services."""


@app.command("list")
def show(as_json: Annotated[bool, typer.Option("--json", help="The API's own objects.")] = False) -> None:
    """List gateways."""
    with connect() as api:
        found = api.gateways()
    answer = api_pb2.ListGatewaysResponse(gateways=found)
    terminal().data(render.json_text(answer) if as_json else gatewaytable.gateways(found))


@app.command("get")
def get(
    name: Name,
    as_json: Annotated[bool, typer.Option("--json", help="The API's own object.")] = False,
) -> None:
    """Show one gateway with everything: its host, where it listens, and what it publishes."""
    with connect() as api:
        found = [it for it in api.gateways() if it.name == name]
    if not found:
        raise CliError(f"no gateway {name}; `homeport gateway list` shows all")
    terminal().data(render.json_text(found[0]) if as_json else gatewaytable.gateway(found[0]))


@app.command("delete")
def delete(name: Name, yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False) -> None:
    """Delete a gateway that publishes nothing: its Envoy is stopped."""
    with connect() as api:
        gateways.delete(api, terminal(), name, yes=yes)


@app.command("set-default")
def set_default(name: Name) -> None:
    """Publish by it, from now on, what is applied and names no gateway."""
    with connect() as api:
        terminal().data(api.set_default_gateway(name))


@app.command("ca")
def ca(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Its name; the default one without.", autocompletion=gateway_names)
    ] = "",
) -> None:
    """Print the CA that signs the certificates of a gateway with `certificate: self-signed`, for who is to trust it."""
    with connect() as api:
        terminal().data(api.gateway_ca(name).strip())

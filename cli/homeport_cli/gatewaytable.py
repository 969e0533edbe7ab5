"""`gateway list`: gateways as a table. Pure."""

from collections.abc import Sequence

from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.text import Text

from homeport_cli.render import table_of


def gateways(rows: Sequence[api_pb2.Gateway]) -> RenderableType:
    """`gateway list`: a row each, and a line for each that is not ready."""
    if not rows:
        return Text("No gateways.")
    table = table_of("NAME", "DOMAIN", "HOST", "SERVICES", "STATUS")
    for row in rows:
        status = Text("ready", style="green") if row.ready else Text("not ready", style="yellow")
        table.add_row(*map(Text, (row.name, row.domain, row.host, row.example_url)), status)
    reasons = [Text(f"{row.name}: {row.message}") for row in rows if row.message and not row.ready]
    return Group(table, "", *reasons) if reasons else table

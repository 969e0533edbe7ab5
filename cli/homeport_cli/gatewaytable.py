"""Gateways as a table, one as a card, and the plan of one. Pure."""

from collections.abc import Iterator, Sequence

from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.text import Text

from homeport_cli.render import changes, properties, table_of

SHOWN_SERVICES = 20


def gateways(rows: Sequence[api_pb2.Gateway]) -> RenderableType:
    """`gateway list`: a row each, and a line for each that is not ready, or ready and not right."""
    if not rows:
        return Text("No gateways.")
    table = table_of("NAME", "DOMAIN", "HOST", "DEFAULT", "SERVICES", "STATUS")
    for row in rows:
        cells = (row.name, row.domain, row.host or "-", "yes" if row.default else "", row.example_url)
        table.add_row(*map(Text, cells), _status(row))
    reasons = [Text(f"{row.name}: {reason}") for row in rows for reason in _reasons(row)]
    return Group(table, "", *reasons) if reasons else table


def gateway(row: api_pb2.Gateway) -> RenderableType:
    """`gateway get`: everything of one."""
    table = table_of("", "", show_header=False)
    count = len(row.services)
    names = ", ".join(row.services[:SHOWN_SERVICES]) + (", …" if count > SHOWN_SERVICES else "")
    has_end = row.HasField("certificate_until")
    until = f", until {row.certificate_until.ToDatetime():%Y-%m-%d %H:%M} UTC" if has_end else ""
    old = f"{row.old_domain}, until the new one is served" if row.old_domain else ""
    for name, value in (
        ("Name", Text(row.name)),
        ("Domain", Text(row.domain)),
        ("Old domain", Text(old)),
        ("Status", _status(row)),
        ("Reason", Text("; ".join(_reasons(row)))),
        ("Host", Text(row.host or f"none yet ({row.wanted_host})")),
        ("Listens on", Text(row.listens)),
        ("Certificate", Text(row.certificate + until)),
        ("Default", Text("yes" if row.default else "no")),
        ("Services at", Text(row.example_url)),
        ("Publishes", Text(f"{count}: {names}" if count else "nothing")),
    ):
        if value.plain:
            table.add_row(Text(name, style="bold"), value)
    return table


def plan(answer: api_pb2.PlanGatewayResponse) -> RenderableType:
    parts: list[RenderableType] = [properties(answer.properties), ""]
    if answer.changes:
        parts += [changes(answer.changes), ""]
    return Group(*parts)


def _status(row: api_pb2.Gateway) -> Text:
    return Text("ready", style="green") if row.ready else Text("not ready", style="yellow")


def _reasons(row: api_pb2.Gateway) -> Iterator[str]:
    if row.message and not row.ready:
        yield row.message
    if row.notice:
        yield row.notice

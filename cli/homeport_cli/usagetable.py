"""Totals of requests and tokens as a table. Pure: a message of the API in, what is shown out."""

from collections.abc import Sequence
from datetime import UTC, datetime

from homeport_protos.api.v1 import api_pb2
from rich.console import Group, RenderableType
from rich.text import Text

from homeport_cli.render import table_of

OPEN = "(no token)"
NO_MODEL = "-"
_HEADS = {"token": "TOKEN", "service": "SERVICE", "model": "MODEL", "user": "USER", "hour": "HOUR", "day": "DAY"}
NUMBERS = ("REQUESTS", "PROMPT TOKENS", "COMPLETION TOKENS", "TOKENS")


def usage(answer: api_pb2.UsageResponse, by: Sequence[str]) -> RenderableType:
    """A row for each that is told apart, and one for all together."""
    if not answer.rows:
        return Group(*map(Text, ["Nothing was called.", *([answer.note] if answer.note else [])]))
    table = table_of(*(_HEADS[name] for name in by), *NUMBERS)
    for column in table.columns[len(by) :]:
        column.justify = "right"
    for row in answer.rows:
        table.add_row(*(Text(_cell(row, name)) for name in by), *_numbers(row))
    if len(answer.rows) > 1 and by:
        table.add_row(Text("all", style="bold"), *[Text("")] * (len(by) - 1), *_numbers(answer.total))
    return Group(table, "", Text(answer.note, style="yellow")) if answer.note else table


def _cell(row: api_pb2.UsageRow, name: str) -> str:
    match name:
        case "token":
            return row.token_name or row.token_id or OPEN
        case "model":
            return row.model or NO_MODEL
        case "user":
            return row.user or OPEN
        case "service":
            return row.service
        case _:
            began = datetime.fromtimestamp(getattr(row, "from").seconds, UTC)
            return f"{began:%Y-%m-%d %H:00}" if name == "hour" else f"{began:%Y-%m-%d}"


def _numbers(row: api_pb2.UsageRow) -> list[Text]:
    counts = (row.requests, row.prompt_tokens, row.completion_tokens, row.prompt_tokens + row.completion_tokens)
    return [Text(f"{count:,}") for count in counts]

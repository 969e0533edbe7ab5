"""Events as lines: a head, then one line each, in columns that also stand while more come in."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from google.protobuf.json_format import MessageToJson
from homeport_protos.api.v1 import api_pb2

HEADS = ("TIME", "OBJECT", "ACTOR", "CAUSE", "WHAT HAPPENED")
LEAST = (19, 20, 12, 12)  # columns; what is longer pushes the rest of its line


class EventText:
    """`lines(events)` for each batch; columns never get narrower, so that a watch does not jump about."""

    def __init__(self) -> None:
        self._widths = list(LEAST)
        self._has_head = False

    def lines(self, events: Sequence[api_pb2.Event]) -> list[str]:
        rows = [_cells(event) for event in events]
        for column in range(len(self._widths)):
            self._widths[column] = max([self._widths[column], *(len(row[column]) for row in rows)])
        head = [] if self._has_head or not rows else [self._line(HEADS)]
        self._has_head = self._has_head or bool(rows)
        return head + [self._line(row) for row in rows]

    def _line(self, cells: Sequence[str]) -> str:
        fixed = (f"{cell:{width}}" for cell, width in zip(cells, self._widths, strict=False))
        return f"{'  '.join(fixed)}  {cells[-1]}"


def json_lines(events: Iterable[api_pb2.Event]) -> list[str]:
    """One object on one line for each."""
    return [
        MessageToJson(event, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=None)
        for event in events
    ]


def _cells(event: api_pb2.Event) -> tuple[str, ...]:
    moment = datetime.fromtimestamp(event.at.seconds, UTC).astimezone()
    return (f"{moment:%Y-%m-%d %H:%M:%S}", f"{event.kind} {event.name}", event.actor, event.cause_id, event.sentence)

"""What a row of `replicas` is as a value, and a value as a row."""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from homeport_control.domain.replicas import Phase, Replica, Wanted
from homeport_control.store.kept import Kept
from homeport_control.store.schema import replicas

# Lists come as their text, so that a row can be compared with one that was read before.
COLUMNS = tuple(
    sa.cast(column, sa.Text).label(column.name) if isinstance(column.type, sa.JSON) else column
    for column in (replicas.c[field] for field in Replica.__slots__)
)


def _made(row: tuple[Any, ...]) -> Replica:
    values = dict(zip(Replica.__slots__, row, strict=True))
    values.update(
        wanted=Wanted(values["wanted"]),
        phase=Phase(values["phase"]),
        log_tail=tuple(json.loads(values["log_tail"])),
        gpu_uuids=tuple(json.loads(values["gpu_uuids"])),
    )
    return Replica(**values)


_KEPT = Kept(_made)
_ID = Replica.__slots__.index("id")


def replica_of(row: Sequence[Any]) -> Replica:
    return _KEPT.of(row[_ID], tuple(row))


def values_of(replica: Replica) -> dict[str, Any]:
    values = {field: getattr(replica, field) for field in Replica.__slots__}
    values["log_tail"], values["gpu_uuids"] = list(replica.log_tail), list(replica.gpu_uuids)
    return values

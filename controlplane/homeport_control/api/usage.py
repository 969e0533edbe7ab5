"""Totals of requests and tokens, for who asks: an admin sees all, a user those of their own tokens."""

import time
from datetime import UTC, datetime

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.auth import Caller
from homeport_control.api.convert import timestamp
from homeport_control.domain.errors import BadRequest
from homeport_control.domain.usage import Usage, UsageKey
from homeport_control.store import tokens, usage
from homeport_control.store.connect import Database

_FIELDS = {"token": "token_id", "service": "service", "model": "model", "user": "user", "hour": "hour", "day": "day"}
_USUAL = ("token", "service", "model")


async def usage_of(database: Database, caller: Caller, request: api_pb2.UsageRequest) -> api_pb2.UsageResponse:
    """Raises BadRequest."""
    by = tuple(dict.fromkeys(request.by)) or _USUAL
    if unknown := [name for name in by if name not in _FIELDS]:
        raise BadRequest(f"usage cannot be told apart by {unknown[0]}; choose from {', '.join(_FIELDS)}")
    if {"hour", "day"} <= set(by):
        raise BadRequest("usage is told apart by hour or by day, not by both")
    since_s = time.time() - request.since_s if request.since_s > 0 else 0.0
    user = None if caller.is_admin else caller.name
    async with database.read() as connection:
        found = await usage.totals(connection, since_s, [_FIELDS[name] for name in by], user)
        missed_at_s = await usage.missed_since(connection, since_s)
        known = {it.id: it for it in await tokens.list_all(connection)} if "token" in by else {}

    def row(key: UsageKey, sums: Usage) -> api_pb2.UsageRow:
        token = known.get(key.token_id)
        return api_pb2.UsageRow(
            token_id=key.token_id,
            token_name=token.name if token else "",
            user=key.user or (token.user if token else ""),
            service=key.service,
            model=key.model,
            requests=sums.requests,
            prompt_tokens=sums.prompt_tokens,
            completion_tokens=sums.completion_tokens,
            **({"from": timestamp(key.from_s)} if key.from_s else {}),
        )

    found.sort(
        key=lambda it: (it[0].from_s, -it[1].prompt_tokens - it[1].completion_tokens, -it[1].requests, repr(it[0]))
    )
    total = sum((sums for _, sums in found), Usage())
    note = ""
    if missed_at_s is not None:
        when = datetime.fromtimestamp(missed_at_s, UTC)
        note = (
            f"not whole: until {when:%Y-%m-%d %H:%M} UTC a gateway wrote more requests than its log keeps while this server "
            "was away, and the oldest of them were not counted"
        )
    rows = [row(key, sums) for key, sums in found]
    return api_pb2.UsageResponse(rows=rows, total=row(UsageKey(), total), note=note)

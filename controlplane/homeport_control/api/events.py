"""Events by the API: the newest of what matches, and with `follow` what comes, from where a broken follow was."""

import time
from collections.abc import AsyncGenerator

from homeport_protos.api.v1 import api_pb2

from homeport_control.api.convert import timestamp
from homeport_control.domain.errors import BadRequest
from homeport_control.domain.events import KINDS, Event
from homeport_control.store import events
from homeport_control.store.connect import Database
from homeport_control.store.events import PAGE, Filter

DEFAULT_LIMIT = 100
MAX_LIMIT = 100_000
LOOK_EVERY_S = 15.0  # the net under a missed topic, and what another process of this machine wrote


async def stream(database: Database, request: api_pb2.EventsRequest) -> AsyncGenerator[api_pb2.EventsResponse, None]:
    """Oldest first. Each answer says how far it goes (`last_id`), also when nothing up to there matched.

    A follow from an event on (`after_id`) gets all that came since; else it begins with the newest `limit`.
    """
    which, limit = _filter(request), request.limit or DEFAULT_LIMIT
    with database.changes.subscribe("events") as subscription:
        async with database.read() as connection:
            seen_id = await events.last_id(connection)
            if not (request.follow and request.after_id):
                found = await events.newest(connection, which, limit, after_id=request.after_id, up_to_id=seen_id)
        if request.follow and request.after_id:
            seen_id = request.after_id
        else:
            for start in range(0, len(found) or 1, PAGE):
                yield _answer(found[start : start + PAGE], seen_id)
        while request.follow:
            async with database.read() as connection:
                up_to_id = await events.last_id(connection)
                found = await events.later(connection, which, seen_id, up_to_id)
            if len(found) == PAGE:
                up_to_id = found[-1].id
            if up_to_id > seen_id:
                seen_id = up_to_id
                yield _answer(found, seen_id)
            if len(found) < PAGE:
                await subscription.wait(LOOK_EVERY_S)


def _filter(request: api_pb2.EventsRequest) -> Filter:
    if request.kind and request.kind not in KINDS:
        raise BadRequest(f"no kind {request.kind} of events; the kinds are {', '.join(KINDS)}")
    if not 0 <= request.limit <= MAX_LIMIT:
        raise BadRequest(f"the limit is {request.limit}; it can be 1 to {MAX_LIMIT}")
    if not 0 <= request.since_s < float("inf"):
        raise BadRequest("since is a number of seconds, not negative")
    since_s = time.time() - request.since_s if request.since_s else 0.0
    return Filter(request.kind, request.name, request.cause_id, since_s)


def _answer(found: tuple[Event, ...], last_id: int) -> api_pb2.EventsResponse:
    return api_pb2.EventsResponse(events=[_message(event) for event in found], last_id=last_id)


def _message(event: Event) -> api_pb2.Event:
    return api_pb2.Event(
        id=event.id,
        at=timestamp(event.at_s),
        kind=event.kind,
        object_id=event.object_id,
        name=event.name,
        actor=event.actor,
        cause_id=event.cause_id,
        sentence=event.sentence,
    )

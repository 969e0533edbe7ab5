"""What the gateways of this host have counted: requests and tokens by who called what, added up from their access logs.

Covers requests of the server, one at a time for each gateway, and adding up. The server says from which place on, and asks
again when it has kept the answer: nothing is kept here, and nothing is counted twice or lost while the log has it. Lines that
cannot be read are passed over. Does not cover the files (envoy/access_log).
"""

import asyncio
import json
import logging
from calendar import timegm
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from time import strptime
from typing import Any

from homeport_protos.agent.v1 import agent_pb2

from homeport_agent.envoy.access_log import AccessLog, Piece, Place
from homeport_agent.outbox import Outbox, SessionClosed
from homeport_agent.runner import Spawn

log = logging.getLogger("homeport.agent")

LOOK_S = 1.0  # how often the log is looked at when there was nothing new

Key = tuple[int, str, str, str]  # hour, token, service, model


class UsageDesk:
    def __init__(self, access: Callable[[str], AccessLog], spawn: Spawn, look_s: float = LOOK_S) -> None:
        """`access`: the access log of a gateway, by its name."""
        self._access = access
        self._spawn = spawn
        self._look_s = look_s
        self._outbox = Outbox()
        self._answering: dict[str, asyncio.Task[None]] = {}  # by gateway
        self._kept: dict[str, Place] = {}  # by gateway: up to where the server has it
        self._heard: dict[str, asyncio.Event] = {}

    def opened(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def requested(self, request: agent_pb2.UsageRequest) -> None:
        """A newer request takes the place of the one before it for the same gateway."""
        gateway = request.gateway
        if (before := self._answering.pop(gateway, None)) is not None:
            before.cancel()
        self._kept[gateway] = Place.of(request.after)
        self._answering[gateway] = self._spawn(self._answer(self._outbox, request))
        if gateway in self._heard:
            self._heard[gateway].set()

    def closed(self) -> None:
        for answering in self._answering.values():
            answering.cancel()
        self._answering.clear()

    async def counted(self, gateway: str) -> None:
        """Until the server has kept all that the log of this gateway has. Its caller says how long that may take."""
        log, heard = self._access(gateway), self._heard.setdefault(gateway, asyncio.Event())
        try:
            while True:
                heard.clear()
                if await asyncio.to_thread(log.read, self._kept.get(gateway, Place())) is None:
                    return
                await heard.wait()
        finally:
            del self._heard[gateway]

    async def _answer(self, outbox: Outbox, request: agent_pb2.UsageRequest) -> None:
        access, place, said = self._access(request.gateway), Place.of(request.after), ""
        while True:
            try:
                piece = await asyncio.to_thread(_next, access, place)
            except OSError as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("the access log cannot be read: %s", said)
                piece = None
            if piece is not None:
                break
            await asyncio.sleep(self._look_s)
        counts = await asyncio.to_thread(count, piece.lines)
        batch = agent_pb2.UsageBatch(
            request_id=request.request_id,
            place=str(piece.place),
            counts=[_to_wire(key, numbers) for key, numbers in counts.items()],
            missed=piece.missed,
        )
        with suppress(SessionClosed):
            await outbox.put(agent_pb2.FromAgent(usage_batch=batch))


def _next(access: AccessLog, place: Place) -> Piece | None:
    """What comes after it. Of a log that is gone there is nothing: one of that gateway's name later on begins anew."""
    if place.file and not access.is_there():
        return Piece([], Place())
    return access.read(place)


def count(lines: Iterable[bytes]) -> dict[Key, tuple[int, int, int]]:
    """Requests, prompt tokens and completion tokens of what replicas answered."""
    found: dict[Key, tuple[int, int, int]] = {}
    for line in lines:
        try:
            told = json.loads(line)
            if not told["replica"]:
                continue
            key = (_hour_s(told["time"][:13]), _text(told, "token"), _text(told, "service"), _text(told, "model"))
            prompt, completion = _number(told, "prompt_tokens"), _number(told, "completion_tokens")
        except (ValueError, KeyError, TypeError):
            continue
        requests, prompts, completions = found.get(key, (0, 0, 0))
        found[key] = requests + 1, prompts + prompt, completions + completion
    return found


@lru_cache(maxsize=64)
def _hour_s(hour: str) -> int:
    return timegm(strptime(hour, "%Y-%m-%dT%H"))


def _text(told: Mapping[str, Any], key: str) -> str:
    return str(told[key] or "")[:200]


def _number(told: Mapping[str, Any], key: str) -> int:
    """What a replica says that it used: bounded, so that no sum of them overflows."""
    return min(max(int(told[key] or 0), 0), 10**9)


def _to_wire(key: Key, numbers: tuple[int, int, int]) -> agent_pb2.UsageCount:
    hour_s, token, service, model = key
    requests, prompt, completion = numbers
    return agent_pb2.UsageCount(
        hour_s=hour_s,
        token_id=token,
        service=service,
        model=model,
        requests=requests,
        prompt_tokens=prompt,
        completion_tokens=completion,
    )

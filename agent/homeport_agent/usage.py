"""What the gateway of this host has counted: requests and tokens by who called what, added up from its access log.

Covers requests of the server, one at a time, and adding up. The server says from which place on, and asks again when it has
kept the answer: nothing is kept here, and nothing is counted twice or lost while the log has it. Lines that cannot be read
are passed over. Does not cover the files (envoy/access_log).
"""

import asyncio
import json
import logging
from calendar import timegm
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from time import strptime
from typing import Any

from homeport_protos.agent.v1 import agent_pb2

from homeport_agent.envoy.access_log import AccessLog, Place
from homeport_agent.outbox import Outbox, SessionClosed
from homeport_agent.runner import Spawn

log = logging.getLogger("homeport.agent")

LOOK_S = 1.0  # how often the log is looked at when there was nothing new

Key = tuple[int, str, str, str]  # hour, token, service, model


class UsageDesk:
    def __init__(self, access: AccessLog, spawn: Spawn, look_s: float = LOOK_S) -> None:
        self._access = access
        self._spawn = spawn
        self._look_s = look_s
        self._outbox = Outbox()
        self._answering: asyncio.Task[None] | None = None

    def opened(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def requested(self, request: agent_pb2.UsageRequest) -> None:
        """A newer request takes the place of the one before it."""
        self.closed()
        self._answering = self._spawn(self._answer(self._outbox, request))

    def closed(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None

    async def _answer(self, outbox: Outbox, request: agent_pb2.UsageRequest) -> None:
        place, said = Place.of(request.after), ""
        while True:
            try:
                piece = await asyncio.to_thread(self._access.read, place)
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
